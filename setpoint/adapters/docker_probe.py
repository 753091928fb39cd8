"""Asks a running container whether it serves: readiness, its health check, decisions."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from setpoint.errors import PlatformError

PORT = 8080
WARM_REQUESTS = 5
ANSWER_SECONDS = 10.0
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
            status, body = _get(port, "/health/ready")
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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        return _decide(container, connection, row)
    finally:
        connection.close()


def time_decisions(
    container: Any, port: int, rows: Sequence[Mapping[str, Any]], seconds: float
) -> tuple[float, ...]:
    """Ask for decisions one after the other over one connection.

    The first few warm the service up and are not timed, if rows are left after them.

    Args:
        container: A container that is ready.
        port: Its port on the loopback interface.
        rows: The rows, JSON values; each with an event id of its own, or it is answered from the
            decision log.
        seconds: No row is sent after this time: a slow image is known by few rows.

    Returns:
        Seconds to each timed answer, in the order of the rows.

    Raises:
        PlatformError: It gives no decision on a row.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    warm = min(WARM_REQUESTS, len(rows) // 2)
    took: list[float] = []
    end = time.monotonic() + seconds
    try:
        for row in rows[:warm]:
            _decide(container, connection, row)
        for row in rows[warm:]:
            begin = time.perf_counter()
            _decide(container, connection, row)
            took.append(time.perf_counter() - begin)
            if time.monotonic() > end:
                break
    finally:
        connection.close()
    return tuple(took)


def _decide(
    container: Any, connection: http.client.HTTPConnection, row: Mapping[str, Any]
) -> dict[str, Any]:
    body = json.dumps(row, allow_nan=False).encode()
    try:
        connection.request("POST", "/v1/decisions", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        decision = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise _failed(container, f"it gave no decision: {first_line(err)}") from err
    if answer.status != 200 or not isinstance(decision, dict):
        raise _failed(container, f"it refused the row with status {answer.status}: {decision}")
    return decision


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", path)
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
