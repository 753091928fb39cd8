"""The Prefect server over its REST API; Prefect itself is not imported."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from setpoint.errors import PlatformError


@dataclass(frozen=True)
class FlowRun:
    """A flow run as the server knows it."""

    id: str
    name: str
    state: str
    kind: str
    message: str

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.kind in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class PrefectApi:
    """One Prefect server.

    Args:
        port: Its port on loopback.
    """

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.base}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except (OSError, urllib.error.URLError, ValueError) as err:
            raise PlatformError(
                f"the Prefect server does not answer: {err}",
                where=f"{self.base}/api{path}",
                fix="see logs/prefect-server.log in the state folder; 'setpoint up' starts it",
            ) from err

    def run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a deployment, e.g. ``deliver/deliver``; returns the flow run's id."""
        found = self._call("GET", f"/deployments/name/{deployment}")
        made = self._call(
            "POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters}
        )
        return str(made["id"])

    def flow_run(self, run_id: str) -> FlowRun:
        """One flow run."""
        return _flow_run(self._call("GET", f"/flow_runs/{run_id}"))

    def wait(self, run_id: str, timeout: float) -> FlowRun:
        """Wait for a flow run to end.

        Raises:
            PlatformError: It has not ended within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.flow_run(run_id)
            if run.ended:
                return run
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"flow run {run.name} is still {run.state} after {timeout:g} s",
                    where=f"{self.base}/runs/flow-run/{run_id}",
                    fix="look at the run in the Prefect UI, and at logs/worker.log",
                )
            time.sleep(0.3)

    def recent_runs(self, limit: int = 20) -> list[FlowRun]:
        """Newest flow runs."""
        body = {"sort": "START_TIME_DESC", "limit": limit}
        return [_flow_run(run) for run in self._call("POST", "/flow_runs/filter", body)]


def _flow_run(content: dict[str, Any]) -> FlowRun:
    state = content.get("state") or {}
    return FlowRun(
        content["id"],
        content["name"],
        state.get("name", ""),
        state.get("type", ""),
        state.get("message") or "",
    )
