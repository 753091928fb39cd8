"""What tests of several folders start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import docker_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """Address of a Docker engine of these tests' own; skipped with the reason without one."""
    reason = docker_engine.why_no_engine()
    if reason:
        pytest.skip(reason)
    with docker_engine.private_engine() as address:
        yield address
