"""What every ``TrafficRouter`` and every ``ModelRuntime`` does, the real ones and the fakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.errors import PlatformError, ReleaseError
from setpoint.ports import Endpoint, ModelRuntime, TrafficPlan, TrafficRouter
from tests.adapters.cluster import cluster
from tests.adapters.supervised import STUB, supervised
from tests.adapters.traffic import gateway
from tests.fakes import FakeRouter, FakeRuntime

NOBODY = Endpoint("127.0.0.1", 1)


@pytest.fixture(params=["fake", "envoy", "kubernetes"])
def release(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[TrafficRouter, ModelRuntime]]:
    if request.param == "fake":
        yield FakeRouter(refuse=frozenset({"silent"})), FakeRuntime()
    elif request.param == "kubernetes":
        with cluster() as found:
            yield found.router, found.runtime
    else:
        with gateway(tmp_path) as traffic:
            yield traffic.router, traffic.runtime


@pytest.fixture(params=["fake", "process", "kubernetes"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModelRuntime]:
    if request.param == "fake":
        yield FakeRuntime()
    elif request.param == "kubernetes":
        with cluster() as found:
            yield found.runtime
    else:
        with supervised(tmp_path):
            yield ProcessRuntime(tmp_path, tmp_path / "live.db", STUB, ready_seconds=30)


def test_a_router_takes_plans_and_tells_the_one_in_force(
    release: tuple[TrafficRouter, ModelRuntime], tmp_path: Path
) -> None:
    router, models = release
    assert router.current() is None
    for version in ("9", "10"):
        models.start(version, tmp_path / "bundle")
    plans = [
        TrafficPlan("a", {"9": 100}, "9"),
        TrafficPlan("b", {"9": 100, "10": 0}, "9", shadow="10"),
        TrafficPlan("c", {"9": 75, "10": 25}, "9"),
        TrafficPlan("d", {"10": 100}, "10"),
    ]
    for plan in plans:
        router.apply(plan, models.endpoints())
        current = router.current()
        assert current == plan
        assert current is not None and list(current.weights) == list(plan.weights)


def test_a_router_refuses_what_contradicts_itself_or_never_answers_and_keeps_the_old_plan(
    release: tuple[TrafficRouter, ModelRuntime], tmp_path: Path
) -> None:
    router, models = release
    models.start("1", tmp_path / "bundle")
    endpoints = {**models.endpoints(), "silent": NOBODY}
    before = TrafficPlan("a", {"1": 100}, "1")
    router.apply(before, endpoints)
    for bad in (
        TrafficPlan("b", {"1": 99}, "1"),
        TrafficPlan("b", {"1": 100}, "2"),
        TrafficPlan("b", {"1": 50, "2": 50}, "1"),
        TrafficPlan("b", {"1": 100}, "1", shadow="1"),
        TrafficPlan("b", {"1": 50, "silent": 50}, "1"),
        TrafficPlan("a", {"1": 100, "silent": 0}, "1"),
    ):
        with pytest.raises(ReleaseError) as refusal:
            router.apply(bad, endpoints)
        assert refusal.value.what and refusal.value.where and refusal.value.fix
        assert router.current() == before


def test_a_router_goes_back_to_a_plan_that_names_a_dead_version_no_more(
    release: tuple[TrafficRouter, ModelRuntime], tmp_path: Path
) -> None:
    router, models = release
    for version in ("1", "2"):
        models.start(version, tmp_path / "bundle")
    router.apply(TrafficPlan("a", {"1": 90, "2": 10}, "1"), models.endpoints())
    models.stop("2")
    router.apply(TrafficPlan("b", {"1": 100}, "1"), models.endpoints())
    current = router.current()
    assert current is not None and current.id == "b"


def test_a_runtime_finds_a_running_version_instead_of_starting_it_twice(
    runtime: ModelRuntime, tmp_path: Path
) -> None:
    first = runtime.start("1", tmp_path / "b1")
    assert runtime.start("1", tmp_path / "b1") == first
    assert runtime.endpoints() == {"1": first}


def test_a_runtime_does_not_change_the_bundle_under_a_running_version(
    runtime: ModelRuntime, tmp_path: Path
) -> None:
    first = runtime.start("1", tmp_path / "b1")
    with pytest.raises(PlatformError, match="runs already from"):
        runtime.start("1", tmp_path / "b2")
    assert runtime.endpoints() == {"1": first}


def test_a_runtime_stops_versions_and_does_not_mind_stopping_what_does_not_run(
    runtime: ModelRuntime, tmp_path: Path
) -> None:
    runtime.start("1", tmp_path / "b1")
    second = runtime.start("2", tmp_path / "b2")
    runtime.stop("1")
    runtime.stop("1")
    runtime.stop("never-seen")
    assert runtime.endpoints() == {"2": second}


def test_a_runtime_leaves_nothing_of_a_version_that_does_not_get_ready(
    runtime: ModelRuntime, tmp_path: Path
) -> None:
    with pytest.raises(PlatformError) as failure:
        runtime.start("1", tmp_path / "broken")
    assert failure.value.what and failure.value.where and failure.value.fix
    assert runtime.endpoints() == {}
