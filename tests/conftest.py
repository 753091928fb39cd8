"""What tests of several folders start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import docker_engine

# The same examples in every run, however busy the machine is.
settings.register_profile(
    "seeded", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("seeded")


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """Address of a Docker engine of these tests' own; skipped with the reason without one."""
    reason = docker_engine.why_no_engine()
    if reason:
        pytest.skip(reason)
    with docker_engine.private_engine() as address:
        yield address
