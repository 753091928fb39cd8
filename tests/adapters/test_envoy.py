from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.adapters.envoy import EnvoyRouter
from setpoint.adapters.envoy_config import GatewayOptions, routes, shares
from setpoint.adapters.gateway_client import Answer, Counts
from setpoint.adapters.services import service_status, wait_ready
from setpoint.errors import ReleaseError, StateError
from setpoint.ports import Endpoint, TrafficPlan
from tests.adapters.supervised import until
from tests.adapters.traffic import Traffic, gateway, rows, versions_by_customer


@pytest.fixture
def traffic(tmp_path: Path) -> Iterator[Traffic]:
    with gateway(tmp_path) as one:
        yield one


def assert_all_answered(answers: list[Answer]) -> None:
    assert Counts.of(answers) == Counts(sent=len(answers), answered=len(answers))


def test_before_the_first_plan_every_request_is_answered_503_with_the_reason(
    traffic: Traffic,
) -> None:
    assert traffic.router.current() is None
    (answer,) = traffic.send(rows(1))
    assert answer.status == 503
    assert answer.body is not None and "no model version is released yet" in answer.body["error"]


def test_no_request_is_lost_through_ten_plan_changes(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 100, "v2": 0}, "v1")

    def ramp() -> None:
        for weight in (5, 25, 50, 75, 100, 50, 0, 25, 100):
            traffic.move({"v1": 100 - weight, "v2": weight}, "v1")
            time.sleep(0.15)
        traffic.move({"v2": 100}, "v2")
        traffic.runtime.stop("v1")

    answers = traffic.play(ramp)
    assert_all_answered(answers)
    assert len({answer.plan for answer in answers}) >= 8
    assert answers[-1].plan == traffic.plans[-1]


def test_no_request_is_lost_when_the_canary_is_killed(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 50, "v2": 50}, "v1")

    def kill_twice() -> None:
        for _ in range(2):
            time.sleep(0.6)
            traffic.kill("v2")
            until(lambda: service_status(traffic.state, "model-v2").state != "ready")
            wait_ready(traffic.state, "model-v2", 20)

    answers = traffic.play(kill_twice)
    assert_all_answered(answers)


def test_no_request_is_lost_when_the_stable_version_is_killed_beside_a_canary(
    traffic: Traffic,
) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 90, "v2": 10}, "v1")

    def kill() -> None:
        time.sleep(0.5)
        traffic.kill("v1")

    answers = traffic.play(kill)
    assert_all_answered(answers)


def test_no_request_is_lost_when_the_only_version_is_killed_and_restarted(
    traffic: Traffic,
) -> None:
    traffic.start("v1")
    traffic.move({"v1": 100}, "v1")

    def kill() -> None:
        traffic.kill("v1")
        until(lambda: service_status(traffic.state, "model-v1").state != "ready")
        wait_ready(traffic.state, "model-v1", 20)

    assert_all_answered(traffic.play(kill))


def test_no_request_is_lost_when_all_versions_stall_for_longer_than_one_try(
    traffic: Traffic,
) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 50, "v2": 50}, "v1")
    pids = [service_status(traffic.state, f"model-{v}").pid or 0 for v in ("v1", "v2")]

    def stall() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1.6)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    assert_all_answered(traffic.play(stall))


def test_the_only_versions_own_503_reaches_the_client_at_once(traffic: Traffic) -> None:
    traffic.start("v1-fail")
    traffic.move({"v1-fail": 100}, "v1-fail")
    answers = traffic.send(rows(20))
    assert Counts.of(answers) == Counts(sent=20, lost=20)
    assert traffic.seen("v1-fail")["direct"] == 20


def test_a_canary_that_fails_every_request_costs_nobody_an_answer(traffic: Traffic) -> None:
    traffic.start("v1", "v2-fail")
    traffic.move({"v1": 50, "v2-fail": 50}, "v1")
    answers = traffic.send(rows(400))
    assert_all_answered(answers)
    assert {answer.body["version"] for answer in answers if answer.body} == {"v1"}
    assert traffic.seen("v2-fail")["direct"] > 0


