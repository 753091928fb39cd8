"""A look tells what is known of unreviewed decisions: a blind spot is an incident, a gap is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from setpoint.domain.bundle import read_bundle
from setpoint.domain.exploration import explores
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, group
from setpoint.ports import Decision, Label
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.score import score
from setpoint.stages.train import assemble, fit
from setpoint.stages.watch import Window, look, respond_to
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace

SHARE = 0.2
EXPLORING = (
    PROJECT.replace(
        "  ranking: {metric: roc_auc, floor: 0.6}", "  found: {metric: recall, floor: 0.5}"
    )
    + "exploration: {share: 0.2}\nwatch: {window: 6d, error_rate: 0.02}\n"
)
NOW = T0 + timedelta(days=10)
ROWS = 2000


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A project that explores, and its first version."""
    workspace = make_workspace(tmp_path_factory.mktemp("coverage"), EXPLORING)
    deliver(workspace, "1.parquet", make_frame(1200))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    return workspace, made.version


def _serve(workspace: Workspace, version: str, missed: float, explored: bool) -> None:
    """Six ripe days: a tenth reviewed for the score, half of it positive; labels of what was
    reviewed alone, ``missed`` of the rest positive."""
    workspace.decisions.forget(NOW + timedelta(days=1))
    rng = np.random.default_rng(1)
    digest = read_bundle(workspace.bundle(version)).digest
    made, labels = [], []
    for i in range(ROWS):
        at = NOW - timedelta(days=1.01 + 5.9 * (1 - i / ROWS))
        above = i % 10 == 0
        drawn = explored and not above and explores(f"c{i}", digest, SHARE)
        made.append(
            Decision(
                id=f"c{i}",
                event_time=at,
                request={"sex": "f"},
                features={"x": float(rng.normal()), "y": 0.0, "kind": "a", "hour": float(i % 24)},
                score=0.9 if above else float(rng.uniform(0, 0.05)),
                threshold=0.5,
                action="review" if above or drawn else "approve",
                reasons=(),
                version=version,
                bundle_digest=digest,
                label_propensity=None if not explored else 1.0 if above else SHARE,
            )
        )
        positive = rng.random() < (0.5 if above else missed)
        if above or drawn:
            labels.append(Label(f"c{i}", int(positive), at + timedelta(hours=2)))
    workspace.decisions.append(made)
    workspace.decisions.add_labels(labels)


def _look(trained: tuple[Workspace, str], missed: float, explored: bool = True) -> Window:
    workspace, version = trained
    _serve(workspace, version, missed, explored)
    window = look(workspace, NOW, version=version)
    assert window is not None
    return window


def _of(window: Window, name: str) -> Finding:
    return next(f for f in window.findings if f.name == name)


def test_where_exploration_finds_little_all_is_well(trained: tuple[Workspace, str]) -> None:
    window = _look(trained, missed=0.02)
    for name in ("found", "blind_spot", "label_coverage"):
        assert _of(window, name).outcome == Outcome.PASSED, name
    assert _of(window, "found").value == pytest.approx(100 / 136, abs=0.15)
    assert _of(window, "blind_spot").error_rate == pytest.approx(0.02 / 2 / 2 / 4)


def test_a_blind_spot_is_a_matter_of_performance(trained: tuple[Workspace, str]) -> None:
    window = _look(trained, missed=0.25)
    failed = {f.name for f in window.performance if f.outcome == Outcome.FAILED}
    assert {"found", "blind_spot"} <= failed
    causes = {one.cause: one for one, _ in respond_to(trained[0], without_drift(window))}
    assert {f.name for f in causes[Cause.PERFORMANCE].findings} == failed


def test_a_gap_in_the_labels_is_told_and_opens_nothing(trained: tuple[Workspace, str]) -> None:
    window = _look(trained, missed=0.25, explored=False)
    assert _of(window, "label_coverage").outcome == Outcome.FAILED
    assert _of(window, "blind_spot").outcome == Outcome.INCONCLUSIVE
    causes = group(without_drift(window).findings)
    assert [f.name for f in causes[Cause.COVERAGE]] == ["label_coverage"]
    assert "label_coverage" not in {f.name for f in causes.get(Cause.PERFORMANCE, ())}
    opened = respond_to(trained[0], without_drift(window))
    assert Cause.COVERAGE not in {one.cause for one, _ in opened}


def without_drift(window: Window) -> Window:
    """The window without drift and faults, which would be the cause."""
    return replace(window, drift=(), faults=(), estimates=(), series=())


def test_a_table_scored_offline_is_explored_as_the_service_would(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    make_frame(300, 2, 5000).drop(columns="bad").to_parquet(tmp_path / "in.parquet")
    score(workspace, str(tmp_path / "in.parquet"), tmp_path / "out.parquet", version)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    spec = read_bundle(workspace.bundle(version)).decision
    assert spec.exploration == SHARE and spec.reasons["exploration"]
    drawn = [r for r in rows if r["reasons"] == ["exploration"]]
    assert {r["id"] for r in drawn} == {
        r["id"]
        for r in rows
        if r["score"] < r["threshold"] and explores(r["id"], r["bundle_digest"], SHARE)
    }
    assert drawn and {r["action"] for r in drawn} == {"review"}
