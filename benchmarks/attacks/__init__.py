"""Attacks on the loop, each with its mitigation off and on.

``python -m benchmarks.attacks [--seeds N] [--only PART ...]`` writes
``benchmarks/results/attacks.json``. ``off`` and ``on`` are the same measure on the same rows; of a
measure a smaller value is better. Attacks on labels and on inputs are played on the simulated card
world (``worlds``): 50 days are trusted, then sources of five days each are looked at, and one of
them is poisoned (``poison``; ``fresh``: on worlds that no threshold was chosen on). ``model`` has
the attacks on what was trained, ``requests`` those on the service.
"""
