"""A look finds the API key that copies the model, and asks a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from setpoint.domain.bundle import read_bundle
from setpoint.domain.incidents import Cause, Status
from setpoint.domain.outcome import Outcome
from setpoint.ports import Decision
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from setpoint.stages.watch import look, respond_to
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, T0, deliver, make_frame, make_workspace

NOW = T0 + timedelta(days=10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A project and its first version."""
    workspace = make_workspace(tmp_path_factory.mktemp("clients"), PROJECT)
    deliver(workspace, "1.parquet", make_frame(1200))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    return workspace, made.version


@pytest.fixture
def asked(trained: tuple[Workspace, str]) -> tuple[Workspace, str]:
    """The same without decisions and incidents."""
    workspace, version = trained
    workspace.decisions.forget(NOW + timedelta(days=1))
    return workspace, version


def _ask(workspace: Workspace, version: str, client: str, rows: list[dict[str, Any]]) -> None:
    digest = read_bundle(workspace.bundle(version)).digest
    score = iter(np.random.default_rng(9).uniform(0, 1, len(rows)))
    workspace.decisions.append(
        [
            Decision(
                id=f"{client}{i}",
                event_time=NOW - timedelta(minutes=len(rows) - i),
                request=row,
                features={**{k: row[k] for k in ("x", "y", "kind")}, "hour": float(i % 24)},
                score=float(next(score)),
                threshold=0.5,
                action="approve",
                reasons=(),
                version=version,
                bundle_digest=digest,
                client=client,
            )
            for i, row in enumerate(rows)
        ]
    )


def _real(rows: int) -> list[dict[str, Any]]:
    frame = make_frame(rows, seed=8)[["x", "y", "kind", "sex"]]
    return [
        {**one, "y": None if one["y"] != one["y"] else one["y"]} for one in frame.to_dict("records")
    ]


def _made_up(rows: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    return [
        {"x": float(x), "y": float(y), "kind": "ab"[i % 2], "sex": "fm"[i % 2]}
        for i, (x, y) in enumerate(rng.uniform(-20, 20, (rows, 2)))
    ]


def test_the_key_that_copies_is_an_incident_for_a_person_and_the_others_are_not_named(
    asked: tuple[Workspace, str],
) -> None:
    workspace, version = asked
    _ask(workspace, version, "shop", _real(700))
    _ask(workspace, version, "copier", _made_up(300))
    window = look(workspace, NOW, version=version)
    assert window is not None and len(window.clients) == 6
    failed = [(f.name, f.slice) for f in window.clients if f.outcome == Outcome.FAILED]
    assert failed == [("extraction_novel", "copier")]
    [incident] = [one for one, _ in respond_to(workspace, window) if one.cause == Cause.EXTRACTION]
    assert incident.status == Status.NEEDS_PERSON
    assert any("copier" in line for line in incident.headlines)


@pytest.mark.parametrize("client", ["", "shop"])
def test_without_keys_and_of_few_requests_nothing_is_told(
    asked: tuple[Workspace, str], client: str
) -> None:
    workspace, version = asked
    _ask(workspace, version, client, _made_up(150 if client else 400))
    window = look(workspace, NOW, version=version)
    assert window is not None and window.clients == ()


def test_a_replay_has_no_clients(asked: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, version = asked
    _ask(workspace, version, "copier", _made_up(400))
    workspace.state.remember("stream_clock", NOW.isoformat())
    window = look(replace(workspace, replay=True), NOW, version=version)
    assert window is not None and window.clients == ()
