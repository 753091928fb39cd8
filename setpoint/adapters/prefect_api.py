"""The Prefect server over its REST API; Prefect itself is not imported."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
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
        patience: Seconds for which a server that does not answer is asked again.
    """

    def __init__(self, port: int, patience: float = 90.0) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self._patience = patience

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request, asked again while the server is too busy to answer.

        Every request made here may be repeated: reads, and starts that carry a key.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._once(method, path, body)
            except urllib.error.HTTPError as err:
                if err.code < 500 or time.monotonic() > deadline:
                    said = err.read(600).decode(errors="replace")
                    raise self._error(f"answered {err.code}: {said}", path) from err
            except (OSError, http.client.HTTPException, ValueError) as err:
                if time.monotonic() > deadline:
                    raise self._error(f"does not answer: {err}", path) from err
            time.sleep(0.5)

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(
            f"{self.base}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.loads(answer.read())

    def _error(self, what: str, path: str) -> PlatformError:
        return PlatformError(
            f"the Prefect server {what}",
            where=f"{self.base}/api{path}",
            fix="see logs/prefect-server.log in the state folder; 'setpoint up' starts it",
        )

    def run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a deployment, e.g. ``deliver/deliver``; returns the flow run's id."""
        found = self._call("GET", f"/deployments/name/{deployment}")
        body = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}
        made = self._call("POST", f"/deployments/{found['id']}/create_flow_run", body)
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


def _flow_run(content: dict[str, Any]) -> FlowRun:
    state = content.get("state") or {}
    return FlowRun(
        content["id"],
        content["name"],
        state.get("name", ""),
        state.get("type", ""),
        state.get("message") or "",
    )
