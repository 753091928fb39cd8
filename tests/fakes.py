"""In-memory homes of ports, for tests of what uses them; they pass the ports' contract tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from setpoint.adapters.envoy import check_new, check_plan
from setpoint.errors import PlatformError, ReleaseError
from setpoint.ports import Endpoint, TrafficPlan


class FakeRouter:
    """Takes plans and remembers them.

    Args:
        refuse: Ids of versions that never answer: a plan that gives them traffic is refused.
    """

    def __init__(self, refuse: frozenset[str] = frozenset()) -> None:
        self.refuse = refuse
        self.plans: list[TrafficPlan] = []
        self.endpoints: dict[str, Endpoint] = {}

    def apply(self, plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
        """Make ``plan`` the one in force; see the port."""
        check_plan(plan, endpoints)
        check_new(plan, self.current())
        silent = sorted(v for v, weight in plan.weights.items() if weight and v in self.refuse)
        if silent:
            raise ReleaseError(
                f"version {silent[0]} does not answer", where=plan.id, fix="start it"
            )
        self.plans.append(plan)
        self.endpoints = dict(endpoints)

    def current(self) -> TrafficPlan | None:
        """The plan in force, ``None`` before the first."""
        return self.plans[-1] if self.plans else None


class FakeRuntime:
    """Runs nothing; says that it does.

    Args:
        broken: Versions that never get ready; so does any whose bundle's name has ``broken``.
    """

    kind: str = "process"

    def __init__(self, broken: frozenset[str] = frozenset()) -> None:
        self.broken = broken
        self.running: dict[str, tuple[Endpoint, Path]] = {}
        self._next_port = 20_001

    def start(self, version: str, bundle: Path, digest: str = "") -> Endpoint:
        """Start a version, or find it running; see the port."""
        if version in self.running:
            endpoint, known = self.running[version]
            if known != bundle:
                raise PlatformError(
                    f"it runs already from {known}, not from {bundle}", where=version, fix="stop it"
                )
            return endpoint
        if version in self.broken or "broken" in bundle.name:
            raise PlatformError("it does not get ready", where=version, fix="read its log")
        self.running[version] = (Endpoint("127.0.0.1", self._next_port), bundle)
        self._next_port += 1
        return self.running[version][0]

    def stop(self, version: str) -> None:
        """Stop a version; stopping what does not run is no error."""
        self.running.pop(version, None)

    def endpoints(self) -> dict[str, Endpoint]:
        """All versions that should be running."""
        return {version: endpoint for version, (endpoint, _) in self.running.items()}
