"""Features as served are held against those recomputed from the snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from setpoint.adapters.duckdb_features import compute
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Outcome
from setpoint.ports import Decision, DecisionQuery
from setpoint.stages.assemble import history
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.skew import skew
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import APART, T0, deliver, make_frame, make_workspace

PROJECT = (
    APART.replace(
        "features: {columns: [x, y, kind], calendar: [hour]}\n",
        "features:\n  columns: [x, y, kind]\n  calendar: [hour]\n"
        "  windows: [{entity: who, column: x, compute: [mean], over: [7d]}]\n",
    )
    .replace("  event_time: at\n", "  event_time: at\n  entities: {who: who}\n")
    .replace("    x: {type: number", "    who: {type: id}\n    x: {type: number")
)
PROJECT += "watch: {max_skew: 0}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Bundle, list[Decision]]:
    """A version, and decisions on the features that its events have."""
    workspace = make_workspace(tmp_path_factory.mktemp("skew"), PROJECT)
    frame = make_frame(1200)
    frame["who"] = [f"w{i % 150}" for i in range(len(frame))]
    deliver(workspace, "1.parquet", frame.drop(columns="bad"))
    labels = frame[["id", "bad"]].assign(known_at=frame["at"])
    deliver(workspace, "1.parquet", labels, "labels")
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    bundle = read_bundle(workspace.bundle(made.version))
    known = history(workspace, T0)
    rows = compute(bundle.features, known.events, known.labels).to_pylist()[-150:]
    times = known.events["at"].to_pylist()[-150:]
    made_by = {"version": made.version, "bundle_digest": "0" * 64}
    decisions = [
        Decision(
            id=row.pop("id"),
            event_time=when,
            request={},
            features={
                name: None if value != value else float(np.float32(value))
                if isinstance(value, float) else value
                for name, value in row.items()
            },
            score=0.2, threshold=0.5, action="approve", reasons=(), **made_by,
        )
        for row, when in zip(rows, times, strict=True)
    ]  # fmt: skip
    return workspace, bundle, decisions


def _log(workspace: Workspace, decisions: list[Decision]) -> None:
    workspace.decisions.forget(T0 + timedelta(days=99))
    workspace.decisions.append(decisions)


def test_features_served_as_they_are_have_no_skew(
    served: tuple[Workspace, Bundle, list[Decision]],
) -> None:
    workspace, bundle, decisions = served
    _log(workspace, decisions)
    found = skew(workspace, workspace.decisions, bundle, T0)
    assert found.outcome == Outcome.PASSED and found.value == 0
    assert (found.sample, found.error_rate) == (150, workspace.project.watch.error_rate)


def test_one_value_served_otherwise_is_found_and_its_feature_named(
    served: tuple[Workspace, Bundle, list[Decision]],
) -> None:
    workspace, bundle, decisions = served
    wrong = replace(decisions[7], features={**decisions[7].features, "who_x_mean_7d": 0.123})
    _log(workspace, [wrong if one is decisions[7] else one for one in decisions])
    found = skew(workspace, workspace.decisions, bundle, T0)
    assert (
        found.outcome == Outcome.FAILED
        and "1 of 150 decisions differ, most in who_x_mean_7d: 1" in found.reason
    )


def test_one_payment_that_overtook_another_is_no_skew_of_a_short_window(
    served: tuple[Workspace, Bundle, list[Decision]],
) -> None:
    workspace, bundle, decisions = served
    watch = workspace.project.watch.model_copy(update={"max_skew": 0.01})
    allowed = replace(workspace, project=workspace.project.model_copy(update={"watch": watch}))

    def seen(few: list[Decision], count: int) -> Outcome:
        wrong = [replace(one, features={**one.features, "who_x_mean_7d": 0.1}) for one in few]
        _log(workspace, wrong[:count] + few[count:])
        return skew(allowed, workspace.decisions, bundle, T0).outcome

    assert seen(decisions[:29], 1) == Outcome.PASSED
    assert seen(decisions[:29], 4) == Outcome.FAILED
    assert seen(decisions, 10) == Outcome.FAILED


def test_of_a_window_the_same_few_decisions_are_held_whatever_the_size_of_its_batches(
    served: tuple[Workspace, Bundle, list[Decision]],
) -> None:
    workspace, bundle, decisions = served
    wrong = {**decisions[7].features, "who_x_mean_7d": 0.123}
    _log(workspace, [replace(one, features=wrong) for one in decisions[::3]] + decisions)
    watch = workspace.project.watch.model_copy(update={"skew_sample": 40})
    project = workspace.project.model_copy(update={"watch": watch})
    small = replace(workspace, project=project)

    class InSevens(SqliteDecisionLog):
        def batches(self, query: DecisionQuery, rows: int = 7) -> Iterator[pa.Table]:
            return super().batches(query, rows)

        def read(self, query: DecisionQuery) -> pa.Table:
            raise AssertionError("a window is not read whole")

    found = [
        skew(small, log, bundle, T0)
        for log in (workspace.decisions, InSevens(workspace.live_store, durability="normal"))
    ]
    assert found[0] == found[1] and found[0].sample == 40
    assert found[0].outcome == Outcome.FAILED


def test_decisions_whose_events_were_not_taken_in_are_inconclusive(
    served: tuple[Workspace, Bundle, list[Decision]],
) -> None:
    workspace, bundle, decisions = served
    _log(workspace, [replace(one, id=f"new-{one.id}") for one in decisions])
    found = skew(workspace, workspace.decisions, bundle, T0)
    assert found.outcome == Outcome.INCONCLUSIVE and "ingest" in found.reason
