"""The demo from an empty state folder to its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from setpoint.adapters.prefect_api import PrefectApi
from setpoint.config import read_login
from setpoint.demo.observer import Say
from setpoint.demo.player import Player
from setpoint.demo.script import Script, event_time, prepare
from setpoint.demo.summary import event_days, summarise
from setpoint.documents import assess, write_documents
from setpoint.domain.findings import Outcome
from setpoint.domain.world import World
from setpoint.errors import PlatformError
from setpoint.platform import up
from setpoint.report import daily_rate, write_report
from setpoint.stages.gates.rebuild import REBUILD
from setpoint.stages.replay import reached, replay
from setpoint.stages.review import current, review
from setpoint.workspace import StreamClock, Workspace


def first_champion(workspace: Workspace, world: World, script: Script) -> None:
    """Run the deliver deployment, as a person would from the Prefect UI.

    Raises:
        PlatformError: It did not put a version into service.
    """
    StreamClock(workspace.state).advance(event_time(world, script.history))
    api = PrefectApi(workspace.ports.prefect)
    run = api.wait(api.run("deliver/deliver", {"cause": "first"}), timeout=300)
    if run.state != "Promoted":
        raise PlatformError(
            f"the first model did not get into service: {run.state}: {run.message}",
            where=f"{api.base}/runs/flow-run/{run.id}",
            fix="look at that run, and at logs/worker.log in the state folder",
        )


def _answered_from_the_record(workspace: Workspace) -> dict[str, Any]:
    """The champion's rebuild, which is one of its gates, and one of its decisions computed again.

    Its events are taken in first: what no snapshot has, no record can say.
    """
    api = PrefectApi(workspace.ports.prefect)
    api.wait(api.run("ingest/ingest", {}), timeout=120)
    champion = workspace.champion()
    judged = [e for e in workspace.state.ledger() if e.kind == "accepted"]
    found = [
        finding["outcome"] == Outcome.PASSED
        for entry in judged
        if entry.subject.endswith(f"/{champion}")
        for finding in entry.evidence["verdict"]["findings"]
        if finding["name"] == REBUILD
    ]
    decision = None if champion is None else reached(workspace, champion)
    again = None if decision is None else replay(workspace, decision)
    return {
        "champion": champion,
        "rebuilt": bool(found) and all(found),
        "decision": decision,
        "replayed": again is not None and again.equal,
    }


def run_demo(
    script: Script, root: Path, say: Say, reviewer: str = ""
) -> tuple[dict[str, Any], Workspace]:
    """The whole demo; the platform is up when this returns or raises.

    Args:
        script: What is played.
        root: State folder; emptied first.
        say: Told what happens.
        reviewer: Who has read the example's project file and stands by it; nobody if empty.

    Raises:
        SetpointError: A part of the platform does not start, or there is no first champion.
    """
    say("setup", "writing the world's history", 0)
    workspace, world = prepare(script, root)
    StreamClock(workspace.state).advance(event_time(world, script.history))
    if reviewer:
        review(workspace, current(workspace), reviewer, "read before the demo", read_login())
    say("setup", "starting Prefect, its worker and the gateway", 0)
    ports = up(workspace, clock="stream", mlflow=False)
    say("setup", f"Prefect UI: http://127.0.0.1:{ports.prefect}", 0)
    first_champion(workspace, world, script)
    say("promoted", "the first champion is in service", float(script.history))
    before = len(workspace.state.ledger())
    played = Player(workspace, world, script, say).play()
    verdicts = [e for e in workspace.state.ledger()[before:] if e.kind in ("accepted", "refused")]
    played.retrainings = len(verdicts)
    floor = workspace.project.setpoints["detection_rate"].floor or 0.0
    summary = summarise(world, script, played, workspace.project.costs.matrix(), floor)
    summary |= _answered_from_the_record(workspace)
    day = event_days(world)[played.answered]
    fraud = world.fraud[played.answered] == 1
    series = daily_rate(day, fraud, fraud & played.reviewed[played.answered])
    marks = {n: d for n, d in played.days.items() if n in ("drift", "alarm", "healed")}
    write_report(root / "report.html", summary, series, marks, workspace.state.ledger())
    write_documents(workspace, root / "documents")
    assessed = assess(workspace)
    summary |= {"points": assessed.points, "maturity": assessed.level.number}
    (root / "summary.json").write_text(json.dumps(summary, indent=1), "utf-8")
    return summary, workspace
