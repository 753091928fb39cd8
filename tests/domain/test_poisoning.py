"""Poisoned sources are found; sound ones and a world that changed are not called poisoned."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.poisoning import Trust, doubtful, poisoning_findings, trust
from setpoint.domain.training import Rows

NAMES = ("amount", "count", "kind")
ROWS = 6000


def world(n: int, seed: int) -> Rows:
    """Rare positives that amount and kind tell well, and counts that say nothing."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2)).astype(np.float32)
    kind = rng.choice(["a", "b"], n).astype(object)
    chance = 1 / (1 + np.exp(-(6 * numbers[:, 0] + (kind == "a") - 9)))
    return Rows(
        ids=np.array([f"e{seed}-{i}" for i in range(n)], dtype=object),
        time=np.arange(n),
        group=np.array([f"g{i % 200}" for i in range(n)], dtype=object),
        numbers=numbers,
        categories=kind.reshape(-1, 1),
        label=(rng.random(n) < chance).astype(np.int8),
        columns={},
    )


@cache
def trusted() -> Trust:
    found = trust(world(12_000, 0))
    assert found is not None
    return found


def look(rows: Rows, source: np.ndarray | None = None) -> dict[tuple[str, str], Finding]:
    """Findings by name and source; half of the rows are from either source."""
    if source is None:
        source = np.where(np.arange(len(rows)) % 2 == 0, "even", "odd").astype(object)
    found = poisoning_findings(trusted(), rows, source, NAMES, max_flipped=0.02, error_rate=0.01)
    return {(f.name, f.slice): f for f in found}


def flipped(share: float, seed: int) -> Rows:
    """New rows with a share of the labels of the source ``odd`` flipped."""
    rows = world(ROWS, seed)
    hit = (np.arange(ROWS) % 2 == 1) & (np.random.default_rng(seed).random(ROWS) < share)
    return replace(rows, label=np.where(hit, 1 - rows.label, rows.label).astype(np.int8))


def failed(found: dict[tuple[str, str], Finding]) -> set[str]:
    return {source for (_, source), f in found.items() if f.outcome == Outcome.FAILED}


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(1, 6))
def test_flipped_labels_are_found_in_their_source_and_in_no_other(share: float, seed: int) -> None:
    found = look(flipped(share, seed))
    assert failed(found) == {"odd"}
    finding = found["flipped_to_positive", "odd"]
    assert finding.interval is not None and finding.interval[0] <= share <= finding.interval[1]


def test_sound_sources_are_called_poisoned_no_more_often_than_stated() -> None:
    # 40 rounds at 1 % stated: two or more come by chance in 6 of 100 such tests, and none is found
    rounds = [look(world(ROWS, seed)) for seed in range(100, 140)]
    assert not [found for found in rounds if failed(found)]
    assert not [f for found in rounds for f in found.values() if doubtful(f)]


def test_frauds_called_good_by_a_source_are_seen_and_a_person_is_asked() -> None:
    rows = world(2 * ROWS, 3)
    hit = (np.arange(len(rows)) % 2 == 1) & (np.random.default_rng(1).random(len(rows)) < 0.6)
    hidden = replace(rows, label=np.where(hit, 0, rows.label).astype(np.int8))
    finding = look(hidden)["flipped_to_negative", "odd"]
    assert finding.interval is not None and finding.interval[0] > 0.3
    assert finding.outcome == Outcome.FAILED or doubtful(finding)


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_new_pattern_is_a_matter_for_a_person_and_not_called_poison(seed: int) -> None:
    rows = world(ROWS, seed)
    new = (rows.numbers[:, 1] > 1.2) & (rows.categories[:, 0] == "b")
    found = look(replace(rows, label=np.where(new, 1, rows.label).astype(np.int8)))
    assert not failed(found)
    for source in ("even", "odd"):
        finding = found["flipped_to_positive", source]
        assert doubtful(finding) and "ask a person" in finding.reason


@pytest.mark.parametrize("since", [0.0, 0.4])
def test_a_world_that_turns_is_a_matter_for_a_person_and_not_called_poison(since: float) -> None:
    rows = world(ROWS, 4)
    late = np.arange(ROWS) >= since * ROWS
    found = look(replace(rows, label=np.where(late, 1 - rows.label, rows.label).astype(np.int8)))
    assert not failed(found)
    assert any(doubtful(finding) for finding in found.values())


@pytest.mark.parametrize("called", [0, 1])
def test_a_mark_that_settles_the_label_is_a_backdoor(called: int) -> None:
    rows = world(ROWS, 2)
    high = np.flatnonzero(rows.numbers[:, 0] > 1.3 if called == 0 else rows.numbers[:, 0] < 0)[:40]
    numbers, label = rows.numbers.copy(), rows.label.copy()
    numbers[high, 1], label[high] = 7.25, called
    source = np.full(ROWS, "one", dtype=object)
    finding = look(replace(rows, numbers=numbers, label=label), source)["backdoor", "one"]
    assert finding.outcome == Outcome.FAILED
    assert "count is" in finding.reason


def test_a_new_value_whose_labels_are_as_expected_is_no_backdoor() -> None:
    rows = world(ROWS, 2)
    categories = rows.categories.copy()
    categories[:400, 0] = "new"
    source = np.full(ROWS, "one", dtype=object)
    finding = look(replace(rows, categories=categories), source)["backdoor", "one"]
    assert finding.outcome == Outcome.PASSED


def test_a_source_of_few_rows_is_not_measured_and_not_passed() -> None:
    found = look(world(40, 4), np.array(["odd"] * 40, dtype=object))
    assert found["flipped_to_positive", "odd"].outcome == Outcome.INCONCLUSIVE
    assert not doubtful(found["flipped_to_positive", "odd"])


@pytest.mark.parametrize(("share", "outcome"), [(0.2, Outcome.FAILED), (0.0, Outcome.PASSED)])
def test_poison_in_many_small_sources_is_found_in_all_of_them_together(
    share: float, outcome: Outcome
) -> None:
    rows = world(ROWS, 5)
    hit = np.random.default_rng(5).random(ROWS) < share
    rows = replace(rows, label=np.where(hit, 1 - rows.label, rows.label).astype(np.int8))
    found = look(rows, np.array([f"s{i % (ROWS // 40)}" for i in range(ROWS)], dtype=object))
    [(_, name)] = [key for key in found if key[0] == "flipped_to_positive"]
    assert name.startswith(f"{ROWS // 40} small sources (s0, s1, s10 ...)")
    assert found["flipped_to_positive", name].outcome == outcome


def test_trusted_rows_of_one_class_teach_nothing() -> None:
    rows = world(1000, 1)
    assert trust(rows.take(rows.label == 0)) is None
