"""A source that makes a model worse on trusted rows is named; sound ones are not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from setpoint.domain.findings import Outcome
from setpoint.domain.influence import Judges, influence_finding
from setpoint.domain.poisoning import doubtful
from setpoint.domain.training import Rows, joined

RATE = 0.05
ROUNDS = 40


def world(n: int, seed: int) -> Rows:
    """Labels that no row is sure of: nothing says which single one is wrong."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, 2)).astype(np.float32)
    chance = 1 / (1 + np.exp(-1.5 * numbers[:, 0]))
    return Rows(
        ids=np.array([f"e{seed}-{i}" for i in range(n)], dtype=object),
        time=np.arange(n),
        group=np.array([f"g{seed}-{i % 600}" for i in range(n)], dtype=object),
        numbers=numbers,
        categories=np.empty((n, 0), dtype=object),
        label=(rng.random(n) < chance).astype(np.int8),
        columns={},
    )


@cache
def judges(seed: int = 0) -> Judges:
    return Judges(world(3000, 1000 + seed), world(2000, 2000 + seed))


def flipped(share: float, seed: int) -> Rows:
    """A source with a share of its labels flipped at random."""
    rows = world(1000, seed)
    hit = np.random.default_rng(seed).random(len(rows)) < share
    return replace(rows, label=np.where(hit, 1 - rows.label, rows.label).astype(np.int8))


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_source_that_makes_a_model_worse_is_named_and_a_person_is_asked(seed: int) -> None:
    finding = influence_finding(judges(), flipped(0.8, seed), "odd", RATE)
    assert doubtful(finding) and finding.outcome == Outcome.INCONCLUSIVE
    assert finding.slice == "odd" and finding.sample == 600 and finding.error_rate == RATE
    assert finding.interval is not None and finding.value is not None
    assert 0 < finding.interval[0] < finding.value < finding.interval[1]
    assert "ask a person" in finding.reason


def test_sound_sources_are_named_no_more_often_than_stated() -> None:
    found = [influence_finding(judges(i), world(1000, i), "sound", RATE) for i in range(ROUNDS)]
    assert not [f for f in found if f.outcome == Outcome.ERROR]
    # Were they named as often as stated, more than this would come in 1 of 1,000 such tests.
    assert sum(doubtful(f) for f in found) <= binom.ppf(0.999, ROUNDS, RATE)


def test_rows_that_say_nothing_new_have_no_influence() -> None:
    # No tree splits a constant: with or without the source, the model says the same of every row.
    def constant(rows: Rows) -> Rows:
        label = (np.arange(len(rows)) % 2).astype(np.int8)
        return replace(rows, numbers=np.zeros_like(rows.numbers), label=label)

    plain = Judges(constant(world(1000, 1)), constant(world(1000, 2)))
    finding = influence_finding(plain, constant(world(1000, 3)), "same", RATE)
    assert finding.outcome == Outcome.PASSED
    assert finding.value == pytest.approx(0.0, abs=1e-9)


def test_trusted_rows_that_the_source_gave_do_not_judge_it() -> None:
    # The source has always turned its labels, and was trusted: by its own rows it does no harm.
    sound, turned = world(2000, 2000), replace(flipped(1.0, 7), group=world(1000, 8).group)
    rows = replace(turned, ids=np.char.add(turned.ids.astype(str), "t").astype(object))
    given = np.array(["other"] * len(sound) + ["its"] * len(rows), dtype=object)
    found = influence_finding(
        Judges(world(3000, 1000), joined(sound, rows), given), flipped(1.0, 9), "its", RATE
    )
    alone = influence_finding(judges(), flipped(1.0, 9), "its", RATE)
    assert found == alone and doubtful(found)


def test_what_gave_nearly_all_that_is_trusted_is_not_measured_and_not_passed() -> None:
    given = np.array(["its"] * 1900 + ["other"] * 100, dtype=object)
    mine = replace(judges(), given=given)
    finding = influence_finding(mine, world(1000, 3), "its", RATE)
    assert finding.outcome == Outcome.INCONCLUSIVE and not doubtful(finding)
    assert "needed" in finding.reason


def test_a_source_of_few_rows_is_not_measured_and_not_passed() -> None:
    finding = influence_finding(judges(), flipped(1.0, 3).take(np.arange(40)), "few", RATE)
    assert finding.outcome == Outcome.INCONCLUSIVE and not doubtful(finding)