def test_a_refusal_of_the_service_reaches_the_client_and_is_not_retried(traffic: Traffic) -> None:
    traffic.start("v1")
    traffic.move({"v1": 100}, "v1")
    (answer,) = traffic.send([{"id": "e", "customer": "c", "bad": True}])
    assert (answer.status, answer.body) == (422, {"error": "bad row"})
    assert traffic.seen("v1")["direct"] == 1


def test_an_entity_keeps_its_version_and_a_ramp_moves_nobody_back(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    on_canary: set[int] = set()
    for weight in (5, 25, 50, 100):
        traffic.move({"v1": 100 - weight, "v2": weight}, "v1")
        found = versions_by_customer(traffic.send(rows(400)))
        assert all(len(versions) == 1 for versions in found.values())
        now = {customer for customer, versions in found.items() if versions == {"v2"}}
        assert on_canary <= now
        assert abs(len(now) / 200 - weight / 100) < 0.12
        on_canary = now
    assert len(on_canary) == 200


def test_a_release_begins_with_other_entities_and_still_moves_nobody_back(
    traffic: Traffic,
) -> None:
    traffic.start("v1", "v2")
    first: dict[int, set[str]] = {}
    for offset in (0, 90):
        seen: set[str] = set()
        for weight in (0, 10, 40, 100):
            traffic.move({"v1": 100 - weight, "v2": weight}, "v1", offset=offset)
            found = versions_by_customer(traffic.send(rows(400)))
            moved = {who for who, versions in found.items() if versions == {"v2"}}
            assert seen <= moved
            assert weight < 100 or len(moved) == len(found)
            seen = moved
            if weight == 40:
                first[offset] = moved
    assert first[0] and first[90] and len(first[0] & first[90]) < len(first[0])


@given(st.integers(0, 100), st.integers(0, 99))
def test_every_version_gets_its_share_wherever_it_begins(weight: int, offset: int) -> None:
    plan = TrafficPlan("p", {"v1": 100 - weight, "v2": weight}, "v1", None, offset)
    parts = shares(plan)
    for version in ("v1", "v2"):
        assert sum(n for name, n in parts if name == version) == plan.weights[version]
    assert all(a[0] != b[0] for a, b in pairwise(parts))


def test_a_version_is_told_for_whom_a_request_was_meant_and_with_which_share() -> None:
    plan = TrafficPlan("p", {"v1": 75, "v2": 25}, "v1", None, 10)
    table = routes(plan, GatewayOptions("127.0.0.1", 1, 2))
    entries = table["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
    told = [
        {one["header"]["key"]: one["header"]["value"] for one in entry["request_headers_to_add"]}
        for entry in entries["clusters"]
    ]
    assert {"x-assigned": "v2", "x-propensity": "0.25"} in told
    assert {"x-assigned": "v1", "x-propensity": "0.75"} in told


def test_a_shadow_sees_every_request_and_answers_none(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 100, "v2": 0}, "v1", shadow="v2")
    answers = traffic.send(rows(100))
    assert {answer.body["version"] for answer in answers if answer.body} == {"v1"}
    until(lambda: traffic.seen("v2")["shadow"] == 100, 10)
    assert traffic.seen("v2")["direct"] == 0
    assert traffic.seen("v1") == {"direct": 100, "shadow": 0}


def test_a_killed_shadow_changes_nothing_for_clients(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    traffic.move({"v1": 100}, "v1", shadow="v2")
    answers = traffic.play(lambda: traffic.kill("v2"))
    assert_all_answered(answers)


def test_a_plan_survives_a_restart_of_the_gateway(traffic: Traffic) -> None:
    traffic.start("v1", "v2")
    plan_id = traffic.move({"v2": 30, "v1": 70}, "v1", shadow=None)
    pid = service_status(traffic.state, "gateway").pid
    declared = (traffic.state / "services" / "gateway.json").read_text()
    again = EnvoyRouter(traffic.state, *_ports(traffic.router))
    assert json.loads(declared) == again.service_spec().to_dict()
    (traffic.state / "services" / "gateway.json").unlink()
    until(lambda: not (traffic.state / "services/status/gateway.json").exists())
    (traffic.state / "services" / "gateway.json").write_text(declared)
    assert wait_ready(traffic.state, "gateway", 30).pid != pid
    plan = again.current()
    assert plan is not None and list(plan.weights) == ["v2", "v1"]
    (answer,) = traffic.send(rows(1))
    assert (answer.status, answer.plan) == (200, plan_id)


def test_a_version_that_does_not_answer_gains_no_traffic(traffic: Traffic) -> None:
    traffic.start("v1")
    before = traffic.move({"v1": 100}, "v1")
    plan = TrafficPlan("to-nobody", {"v1": 50, "v2": 50}, "v1")
    with pytest.raises(ReleaseError, match=r"version v2 at 127\.0\.0\.1:1 .* does not answer"):
        traffic.router.apply(plan, {**traffic.runtime.endpoints(), "v2": Endpoint("127.0.0.1", 1)})
    (answer,) = traffic.send(rows(1))
    assert (answer.status, answer.plan) == (200, before)


def test_a_plan_that_the_gateway_does_not_take_up_is_undone(tmp_path: Path) -> None:
    with gateway(tmp_path) as traffic:
        traffic.start("v1", "v2")
        before = traffic.move({"v1": 100}, "v1")
        # Another admin port: the router cannot see that Envoy took up the clusters.
        port, _ = _ports(traffic.router)
        blind = EnvoyRouter(tmp_path, port, 1, timeout=0.5)
        plan = TrafficPlan("unseen", {"v1": 50, "v2": 50}, "v1")
        with pytest.raises(ReleaseError, match="does not take up its clusters"):
            blind.apply(plan, traffic.runtime.endpoints())
        current = traffic.router.current()
        assert current is not None and current.id == before
        (answer,) = traffic.send(rows(1))
        assert (answer.status, answer.plan) == (200, before)


@pytest.mark.parametrize(
    ("weights", "stable", "shadow", "message"),
    [
        ({"v1": 60, "v2": 30}, "v1", None, r"weights .* are not whole percents"),
        ({"v1": 99.5, "v2": 0.5}, "v1", None, r"weights .* are not whole percents"),
        ({"v1": 110, "v2": -10}, "v1", None, r"weights .* are not whole percents"),
        ({}, "v1", None, r"weights \{\} are not whole percents"),
        ({"v2": 100}, "v1", None, "stable version 'v1' is not among the weights"),
        ({"v1": 50, "v3": 50}, "v1", None, "no endpoint for v3; known:"),
        ({"v1": 100}, "v1", "v3", "no endpoint for v3; known:"),
        ({"v1": 100}, "v1", "v1", "shadow 'v1' answers requests itself"),
        ({"v1": 50, "v2": 50}, "v1", "v2", "shadow 'v2' answers requests itself"),
        ({"../v1": 100}, "../v1", None, "is no id of a plan or version"),
        ({"v1": 50, "named": 50}, "v1", None, "is no IP address"),
    ],
)
def test_a_contradictory_plan_is_refused_before_anything_is_written(
    tmp_path: Path, weights: dict[str, int], stable: str, shadow: str | None, message: str
) -> None:
    router = EnvoyRouter(tmp_path, 1, 2)
    endpoints = {name: Endpoint("127.0.0.1", 3) for name in ("v1", "v2", "../v1")}
    endpoints["named"] = Endpoint("model.example", 3)
    with pytest.raises(ReleaseError, match=message):
        router.apply(TrafficPlan("p", weights, stable, shadow), endpoints)
    assert not (tmp_path / "envoy").exists()


def test_damaged_traffic_files_are_an_error_and_not_an_empty_plan(tmp_path: Path) -> None:
    router = EnvoyRouter(tmp_path, 1, 2)
    router.service_spec()
    (tmp_path / "envoy" / "watched" / "rds.json").write_text('{"version_info": "p7"}')
    with pytest.raises(StateError, match="contradict each other or are damaged"):
        router.current()


def _ports(router: EnvoyRouter) -> tuple[int, int]:
    written = json.loads((router.folder / "bootstrap.json").read_text())
    listener = written["static_resources"]["listeners"][0]
    return (
        listener["address"]["socket_address"]["port_value"],
        written["admin"]["address"]["socket_address"]["port_value"],
    )
