"""Approvals: ask for them, and release what has one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from setpoint.domain.approval import Request
from setpoint.stages import approval
from setpoint.stages.publish import Candidate
from setpoint.workspace import Workspace


@task(name="approval", cache_policy=NO_CACHE)
def ask(workspace: Workspace, candidate: Candidate, cause: str) -> Request | None:
    """Have the policy approve, or show people a form; ``None`` where it may be released at once."""
    request = approval.ask(workspace, candidate, cause, datetime.now(UTC))
    if request is not None:
        _start("approve/approve", request)
    return request


@task(name="release what is approved", cache_policy=NO_CACHE)
def start_release(workspace: Workspace, request: Request) -> None:
    """Have a version released that people approved, and take its form away."""
    if workspace.state.release(request.version) is None:
        _start("release/release", request)
    approval.released(workspace, request.version)
    _close(request)


def _start(deployment: str, request: Request) -> None:
    # Called from a task that is not async, it is no coroutine; a run below another one cannot be
    # suspended.
    run: Any = run_deployment(
        deployment, parameters={"version": request.version}, timeout=0, as_subflow=False
    )
    get_run_logger().info("%s: run %s of %s", request.version, run.id, deployment)


def _close(request: Request) -> None:
    with get_client(sync_client=True) as client:
        try:
            found = client.read_flow_run(request.run)  # type: ignore[arg-type]
        except (ObjectNotFound, ValueError):  # it was never started
            return
        if found.state is not None and found.state.is_paused():
            done: State[None] = Completed(message="answered by setpoint approve")
            client.set_flow_run_state(found.id, done, force=True)
