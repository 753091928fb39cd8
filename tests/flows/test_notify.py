"""Flows tell people at their end, against a real Prefect server and real receivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.errors import NotificationError
from setpoint.workspace import Workspace, open_workspace
from tests.adapters.receivers import SECRET, Webhook, webhook
from tests.stages.small import T0, make_frame
from tests.stages.small import deliver as put

pytestmark = pytest.mark.usefixtures("prefect_server")

NOTIFY = """\
notify:
  channels: {team: {url_from: TEAM_URL}, ui: {block: custom-webhook/oncall}}
"""


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as made:
        monkeypatch.setenv("TEAM_URL", made.url)
        yield made


@pytest.fixture
def ui(prefect_server: None) -> Iterator[Webhook]:
    """What is sent through the block ``custom-webhook/oncall``."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    with webhook() as made:
        CustomWebhookNotificationBlock(
            name="oncall",
            url=f"http://127.0.0.1:{made.port}/{SECRET}",
            json_data={"title": "{{subject}}", "message": "{{body}}"},
        ).save("oncall", overwrite=True)
        yield made


@pytest.fixture
def workspace(project: Path) -> Workspace:
    """A project with an incident and two channels, one of them a block."""
    project.write_text(project.read_text("utf-8") + NOTIFY, "utf-8")
    made = open_workspace()
    finding = Finding("ranking", Outcome.FAILED, 0.5, 0.6, "floor", 500, 0.001, "broken")
    incident = Incident("", Cause.PERFORMANCE, Severity.HIGH, Status.OPEN, T0, "v1", (finding,))
    made.state.open_incident(incident)
    return made


OPEN = "small-1 is open: performance, high"


def test_the_watch_tells_of_an_incident_through_address_and_block_once(
    workspace: Workspace, team: Webhook, ui: Webhook
) -> None:
    from flows.watch import watch

    for _ in range(2):
        assert watch(return_state=True).is_completed()
    assert team.titles == ui.titles == [OPEN]
    assert "ranking: broken" in ui.bodies[0]["message"]


def test_the_sweep_says_which_channel_failed_and_tells_it_the_next_time(
    workspace: Workspace, team: Webhook, ui: Webhook
) -> None:
    from flows.sweep import sweep

    ui.status = 500
    state = sweep(return_state=True)
    assert state.is_failed() and "notify.channels.ui" in (state.message or "")
    assert (team.titles, ui.titles) == ([OPEN], [])
    ui.status = 200
    assert sweep(return_state=True).is_completed()
    assert team.titles == ui.titles == [OPEN]


def test_the_artifact_of_an_incident_begins_with_its_triage(workspace: Workspace) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from setpoint.stages.watch import Window
    from tasks.watching import open_incidents

    psi = Finding(
        "psi", Outcome.FAILED, 0.4, 0.25, "ceiling", 900, 0.001, "act", None, "x", "lower"
    )

    @flow
    def opening() -> None:
        open_incidents(workspace, Window(T0, "v1", (psi,), ()))

    opening()
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["incident"]))
    with get_client(sync_client=True) as client:
        shown = [one.description or "" for one in client.read_artifacts(artifact_filter=wanted)]
    assert any("- moved most: x lower (PSI 0.40)" in one for one in shown)


def test_a_response_tells_how_it_ended_and_a_channel_that_fails_changes_nothing_about_it(
    workspace: Workspace, team: Webhook, ui: Webhook
) -> None:
    from flows.respond import respond

    text = workspace.project_file.read_text("utf-8").replace("floor: 0.6", "floor: 0.999")
    workspace.project_file.write_text(text + "respond: {attempts: 1}\n", "utf-8")
    ui.status = 500
    state = respond("small-1", return_state=True)
    assert (state.name, state.is_failed()) == ("Refused", True)
    assert team.titles == ["small-1 needs a person: performance, high"]
    assert "setpoint resolve small-1" in team.bodies[0]["message"]


def test_a_response_that_breaks_off_leaves_the_incident_told(
    workspace: Workspace, team: Webhook, ui: Webhook
) -> None:
    from flows.respond import respond

    put(workspace, "1.parquet", make_frame(50, seed=1, start=5000).assign(x=99.0))
    assert respond("small-1", return_state=True).is_failed()
    assert team.titles == [OPEN] and "column x" in team.bodies[0]["message"]


def test_a_block_that_can_only_be_awaited_is_awaited(prefect_server: None, tmp_path: Path) -> None:
    from prefect.blocks.abstract import NotificationBlock

    from tasks.notifying import send_through_block

    class Slow(NotificationBlock):
        """Writes to a file."""

        file: str

        async def notify(self, body: str, subject: str | None = None) -> None:
            Path(self.file).write_text(f"{subject}: {body}", "utf-8")

    Slow(file=str(tmp_path / "told")).save("oncall", overwrite=True)
    send_through_block("ui", "slow/oncall", "title", "body")
    assert (tmp_path / "told").read_text("utf-8") == "title: body"


@pytest.mark.parametrize("broken", ["no such block", "another kind", "does not answer"])
def test_a_block_that_cannot_be_used_is_named_without_what_it_holds(
    ui: Webhook, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.blocks.system import Secret

    from tasks.notifying import send_through_block

    Secret(value=SECRET).save("oncall", overwrite=True)
    ui.status = 500
    caplog.set_level("DEBUG")
    block = {"no such block": "slack-webhook/nobody", "another kind": "secret/oncall"}
    with pytest.raises(NotificationError, match=r"notify\.channels\.ui") as caught:
        send_through_block("ui", block.get(broken, "custom-webhook/oncall"), "title", "body")
    assert SECRET not in str(caught.value) + caplog.text
    assert caught.value.__context__ is None and caught.value.__cause__ is None
