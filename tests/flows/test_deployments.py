"""Every row of ``prefect.yaml`` can run."""

from __future__ import annotations

import importlib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROWS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text("utf-8"))[
    "deployments"
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_entrypoint_of_each_deployment_is_a_flow(row: dict) -> None:
    from prefect import Flow

    module, _, name = row["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    assert found.name == row["name"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_the_parameters_of_each_deployment_are_the_flow_s(row: dict) -> None:
    module, _, name = row["entrypoint"].rpartition(".")
    known = set(getattr(importlib.import_module(module), name).parameters.properties)
    given = set(row.get("parameters", {}))
    for trigger in row.get("triggers", []):
        given |= set(trigger.get("parameters", {}))
    assert given <= known


def test_the_trigger_matches_the_event_that_is_emitted() -> None:
    from tasks.watching import EVENT

    trigger = next(r for r in ROWS if r["name"] == "respond")["triggers"][0]
    assert trigger["expect"] == [EVENT]
    assert fnmatch("setpoint.model.cards", trigger["match"]["prefect.resource.id"])
    assert trigger["match"]["setpoint.severity"] == "high"


def test_the_trigger_of_a_training_matches_its_event() -> None:
    from tasks.watching import TRAINING_DUE

    trigger = next(r for r in ROWS if r["name"] == "deliver")["triggers"][0]
    assert trigger["expect"] == [TRAINING_DUE]
    assert fnmatch("setpoint.model.cards", trigger["match"]["prefect.resource.id"])


def test_training_has_a_schedule_only_where_the_project_file_gives_one(tmp_path: Path) -> None:
    from deployments.apply import scheduled

    for seconds, expected in ((None, []), (86_400.0, [86_400.0])):
        content = yaml.safe_load(scheduled(tmp_path, 42.0, seconds).read_text("utf-8"))
        deliver = next(d for d in content["deployments"] if d["name"] == "deliver")
        [schedule] = deliver["schedules"]  # one that is left out would go on where it once was
        assert [schedule["interval"]] * schedule["active"] == expected
        assert schedule["anchor_date"], "restarts more often than it is due would put it off"


def test_the_watchers_expect_the_sweep_as_often_as_it_is_scheduled() -> None:
    from setpoint.stages.watchers import SWEEP_SECONDS

    sweep = next(r for r in ROWS if r["name"] == "sweep")
    assert [s["interval"] for s in sweep["schedules"]] == [SWEEP_SECONDS]


def test_one_response_runs_at_a_time() -> None:
    respond = next(r for r in ROWS if r["name"] == "respond")
    assert respond["concurrency_limit"]["limit"] == 1


def test_the_watch_schedule_is_the_project_file_s(tmp_path: Path) -> None:
    from deployments.apply import scheduled

    content = yaml.safe_load(scheduled(tmp_path, 42.0).read_text("utf-8"))
    watch = next(d for d in content["deployments"] if d["name"] == "watch")
    assert watch["schedules"][0]["interval"] == 42.0
