"""Versions started as the platform does: with keys, and with a decision log in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from setpoint.adapters.gateway_client import GatewayClient
from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.adapters.scoring_metrics import read_counts
from setpoint.adapters.services import declared, service_status, spec_file
from setpoint.adapters.signing import Keys
from setpoint.config import Project, read_environment
from setpoint.errors import PlatformError
from setpoint.ports import DecisionQuery, Endpoint
from setpoint.serving.keys import ROLES, new_key
from setpoint.workspace import Workspace
from tests.adapters.postgres import IN_URL, PostgresServer
from tests.adapters.supervised import STUB, supervised
from tests.serving.tiny import make_bundle, row


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a real bundle, beside the keys that signed it."""
    folder = tmp_path_factory.mktemp("bundle")
    keys = Keys(folder / "keys")
    return make_bundle(folder / "tiny", sign=lambda said: keys.sign(keys.first(), said))


@contextmanager
def platform(root: Path) -> Iterator[Workspace]:
    """A workspace of the environment as it is, and a supervisor that was started in it."""
    with supervised(root):
        yield Workspace(cast(Project, None), root / "setpoint.yaml", root, read_environment())


def statuses(endpoint: Endpoint, numbers: list[int], **options: Any) -> list[int]:
    """How a version answers rows."""

    async def ask() -> list[int]:
        url = f"http://{endpoint.host}:{endpoint.port}"
        async with GatewayClient(url, id_column="payment_id", **options) as client:
            answers = await client.send([row(number) for number in numbers], "customer_id")
            return [answer.status for answer in answers]

    return asyncio.run(ask())


def test_with_keys_the_platform_reads_counts_and_who_has_none_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, entry = new_key("platform", ROLES, 100_000)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode([entry]))
    monkeypatch.setenv("SETPOINT_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setenv("SETPOINT_API_KEY", token)
    monkeypatch.setenv("SETPOINT_SIGNING_KEYS", str(bundle.parent / "keys"))
    with platform(tmp_path) as workspace:
        endpoint = workspace.runtime.start("7", bundle)
        assert statuses(endpoint, [1, 2]) == [200, 200]
        assert statuses(endpoint, [3], api_key="") == [401]
        counts = read_counts(endpoint)
        assert (counts.requests, counts.refused) == (2, 1)
        with pytest.raises(PlatformError, match=r"401[^$]*SETPOINT_API_KEY"):
            read_counts(endpoint, api_key="")
        told = spec_file(tmp_path, "model-7").read_text() + _log(tmp_path)
        assert token not in told + repr(read_environment())


def test_with_postgresql_decisions_are_logged_there_and_read_from_there(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    monkeypatch.setenv("SETPOINT_DECISIONS", postgres.new_place())
    monkeypatch.setenv("SETPOINT_SIGNING_KEYS", str(bundle.parent / "keys"))
    with platform(tmp_path) as workspace:
        endpoint = workspace.runtime.start("7", bundle)
        assert statuses(endpoint, [1, 2]) == [200, 200]
        found = workspace.decisions.read(DecisionQuery(request=("country",)))
        assert found["id"].to_pylist() == ["p1", "p2"]
        told = spec_file(tmp_path, "model-7").read_text() + _log(tmp_path)
        assert "postgresql://setpoint@127.0.0.1" in told
        assert IN_URL not in told + repr(read_environment())
        cast(Any, workspace.decisions).close()


def test_a_version_that_was_started_with_other_settings_is_restarted_with_these(
    tmp_path: Path,
) -> None:
    with supervised(tmp_path):
        start: Callable[..., Endpoint] = ProcessRuntime(tmp_path, tmp_path / "live.db", STUB).start
        endpoint = start("3", tmp_path / "b3")
        first = service_status(tmp_path, "model-3").pid
        assert start("3", tmp_path / "b3") == endpoint
        assert service_status(tmp_path, "model-3").pid == first
        keys = ProcessRuntime(tmp_path, tmp_path / "live.db", STUB, keys=tmp_path / "keys.json")
        assert keys.start("3", tmp_path / "b3") == endpoint
        assert service_status(tmp_path, "model-3").pid != first
        assert declared(tmp_path)["model-3"].argv[-2:] == ("--keys", str(tmp_path / "keys.json"))


def _log(root: Path) -> str:
    return (root / "logs" / "model-7.log").read_text()
