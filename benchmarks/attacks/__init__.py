"""Attacks on the loop, each with its mitigation off and on.

``python -m benchmarks.attacks [--seeds N]`` writes ``benchmarks/results/attacks.json``. ``off`` and
``on`` are the same measure on the same rows; of a measure a smaller value is better. Attacks on
labels and on requests are played on the simulated card world: 50 days are trusted, then sources of
five days each are looked at, and one of them is poisoned.
"""
