"""Does watching and responding pay? Policies of retraining, priced on worlds that change.

``python -m benchmarks.healing`` plays every policy over every drift and seed and writes
``benchmarks/results/healing.json`` and ``healing.png``. ``scenarios`` says what changes, ``cells``
plays one world under all policies, ``summary`` compares them, ``plot`` draws that.
"""
