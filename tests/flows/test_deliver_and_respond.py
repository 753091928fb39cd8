"""Flows against a real Prefect server: what a person reads there is what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import TrainingError, ValidationFailed
from setpoint.stages.gates.pictures import PICTURES
from setpoint.workspace import Workspace, open_workspace
from tests.stages.small import deliver as put
from tests.stages.small import make_frame, serve
from tests.stages.test_mitigation import FAIR, make_unfair

pytestmark = pytest.mark.usefixtures("prefect_server")


def _artifacts(key: str) -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return [f"{a.description} {a.data}" for a in found]


def _incident(workspace: Workspace) -> Incident:
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    opened = datetime(2026, 2, 1, tzinfo=UTC)
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, opened, "v1", (finding,))
    return workspace.state.open_incident(incident)[0]


def test_a_refused_candidate_ends_the_run_refused_and_the_reason_is_in_the_ui(
    project: Path,
) -> None:
    from flows.deliver import deliver

    text = project.read_text("utf-8").replace("floor: 0.6", "floor: 0.999")
    project.write_text(text, "utf-8")
    state = deliver("manual", return_state=True)
    assert (state.name, state.is_failed()) == ("Refused", True)
    assert "ranking" in (state.message or "")
    assert any("0.999" in text for text in _artifacts("gates"))
    workspace = open_workspace()
    assert [e.kind for e in workspace.state.ledger()] == ["refused"]
    card = workspace.registry.read_attached("v1", "documents/model-card.md").decode()
    assert "refused: " in card and "0.999" in card
    assert "documents/datasheet.html" in workspace.registry.attached("v1", "documents")
    assert set(PICTURES) <= set(workspace.registry.attached("v1", "plots"))
    for key in ("gates-verdict", "gates-drivers"):
        assert any("data:image/png" in text for text in _artifacts(key))


def test_each_declared_mitigation_is_tried_and_what_is_impossible_is_said_in_the_refusal(
    project: Path,
) -> None:
    from flows.deliver import deliver

    text = FAIR.replace("floor: 0.65", "floor: 0.97")
    text = text.replace("mitigation: reweigh", "mitigation: [reweigh, threshold]")
    project.write_text(text, "utf-8")
    workspace = open_workspace()
    put(workspace, "0.parquet", make_unfair())
    state = deliver("manual", return_state=True)
    assert state.name == "Refused"
    # The second is too unfair for such a floor as well, at any threshold.
    assert [(e.kind, e.subject) for e in workspace.state.ledger()] == [
        ("refused", "small/v1"),
        ("refused", "small/v2"),
        ("not_mitigated", "small/v2"),
    ]
    assert "no threshold is expected to pass" in (state.message or "")
    assert "mitigation" not in workspace.registry.tags("v1")
    assert workspace.registry.tags("v2")["mitigation"] == "reweighed by sex"


def test_a_batch_that_breaks_its_schema_fails_the_run_and_is_shown(project: Path) -> None:
    from flows.ingest import ingest

    workspace = open_workspace()
    put(workspace, "1.parquet", make_frame(50, seed=1, start=5000).assign(x=99.0))
    with pytest.raises(ValidationFailed, match="column x: between"):
        ingest()
    assert any("column x" in text for text in _artifacts("quarantined-batch"))


def test_a_second_run_for_the_same_incident_does_nothing(project: Path) -> None:
    from flows.respond import respond

    workspace = open_workspace()
    incident = _incident(workspace)
    assert workspace.state.take_incident(incident.id, "another run") is not None
    state = respond(incident.id, return_state=True)
    assert state.is_completed()
    assert "needs no response" in (state.message or "")
    assert workspace.state.incident(incident.id).taken_by == "another run"


def test_a_response_that_fails_leaves_the_incident_open_with_its_reason(project: Path) -> None:
    from flows.respond import respond

    workspace = open_workspace()
    incident = _incident(workspace)
    put(workspace, "1.parquet", make_frame(50, seed=1, start=5000).assign(x=99.0))
    state = respond(incident.id, return_state=True)
    after = workspace.state.incident(incident.id)
    assert state.is_failed()
    assert after.status == Status.OPEN
    assert "column x" in after.note


def test_a_response_that_lacks_rows_waits_until_they_have_grown(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import respond as flow

    def lacks_rows(*_: object) -> None:
        raise TrainingError("too few", where="split", fix="wait")

    workspace = open_workspace()
    incident = _incident(workspace)
    now = workspace.clock.now()
    monkeypatch.setattr(flow.stage, "_dated", lambda *_: now - timedelta(days=365))
    monkeypatch.setattr(flow, "deliver_once", lacks_rows)
    assert flow.respond(incident.id, return_state=True).is_failed()
    again = workspace.state.recall(f"retry_after:{incident.id}")
    assert again is not None and datetime.fromisoformat(again) > now + timedelta(days=60)


def test_the_sweep_reopens_what_a_dead_run_had_taken(project: Path) -> None:
    from flows.sweep import sweep

    workspace = open_workspace()
    incident = _incident(workspace)
    workspace.state.take_incident(incident.id, "00000000-0000-4000-8000-000000000000")
    assert sweep(return_state=True).is_completed()
    assert workspace.state.incident(incident.id).status == Status.OPEN


def _asks_at_once(project: Path) -> None:
    """Nothing passes its gate, and one refusal is enough for a person."""
    text = project.read_text("utf-8").replace("floor: 0.6", "floor: 0.999")
    project.write_text(text + "respond: {attempts: 1}\n", "utf-8")


def test_an_incident_that_ends_has_a_page_for_people(project: Path) -> None:
    from flows.deliver import deliver
    from flows.respond import respond

    _asks_at_once(project)
    deliver("first", return_state=True)
    workspace = open_workspace()
    incident = _incident(workspace)
    serve(workspace, incident.opened_at)
    state = respond(incident.id, return_state=True)
    assert state.name == "Refused"
    assert (workspace.root / "reports" / f"{incident.id}.html").exists()
    assert any(f"{incident.id}.html" in text for text in _artifacts("drift-page"))
    assert (workspace.root / "reports" / f"{incident.id}-report.html").exists()
    assert any(f"{incident.id}-report.html" in text for text in _artifacts("incident-report"))


def test_a_page_that_cannot_be_made_changes_nothing_about_the_response(project: Path) -> None:
    from flows.respond import respond

    _asks_at_once(project)
    workspace = open_workspace()
    incident = _incident(workspace)
    state = respond(incident.id, return_state=True)
    assert state.name == "Refused"
    assert workspace.state.incident(incident.id).status == Status.NEEDS_PERSON
    written = [page.name for page in (workspace.root / "reports").iterdir()]
    assert written == [f"{incident.id}-report.html"]


def test_a_training_that_was_answered_meanwhile_ends_with_nothing_done(project: Path) -> None:
    from flows.deliver import deliver
    from setpoint.domain.follow_up import PREFIX

    for cause in (PREFIX + "small-1", "labelled batch"):
        state = deliver(cause, return_state=True)
        assert state.is_completed() and state.message == f"{cause}: answered meanwhile"
    assert open_workspace().state.ledger() == []


def test_a_due_training_is_told_once_and_by_the_sweep_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks import watching

    told: list[str] = []
    monkeypatch.setattr(watching, "emit_event", lambda **kw: told.append(kw["payload"]["cause"]))
    monkeypatch.setattr(watching.triggers, "due", lambda *_: ["labelled batch"])
    workspace = open_workspace()
    for again in (False, False, True):
        watching.tell_due.fn(workspace, datetime(2026, 2, 1, tzinfo=UTC), again=again)
    assert told == ["labelled batch"] * 2
