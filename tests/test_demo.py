"""The figures of the demo follow from the world's truth and the project's costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from setpoint import demo
from setpoint.cli import app
from setpoint.config import load_project
from setpoint.demo import show_summary
from setpoint.demo.script import PROJECT, Script, prepare
from setpoint.demo.summary import Played, event_days, summarise
from setpoint.domain.rollout import Strategy
from setpoint.domain.world import DEMO, World, generate
from setpoint.errors import PlatformError

SCRIPT = Script(history=20)
COSTS = load_project(PROJECT).costs.matrix()
FLOOR = 0.28


@pytest.fixture(scope="module")
def world() -> World:
    return generate(replace(DEMO, days=40))


def _played(world: World, reviewed: np.ndarray) -> Played:
    """Everything after the history was answered, every second row reviewed."""
    answered = event_days(world) >= SCRIPT.history
    version = np.full(len(world), "v1", dtype=object)
    return Played(version, reviewed & answered, answered, sent=int(answered.sum()))


def test_rates_and_costs_are_told_for_each_part_of_the_run(world: World) -> None:
    half = np.arange(len(world)) % 2 == 0
    played = _played(world, np.where(event_days(world) < 33, half, world.fraud == 1))
    played.marks |= {"drift": 10.0, "alarm": 14.25, "healed": 31.5}
    played.days |= {"drift": 25.0, "alarm": 27.5, "healed": 33.0}
    figures = summarise(world, SCRIPT, played, COSTS, FLOOR)
    day = event_days(world)
    during = (day >= 25) & (day < 33)
    fraud = during & (world.fraud == 1)
    missed = fraud & ~played.reviewed
    caught = int((fraud & played.reviewed).sum()) / int(fraud.sum())
    assert figures["detection_rate"]["during"] == round(caught, 4)
    money = (world.amount[missed] + 60).sum() + 7 * int((during & played.reviewed).sum())
    assert figures["cost"]["during"] == pytest.approx(money / 8, abs=0.01)
    assert (figures["seconds_to_alarm"], figures["event_time_to_alarm"]) == (4.2, 2.5)
    assert (figures["seconds_to_heal"], figures["event_time_to_heal"]) == (21.5, 8.0)
    assert figures["healed"] and figures["requests"] == figures["answered"]


@pytest.mark.parametrize(("share", "hurt"), [(0.1, True), (0.9, False)])
def test_a_drift_hurts_where_it_takes_the_model_below_its_setpoint(
    world: World, share: float, hurt: bool
) -> None:
    caught = np.random.default_rng(1).random(len(world)) < share
    played = _played(world, caught)
    played.days["drift"] = 25.0
    assert summarise(world, SCRIPT, played, COSTS, FLOOR)["hurt"] == hurt


def test_a_promotion_after_which_no_more_frauds_are_caught_heals_nothing(world: World) -> None:
    played = _played(world, np.ones(len(world), dtype=bool))
    played.marks |= {"drift": 10.0, "alarm": 14.25, "healed": 31.5}
    played.days |= {"drift": 25.0, "alarm": 27.5, "healed": 33.0}
    assert not summarise(world, SCRIPT, played, COSTS, FLOOR)["healed"]


def test_the_summary_that_is_shown_keeps_each_line_whole(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = summarise(world, SCRIPT, _played(world, world.fraud == 1), COSTS, FLOOR)
    figures |= {"champion": "v2", "rebuilt": True, "decision": "t1", "replayed": False}
    figures |= {"points": 27.5, "maturity": 4}
    figures |= {"seconds_to_alarm": 67.7, "event_time_to_alarm": 17.75, "retrainings": 1}
    where: Any = SimpleNamespace(root=tmp_path / ("deep" * 20))
    show_summary(figures, where, Console(highlight=False), keep=False)
    shown = capsys.readouterr().out.splitlines()
    assert "drift to alarm:              67.7 s   17.8 days of event time" in shown
    assert any(line.startswith("requests: ") and line.endswith("; 1 retraining") for line in shown)
    assert any("27.5 of 28 points" in line and line.endswith("level 4") for line in shown)
    assert any(line.startswith("report: ") and line.endswith("summary.json") for line in shown)


def test_a_world_that_stays_has_one_part(world: World) -> None:
    figures = summarise(world, SCRIPT, _played(world, world.fraud == 1), COSTS, FLOOR)
    assert figures["detection_rate"] == {"before": 1.0, "during": None, "after": None}
    assert figures["cost"]["during"] is None and figures["cost"]["after"] is None
    assert not figures["healed"] and figures["seconds_to_heal"] is None


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_the_demo_of_a_strategy_has_a_project_file_that_releases_by_it(
    strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_once_written(script: Script, root: Path, *_: Any) -> None:
        prepare(replace(script, history=2, longest=1), root)
        raise PlatformError("written", where=str(root), fix="play it")

    monkeypatch.setattr(demo, "run_demo", stop_once_written)
    asked = ["demo", "--strategy", strategy, "--root", str(tmp_path / "state")]
    assert isinstance(CliRunner().invoke(app, asked).exception, PlatformError)
    release = load_project(tmp_path / "state" / "setpoint.yaml").release
    assert release.strategy == strategy
    assert bool(release.warm) == (strategy in ("blue_green", "shadow"))


def test_a_demo_of_an_unknown_strategy_is_one_error_with_those_allowed(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["demo", "--strategy", "big_bang", "--root", str(tmp_path / "s")]
    )
    assert done.exit_code == 2 and not (tmp_path / "s").exists()
    said = " ".join(done.stderr.replace("│", " ").split())
    assert f"'big_bang'; allowed: {', '.join(get_args(Strategy))}" in said
    assert "Traceback" not in said
