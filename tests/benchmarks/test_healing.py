"""How the policies of the healing benchmark are compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.healing.__main__ import gather
from benchmarks.healing.cells import Memo
from benchmarks.healing.plot import money_plot
from benchmarks.healing.scenarios import HARMLESS, NAMES, SCENARIOS
from benchmarks.healing.summary import best_of_others, compare, interval, paired, summarise
from setpoint.backtest.run import prepare
from setpoint.domain.world import generate
from tests.stages.small import deliver, make_frame, make_workspace


def seeds(money: list[float], retrainings: int = 0) -> dict[int, dict[str, float]]:
    return {i: {"money": m, "retrainings": retrainings} for i, m in enumerate(money)}


def policies(ours: list[float], daily: list[float], ours_trained: int = 1) -> dict:
    return {
        "never": seeds([400.0, 600.0, 500.0]),
        "daily": seeds(daily, 40),
        "setpoint": seeds(ours, ours_trained),
    }


def row(rows: list[dict], policy: str) -> dict:
    return next(one for one in rows if one["policy"] == policy)


def test_an_interval_is_student_s_and_one_value_has_none() -> None:
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert (low, high) == (pytest.approx(2 - 2.4841, abs=1e-4), pytest.approx(4.4841, abs=1e-4))
    assert interval([7.0]) == (7.0, None, None)


def test_pairing_by_seed_takes_out_what_seeds_have_in_common() -> None:
    daily = [100.0, 500.0, 900.0]
    ours = [m - 10 - i for i, m in enumerate(daily)]
    found = row(compare(policies(ours, daily)), "setpoint")
    assert found["minus_daily"] == -11.0
    assert found["minus_daily_high"] < 0 < found["money_high"] - found["money_low"]
    assert found["minus_daily_high"] - found["minus_daily_low"] < 6


def test_policies_without_the_same_seeds_are_not_paired() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired(seeds([1.0, 2.0]), seeds([1.0]))


def test_the_best_policy_is_sought_beside_ours_so_that_a_ratio_can_be_under_one() -> None:
    played = policies([50.0, 50.0, 50.0], [100.0, 100.0, 100.0])
    assert best_of_others(played) == "daily"
    found = compare(played)
    assert row(found, "setpoint")["over_best"] == 0.5
    assert row(found, "daily")["over_best"] == 1.0
    assert row(found, "never")["over_best"] == 5.0


def test_better_than_daily_counts_only_where_the_interval_says_so() -> None:
    daily = [100.0, 500.0, 900.0]
    played = {
        "surely": policies([m - 20 for m in daily], daily),
        "perhaps": policies([90.0, 510.0, 850.0], daily),
        "worse": policies([m + 1 for m in daily], daily),
    }
    found = summarise(played, ())
    assert found["better_than_daily"] == "surely"
    assert found["drifts_strictly_better_than_daily"] == 1
    alone = {d: {p: {0: s[0]} for p, s in one.items()} for d, one in played.items()}
    assert summarise(alone, ())["drifts_strictly_better_than_daily"] == 0


def test_retrainings_are_counted_over_all_and_where_none_was_needed() -> None:
    daily = [100.0, 500.0, 900.0]
    played = {"none": policies(daily, daily, 2), "concept": policies(daily, daily, 6)}
    found = summarise(played, ("none", "not played"))
    assert found["retrainings_over_daily"] == 0.1  # 24 of 240
    assert found["retrainings_unneeded"] == 6
    assert found["retrainings_by_harmless_drift"] == {"none": 6}
    assert found["seeds"] == 3


def test_single_runs_are_gathered_by_drift_policy_and_seed() -> None:
    worlds = [
        {"drift": "none", "seed": s, "policies": {"never": {"money": s, "retrainings": 0, "x": 1}}}
        for s in (0, 1)
    ]
    assert gather(worlds) == {
        "none": {"never": {s: {"money": s, "retrainings": 0} for s in (0, 1)}}
    }


def test_the_picture_is_drawn_without_intervals_too(tmp_path: Path) -> None:
    alone = {p: {0: s[0]} for p, s in policies([9.0, 0, 0], [5.0, 0, 0]).items()}
    rows = [{"drift": "none"} | one for one in compare(alone)]
    assert money_plot(rows, tmp_path / "plot.png").stat().st_size > 1000


def test_drifts_have_names_of_their_own_and_the_harmless_ones_are_among_them() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(HARMLESS) <= set(NAMES)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_every_world_can_be_built(scenario) -> None:
    config = scenario.config(seed=1)
    assert scenario.drift is None or 0 < scenario.drift.start_day < config.days
    assert len(generate(config)) > 10_000


def test_the_same_rows_train_one_model_and_another_label_another(tmp_path: Path) -> None:
    workspace = replace(make_workspace(tmp_path), replay=True)
    deliver(workspace, "0.parquet", make_frame(1500))
    now = datetime(2026, 1, 20, tzinfo=UTC)
    replay = prepare(workspace, now, lambda _: None, Memo())
    first = replay.first().model
    assert replay.first().model is first
    label = replay.table["label"].to_numpy().copy()
    label[0] = 1 - label[0]
    place = replay.table.column_names.index("label")
    other = replay.table.set_column(place, "label", pa.array(label))
    assert replace(replay, table=other).first().model is not first
