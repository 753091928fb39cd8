"""A tiny real bundle and the real service as a subprocess."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.tiny import Service, make_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle whose model was trained and exported just now."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services on one store; all of them are gone after the test."""
    services: list[Service] = []

    def begin(*options: str, version: str = "7") -> Service:
        service = Service(bundle, tmp_path / "store.db", version, options)
        services.append(service)
        return service.wait_ready()

    yield begin
    for service in services:
        service.kill()


@pytest.fixture(scope="module")
def shared(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the tests of a module that leave nothing behind that others see."""
    service = Service(bundle, tmp_path_factory.mktemp("shared") / "store.db", "7", ())
    try:
        yield service.wait_ready()
    finally:
        service.kill()
