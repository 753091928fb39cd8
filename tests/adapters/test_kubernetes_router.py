"""Plans as HTTPRoutes, against the stand-in of ``cluster.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from setpoint.adapters.kubernetes_api import ApiError, KubernetesApi
from setpoint.adapters.kubernetes_manifests import route
from setpoint.errors import ReleaseError, StateError
from setpoint.ports import TrafficPlan
from tests.adapters.cluster import ROUTES, StandIn, cluster

FIRST = TrafficPlan("a", {"v1": 100}, "v1")


@pytest.fixture
def found(tmp_path: Path) -> Iterator[StandIn]:
    with cluster() as stand_in:
        for version in ("v1", "v2"):
            stand_in.runtime.start(version, tmp_path / version)
        yield stand_in


def move(found: StandIn, plan: TrafficPlan) -> None:
    found.router.apply(plan, found.runtime.endpoints())


def rule(found: StandIn) -> dict[str, object]:
    (item,) = found.server.objects[f"{ROUTES}/small-all"]["spec"]["rules"]
    return dict(item)


def test_a_plan_is_weights_mirror_and_headers_of_one_route(found: StandIn) -> None:
    move(found, TrafficPlan("b", {"v1": 100}, "v1", shadow="v2"))
    assert rule(found)["filters"] == [
        {
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": {"set": [{"name": "x-plan", "value": "b"}]},
        },
        {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": {"name": "small-v2", "port": 8080}},
        },
    ]
    move(found, TrafficPlan("c", {"v1": 75, "v2": 25}, "v1"))
    backends = rule(found)["backendRefs"]
    assert isinstance(backends, list)
    assert [(one["name"], one["weight"]) for one in backends] == [
        ("small-v1", 75),
        ("small-v2", 25),
    ]
    told = [one["filters"][0]["requestHeaderModifier"]["set"] for one in backends]
    assert told[1] == [
        {"name": "x-assigned", "value": "v2"},
        {"name": "x-propensity", "value": "0.25"},
    ]


def test_weights_changed_by_hand_are_noticed(found: StandIn) -> None:
    move(found, TrafficPlan("a", {"v1": 75, "v2": 25}, "v1"))
    item = found.server.objects[f"{ROUTES}/small-all"]
    item["spec"]["rules"][0]["backendRefs"][0]["weight"] = 80
    with pytest.raises(StateError, match="changed by hand"):
        found.router.current()
    with pytest.raises(StateError):
        move(found, TrafficPlan("b", {"v1": 100}, "v1"))


def test_a_plan_that_the_gateway_does_not_carry_out_is_put_back(found: StandIn) -> None:
    move(found, FIRST)
    found.gateway.frozen = found.gateway.routes()
    with pytest.raises(ReleaseError, match="plan 'a', status 200"):
        move(found, TrafficPlan("b", {"v1": 50, "v2": 50}, "v1"))
    assert found.router.current() == FIRST


def test_a_plan_that_no_controller_has_seen_is_put_back(found: StandIn) -> None:
    move(found, FIRST)
    found.controllers.asleep = True
    with pytest.raises(ReleaseError, match="no controller has said Accepted of the newest state"):
        move(found, TrafficPlan("b", {"v1": 50, "v2": 50}, "v1"))
    assert found.router.current() == FIRST


def test_a_first_plan_that_fails_leaves_no_route(found: StandIn) -> None:
    found.controllers.asleep = True
    with pytest.raises(ReleaseError):
        move(found, FIRST)
    assert found.router.current() is None


def test_a_version_whose_pods_are_not_ready_gains_no_traffic(found: StandIn) -> None:
    move(found, FIRST)
    found.controllers.asleep = True
    path = next(p for p in found.server.objects if p.endswith("deployments/small-v2"))
    found.server.objects[path]["status"]["readyReplicas"] = 0
    with pytest.raises(ReleaseError, match="small-v2 is not ready"):
        move(found, TrafficPlan("b", {"v1": 90, "v2": 10}, "v1"))
    assert found.router.current() == FIRST


class Interrupted(KubernetesApi):
    """Something happens to the route between a look at it and the first write."""

    def __init__(self, found: StandIn, what: Callable[[dict[str, Any]], None]) -> None:
        super().__init__("setpoint", found.api.server, token_file=Path("/nowhere"))
        self.found, self.todo = found, [what]

    def apply(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.todo:
            known = self.found.server.objects[f"{ROUTES}/small-all"]
            known["metadata"]["resourceVersion"] = "other"
            self.todo.pop()(known)
        return super().apply(item)


def test_two_who_move_traffic_at_once_do_not_both_win(found: StandIn) -> None:
    move(found, FIRST)
    theirs = TrafficPlan("theirs", {"v1": 90, "v2": 10}, "v1")

    def quicker(known: dict[str, Any]) -> None:
        written = route(found.router._cluster, "small", theirs)
        known["metadata"]["annotations"] = written["metadata"]["annotations"]
        known["spec"] = written["spec"]

    found.router._api = Interrupted(found, quicker)
    with pytest.raises(ReleaseError, match="somebody else moved traffic"):
        move(found, TrafficPlan("b", {"v1": 50, "v2": 50}, "v1"))
    assert found.router.current() == theirs


def test_a_status_written_meanwhile_does_not_stop_a_plan(found: StandIn) -> None:
    move(found, FIRST)
    found.router._api = Interrupted(found, lambda known: None)
    plan = TrafficPlan("b", {"v1": 50, "v2": 50}, "v1")
    move(found, plan)
    assert found.router.current() == plan


def test_a_missing_right_is_named_with_what_gives_it(found: StandIn) -> None:
    found.server.deny.add("httproutes")
    with pytest.raises(ApiError, match="403") as caught:
        found.router.current()
    assert "rbac.yaml" in caught.value.fix


def test_a_server_that_is_away_is_an_error_and_no_answer_none() -> None:
    api = KubernetesApi("setpoint", "http://127.0.0.1:1", timeout=2.0)
    with pytest.raises(ApiError, match="does not answer"):
        api.get("HTTPRoute", "x")


def test_a_kind_that_the_server_does_not_know_is_no_missing_object(found: StandIn) -> None:
    """Without the Gateway API installed, "no plan" would else be read as "no plan yet"."""
    found.server.unknown.add("httproutes")
    with pytest.raises(ApiError, match="404 page not found") as caught:
        found.router.current()
    assert "install the Gateway API" in caught.value.fix
