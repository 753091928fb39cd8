from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from setpoint.adapters.gateway_client import Answer, Counts, GatewayClient, encode
from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.errors import PlatformError, RequestError
from tests.adapters.supervised import STUB, supervised


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state: Path = tmp_path_factory.mktemp("state")
    with supervised(state):
        endpoint = ProcessRuntime(state, state / "live.db", STUB).start("v1", state / "b")
        yield f"http://127.0.0.1:{endpoint.port}"


def test_answers_come_in_the_order_of_the_rows(url: str) -> None:
    async def go() -> list[Answer]:
        async with GatewayClient(url, concurrency=8, id_column="tx") as client:
            return await client.send([{"tx": i, "id": i} for i in range(60)], "customer")

    answers = asyncio.run(go())
    assert [answer.id for answer in answers] == [str(i) for i in range(60)]
    assert [answer.body and answer.body["id"] for answer in answers] == list(range(60))


def test_refused_and_lost_requests_are_told_apart(url: str) -> None:
    async def go() -> list[Answer]:
        async with GatewayClient(url) as client:
            found = await client.send([{"id": "a"}, {"id": "b", "bad": True}], "customer")
        async with GatewayClient("http://127.0.0.1:1") as client:
            return found + await client.send([{"id": "c"}], "customer")

    answers = asyncio.run(go())
    assert Counts.of(answers) == Counts(sent=3, answered=1, refused=1, lost=1)
    assert answers[2].status == 0 and "Connect" in answers[2].error
    assert Counts.of(answers[:1]) + Counts.of(answers[1:]) == Counts.of(answers)


def test_an_answer_of_the_5xx_kind_is_a_lost_request() -> None:
    assert Counts.of([Answer("a", 503, None, "", 0.1)]) == Counts(sent=1, lost=1)


def test_play_answers_every_row_once_at_any_rate(url: str) -> None:
    async def go() -> list[Answer]:
        async with GatewayClient(url, concurrency=4) as client:
            return await client.play([{"id": i} for i in range(40)], 1000.0, "customer")

    assert [answer.id for answer in asyncio.run(go())] == [str(i) for i in range(40)]


def test_labels_are_posted_and_a_rate_of_zero_is_refused(url: str) -> None:
    async def go() -> Answer:
        async with GatewayClient(url) as client:
            with pytest.raises(RequestError, match="rate_per_second is 0"):
                await client.play([{"id": 1}], 0, "customer")
            known = datetime(2026, 1, 2, tzinfo=UTC)
            return await client.labels([{"id": "a", "label": 1, "known_at": known}])

    assert asyncio.run(go()).status == 200


def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(PlatformError, match="not open"):
        asyncio.run(GatewayClient("http://127.0.0.1:1").send([{"id": 1}], "customer"))


def test_rows_are_written_as_plain_json_in_utc() -> None:
    row = {
        "time": datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
        "amount": np.float64(1.5),
        "count": np.int64(3),
        "missing": float("nan"),
        "none": None,
        "flag": np.True_,
        "text": "ä",
    }
    assert json.loads(encode(row)) == {
        "time": "2026-01-02T01:00:00+00:00",
        "amount": 1.5,
        "count": 3,
        "missing": None,
        "none": None,
        "flag": True,
        "text": "ä",
    }


@pytest.mark.parametrize("value", [datetime(2026, 1, 2), object(), {1, 2}])
def test_a_value_without_a_clear_json_form_is_refused(value: object) -> None:
    with pytest.raises(RequestError):
        encode({"x": value})
