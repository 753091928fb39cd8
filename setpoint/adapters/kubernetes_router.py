"""Traffic through the Gateway API: the scaled-out home of ``TrafficRouter`` on Kubernetes.

A plan is one ``HTTPRoute``: weights, mirror, the header with its id, and in an annotation the plan
itself. It is written as a whole, so no kill leaves half a plan.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from setpoint.adapters.envoy import check_new, check_plan
from setpoint.adapters.envoy_config import PLAN_HEADER, READY_PATH
from setpoint.adapters.kubernetes_api import ApiError, KubernetesApi
from setpoint.adapters.kubernetes_manifests import (
    PORT,
    Cluster,
    object_name,
    plan_of,
    route,
)
from setpoint.adapters.kubernetes_runtime import is_ready
from setpoint.errors import ReleaseError, StateError
from setpoint.ports import Endpoint, TrafficPlan

POLL_SECONDS = 0.1
ANSWERS = 5
"""Answers in a row, each over a connection of its own, as a gateway may have several pods."""
WRITES = 10
SERVICE_IP = Endpoint("127.0.0.1", PORT)


class KubernetesRouter:
    """Sends requests by weight, drawn for every request: the Gateway API hashes no header.

    Args:
        cluster: The cluster.
        project: Name of the project.
        api: The API server; ``None`` for the one that ``cluster`` names.
        timeout: Seconds that a plan may take until answers carry its id.
    """

    def __init__(
        self,
        cluster: Cluster,
        project: str,
        api: KubernetesApi | None = None,
        *,
        timeout: float = 60.0,
    ) -> None:
        self._cluster = cluster
        self._project = project
        self._api = api or KubernetesApi(cluster.namespace, cluster.server)
        self._name = object_name(project, "all")
        self._timeout = timeout

    def current(self) -> TrafficPlan | None:
        """The plan in force, ``None`` before the first.

        Raises:
            StateError: The route was changed by somebody else and is no plan any more.
            ApiError: The API server does not answer or refuses.
        """
        return self._plan(self._api.get("HTTPRoute", self._name))

    def apply(self, plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
        """Make ``plan`` the one in force; see the port.

        Raises:
            ReleaseError: The plan is contradictory, a version that gains traffic is not ready,
                somebody else moved traffic meanwhile, or no answers carried the plan's id in
                time; the old plan is in force.
            StateError: The route was changed by somebody else and is no plan any more.
            ApiError: The API server does not answer or refuses.
        """
        # Services are known by name here; Envoy's check wants an address.
        check_plan(plan, dict.fromkeys(endpoints, SERVICE_IP))
        self._check_services(plan, endpoints)
        found = self._api.get("HTTPRoute", self._name)
        before = self._plan(found)
        check_new(plan, before)
        self._check_gains(plan, before)
        self._replace(plan, before, found)
        try:
            self._wait(plan)
        except ReleaseError:
            self._restore(plan, before)
            raise

    def _plan(self, found: dict[str, Any] | None) -> TrafficPlan | None:
        if found is None:
            return None
        plan = plan_of(self._project, found)
        if plan is None:
            raise StateError(
                "its weights are not those of the plan in its annotation: it was changed by hand",
                where=f"HTTPRoute {self._cluster.namespace}/{self._name}",
                fix="put it back, or delete it and release the champion again",
            )
        return plan

    def _check_services(self, plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
        for version in [*plan.weights, *([plan.shadow] if plan.shadow is not None else [])]:
            name = object_name(self._project, version)
            wanted = Endpoint(f"{name}.{self._cluster.namespace}.svc", PORT)
            if endpoints[version] != wanted:
                raise ReleaseError(
                    f"version {version} is at {endpoints[version].host}, not at its Service "
                    f"{wanted.host}",
                    where=f"traffic plan {plan.id}",
                    fix="start it by the runtime of the same cluster; the old plan stays",
                )

    def _check_gains(self, plan: TrafficPlan, before: TrafficPlan | None) -> None:
        """A version that gains traffic must be ready; the stable one may be what heals."""
        held = dict(before.weights) if before is not None else {}
        for version, weight in plan.weights.items():
            gains = weight > held.get(version, 0)
            if not gains or (before is not None and version == plan.stable):
                continue
            name = object_name(self._project, version)
            if not is_ready(self._api.get("Deployment", name)):
                raise ReleaseError(
                    f"version {version} is to gain traffic but its Deployment {name} is not ready",
                    where=f"traffic plan {plan.id}",
                    fix="start it and wait until it is ready; the old plan stays",
                )

    def _replace(
        self, plan: TrafficPlan, before: TrafficPlan | None, found: dict[str, Any] | None
    ) -> None:
        """Write the route over the state that was looked at, and over no other plan."""
        for _ in range(WRITES):
            item = route(self._cluster, self._project, plan)
            if found is not None:
                item["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            try:
                self._api.apply(item)
                return
            except ApiError as err:
                if err.status != 409:
                    raise
            # The status that a controller writes makes another state too, of the same plan.
            found = self._api.get("HTTPRoute", self._name)
            if self._plan(found) != before:
                break
        raise ReleaseError(
            "somebody else moved traffic meanwhile",
            where=f"traffic plan {plan.id}",
            fix="see which plan is in force, and decide anew",
        )

    def _restore(self, plan: TrafficPlan, before: TrafficPlan | None) -> None:
        if before is None:
            self._api.delete("HTTPRoute", self._name)
            return
        self._api.apply(route(self._cluster, self._project, before))
        # The gateway may be what fails.
        with suppress(ReleaseError):
            self._wait(before, seconds=5.0)

    def _wait(self, plan: TrafficPlan, seconds: float | None = None) -> None:
        deadline = time.monotonic() + (self._timeout if seconds is None else seconds)
        seen = ""
        while True:
            refused = _refusal(self._api.get("HTTPRoute", self._name))
            seen = refused or self._unmoved(plan.id)
            if not seen:
                return
            if time.monotonic() > deadline:
                raise ReleaseError(
                    f"the plan was not taken up in time: {seen}",
                    where=f"traffic plan {plan.id}, gateway {self._cluster.gateway_url}",
                    fix="see the status of the HTTPRoute and of the Gateway; the old plan stays",
                )
            time.sleep(POLL_SECONDS)

    def _unmoved(self, plan_id: str) -> str:
        """Why it cannot be said that the gateway carries out a plan; empty if it does."""
        for _ in range(ANSWERS):
            status, seen = _ask(self._cluster.gateway_url)
            if seen != plan_id or not 0 < status < 500:
                return f"an answer had plan {seen!r}, status {status}" if status else "no answer"
        return ""


def _refusal(found: dict[str, Any] | None) -> str:
    """Why no controller has taken up the newest state of a route; empty if one has."""
    if found is None:
        return "the route is gone"
    generation = found["metadata"].get("generation", 1)
    parents = found.get("status", {}).get("parents", [])
    conditions = {one["type"]: one for parent in parents for one in parent.get("conditions", [])}
    for kind in ("Accepted", "ResolvedRefs"):
        told = conditions.get(kind, {})
        if told.get("observedGeneration", 0) < generation:
            return f"no controller has said {kind} of the newest state of the route"
        if told["status"] != "True":
            return f"{kind} is {told['status']}: {told.get('reason')}, {told.get('message')}"
    return ""


def _ask(url: str) -> tuple[int, str]:
    """Status and plan id of an answer of the gateway; status 0 without one within 2 s."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=2.0)
    try:
        connection.request("GET", READY_PATH)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get(PLAN_HEADER, "")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
