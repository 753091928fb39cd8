"""Asks a running container whether it serves: readiness, its health check, one decision."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from setpoint.errors import PlatformError

PORT = 8080
LOG_LINES = 15


def published_port(container: Any) -> int:
    """The loopback port that the engine gave to the service's port; 0 if it gave none."""
    container.reload()
    for binding in container.ports.get(f"{PORT}/tcp") or []:
        return int(binding["HostPort"])
    # Not published: it ended at once. The wait for readiness reports how.
    return 0


def wait_ready(container: Any, port: int, deadline: float) -> None:
    """Return on the first 200 of ``/health/ready``.

    Args:
        container: A started container of Docker's SDK.
        port: Its port on the loopback interface.
        deadline: When to give up, on ``time.monotonic``.

    Raises:
        PlatformError: It ended, or was not ready in time.
    """
    last = "no answer"
    while time.monotonic() < deadline:
        container.reload()
        if container.status in ("exited", "dead"):
            code = container.attrs["State"]["ExitCode"]
            raise _failed(container, f"it ended with exit code {code} before it was ready")
        try:
            status, body = _call(port, "GET", "/health/ready", timeout=2.0)
        except (OSError, http.client.HTTPException) as err:
            last = first_line(err)
        else:
            if status == 200:
                return
            last = f"status {status}: {body[:200].decode(errors='replace')}"
        time.sleep(0.05)
    raise _failed(container, f"it did not get ready in time; last answer: {last}")


def check_health(container: Any) -> None:
    """Run the image's own health check, which orchestrators will rely on.

    Raises:
        PlatformError: The image has none, or it fails.
    """
    container.image.reload()
    check = (container.image.attrs["Config"].get("Healthcheck") or {}).get("Test") or []
    if check[:1] != ["CMD"]:
        raise _failed(container, f"its image has no health check to run: {check}")
    code, output = container.exec_run(check[1:])
    if code != 0:
        text = output.decode(errors="replace").strip()[-300:]
        raise _failed(container, f"its health check ended with exit code {code}: {text}")


def decide(container: Any, port: int, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Ask for one decision.

    Args:
        container: A container that is ready.
        port: Its port on the loopback interface.
        row: The row, JSON values.

    Raises:
        PlatformError: It gives no decision.
    """
    body = json.dumps(row, allow_nan=False).encode()
    try:
        status, answer = _call(port, "POST", "/v1/decisions", body, timeout=10.0)
        decision = json.loads(answer)
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise _failed(container, f"it gave no decision: {first_line(err)}") from err
    if status != 200 or not isinstance(decision, dict):
        raise _failed(container, f"it refused the row with status {status}: {decision}")
    return decision


def _call(
    port: int, method: str, path: str, body: bytes | None = None, *, timeout: float
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _failed(container: Any, what: str) -> PlatformError:
    lines = "\n  ".join(log_lines(container))
    return PlatformError(
        f"the container failed its smoke test: {what}\n  {lines}".rstrip(),
        where=f"image {container.attrs['Config']['Image']}",
        fix="see its last lines above; run the service on the same bundle without a container",
    )


def log_lines(container: Any) -> list[str]:
    """The last lines a container wrote."""
    text = container.logs(tail=LOG_LINES).decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def first_line(err: BaseException) -> str:
    """The first line of an error's message, or its kind if it has none."""
    return (str(err) or type(err).__name__).splitlines()[0][:300]
