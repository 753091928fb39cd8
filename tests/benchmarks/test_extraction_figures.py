"""The figures of extraction: a copier that is found has a worse copy."""

from __future__ import annotations

import numpy as np

from benchmarks.extraction import extraction


def test_a_copier_is_found_and_its_copy_is_worse_and_who_asks_real_rows_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8_000, 1))
    rows = base + 0.7 * rng.normal(size=(8_000, 6))
    odds = np.sin(2 * rows[:, 0]) + rows[:, 1] * rows[:, 2] + 0.5 * rows[:, 3] - 1
    label = rng.random(8_000) < 1 / (1 + np.exp(-2 * odds))
    columns = {f"x{i}": rows[:, i] for i in range(6)}
    random, search, real = extraction(columns, label, rounds=1, queries=3_000)
    for attack in (random, search):
        assert attack["found"] == 1 and attack["found_after"] <= 300
    assert random["on"]["alike"] < random["off"]["alike"]
    assert random["on"]["variance"] < random["off"]["variance"]
    assert real["found"] == 0 and real["found_after"] is None
    assert real["off"]["alike"] > 0.8
