"""What the loop itself may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.errors import AccessError
from setpoint.workspace import open_workspace

pytestmark = pytest.mark.usefixtures("prefect_server")


def _allow(project: Path, services: str) -> None:
    section = f"\naccess: {{people: {{ada: [admin]}}, services: {{{services}}}}}\n"
    project.write_text(project.read_text("utf-8") + section, "utf-8")


def test_a_loop_that_may_not_train_trains_nothing_and_the_ledger_says_so(project: Path) -> None:
    from flows.deliver import deliver

    _allow(project, "setpoint: [release]")
    workspace = open_workspace()
    workspace.state.remember("any", "state")
    with pytest.raises(AccessError, match="the service setpoint has not the permission train"):
        deliver("manual")
    assert workspace.snapshots("events").latest() is None
    [entry] = workspace.state.ledger()
    assert (entry.kind, entry.subject) == ("access_refused", "service/setpoint")
    assert entry.evidence == {"permission": "train", "login": "", "doing": "deliver"}


def test_a_loop_that_may_train_and_not_release_stops_at_the_release(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.deliver import deliver

    _allow(project, "setpoint: [], nightly: [train]")
    monkeypatch.setenv("SETPOINT_SERVICE", "nightly")
    with pytest.raises(AccessError, match="the service nightly has not the permission release"):
        deliver("manual")
    workspace = open_workspace()
    kinds = [entry.kind for entry in workspace.state.ledger()]
    assert kinds[-1] == "access_refused" and "accepted" in kinds
    assert workspace.state.release("v1") is None and workspace.champion() is None
