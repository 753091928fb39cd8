"""Many rows in one request: each as if it had come alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.ports import DecisionQuery
from setpoint.serving import arrow
from setpoint.serving.batch import LARGEST_BATCH, MOST_ROWS, media_types
from setpoint.serving.problems import Refusal
from tests.serving.tiny import Service, row

Start = Callable[..., Service]
JSON = {"content-type": "application/json"}
ARROW = {"content-type": arrow.MEDIA_TYPE}


def stream(table: pa.Table, **options: Any) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = io.BytesIO()
    written = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(sink, table.schema, options=written) as writer:
        writer.write_table(table)
    return sink.getvalue()


def as_arrow(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with times as timestamps, as a client with Arrow has them."""
    typed = [{**one, "at": datetime.fromisoformat(one["at"])} for one in rows]
    table = pa.Table.from_pylist(typed)
    return table.set_column(1, "at", table["at"].cast(pa.timestamp("ns", "UTC")))


def logged(service: Service, shadow: bool = False) -> list[Any]:
    """Whole records, by id."""
    query = DecisionQuery(shadow=shadow, columns=("id", "score", "trace_id", "propensity"))
    return SqliteDecisionLog(service.store).read(query).to_pylist()


def test_each_row_is_decided_as_if_it_had_come_alone(start: Start) -> None:
    service = start()
    rows = [row(i, amount=12.0 * i, payment_id=f"b{i}") for i in range(1, 80)]
    status, answers = service.call("POST", "/v1/batch", rows, JSON)
    assert status == 200 and len(answers) == 79
    assert [one["decision_id"] for one in answers] == [one["payment_id"] for one in rows]
    alone = [service.decide(one)[1] for one in rows]
    assert answers == alone  # the id's first answer, once in the log
    assert len(logged(service)) == 79
    assert {one["action"] for one in answers} == {"approve", "review"}


def test_a_bad_row_is_a_problem_in_its_place(start: Start) -> None:
    service = start()
    long = "x" * 5000
    rows = [row(1), row(2, amount=-1), 5, row(3, country=long), row(4), row(1, amount=3)]
    status, answers = service.call("POST", "/v1/batch", rows, JSON)
    assert status == 200
    kinds = [one.get("decision_id") or one["type"].rpartition(":")[2] for one in answers]
    assert kinds == ["p1", "range", "not_object", "type", "p4", "conflict"]
    assert answers[1]["field"] == "amount" and answers[1]["fix"] and "-1" in answers[1]["detail"]
    assert len(answers[3]["detail"]) < 200
    assert [one["id"] for one in logged(service)] == ["p1", "p4"]
    assert service.metric("setpoint_refused_total", rule="range") == 1
    assert service.metric("setpoint_decisions_total", action="approve") == 2


def test_arrow_in_and_out_is_the_same_as_json(start: Start) -> None:
    service = start()
    rows = [row(i, amount=30.0 * i, age=None if i % 3 else 30) for i in range(1, 40)]
    rows[7] = {**rows[7], "amount": -5.0}
    status, headers, data = service.exchange("POST", "/v1/batch", stream(as_arrow(rows)), ARROW)
    assert (status, headers["content-type"]) == (200, arrow.MEDIA_TYPE)
    found = pa.ipc.open_stream(data).read_all().to_pylist()
    asked = {**ARROW, "accept": "application/json"}
    again = service.call("POST", "/v1/batch", stream(as_arrow(rows)), asked)[1]
    assert len(found) == len(again) == 39
    for one, other in zip(found, again, strict=True):
        if "status" in other:
            assert {n: one[n] for n in other} == other
        else:
            assert {n: one[n] for n in other if n != "reason_codes"} == {
                n: v for n, v in other.items() if n != "reason_codes"
            }
            assert one["reason_codes"] == other["reason_codes"] and one["status"] is None
    assert found[7]["decision_id"] is None and found[7]["field"] == "amount"


def test_json_in_can_be_arrow_out(start: Start) -> None:
    sent = {**JSON, "accept": arrow.MEDIA_TYPE}
    status, headers, data = start().exchange("POST", "/v1/batch", [row(1)], sent)
    assert (status, headers["content-type"]) == (200, arrow.MEDIA_TYPE)
    assert pa.ipc.open_stream(data).read_all()["decision_id"].to_pylist() == ["p1"]


def test_a_batch_is_logged_with_its_trace_and_its_share_and_mirrored_apart(start: Start) -> None:
    service = start()
    sent = {**JSON, "x-request-id": "all-of-it", "x-propensity": "0.25"}
    service.call("POST", "/v1/batch", [row(1), row(2)], sent)
    service.call("POST", "/v1/batch", [row(3)], {**sent, "host": "cards-shadow:80"})
    assert [(r["id"], r["trace_id"], r["propensity"]) for r in logged(service)] == [
        ("p1", "all-of-it", 0.25),
        ("p2", "all-of-it", 0.25),
    ]
    assert [(r["id"], r["propensity"]) for r in logged(service, shadow=True)] == [("p3", None)]


@pytest.mark.parametrize(
    ("sent", "share"),
    [
        ("0.25", 0.25), ("1", 1.0), (".5", 0.5), ("1e-3", 1e-3), ("0", None), ("1.01", None),
        ("-0.5", None), ("nan", None), ("inf", None), ("0.5 ", 0.5), ("half", None), ("", None),
        ("0_1", None), ("0,5", None), ("9" * 400, None), (None, None),
    ],
)  # fmt: skip
def test_the_share_of_traffic_is_logged_where_it_is_one(
    shared: Service, sent: str | None, share: float | None
) -> None:
    identity = f"share {sent}"[:30]
    headers = {} if sent is None else {"x-propensity": sent}
    assert shared.call("POST", "/v1/decisions", row(1, payment_id=identity), headers)[0] == 200
    found = SqliteDecisionLog(shared.store).find([identity])[identity]
    assert found.propensity == share


REFUSED: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "no list": ({"rows": []}, JSON, 422, "batch"),
    "no JSON": (b"[1, 2", JSON, 400, "bad_json"),
    "another type": (b"a,b", {"content-type": "text/csv"}, 415, "media_type"),
    "no Arrow": (b"[]", ARROW, 400, "bad_arrow"),
    "nothing as Arrow": (b"", ARROW, 400, "bad_arrow"),
    "half an Arrow stream": (stream(as_arrow([row(1)]))[:700], ARROW, 400, "bad_arrow"),
    "compressed": (stream(as_arrow([row(1)]), compression="zstd"), ARROW, 422, "arrow"),
    "nested": (stream(pa.table({"a": [[1]]})), ARROW, 422, "arrow"),
    "too many rows": ([1] * (MOST_ROWS + 1), JSON, 413, "too_large"),
    "too many Arrow rows": (
        stream(pa.table({"a": pa.nulls(MOST_ROWS + 1)})), ARROW, 413, "too_large",
    ),
    "too large": (b" " * (LARGEST_BATCH + 1), JSON, 413, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_batch_is_one_problem(shared: Service, case: str) -> None:
    body, sent, status, rule = REFUSED[case]
    found = shared.call("POST", "/v1/batch", body, sent)
    assert (found[0], found[1]["type"]) == (status, f"urn:setpoint:problem:{rule}")
    assert found[1]["fix"]
    assert shared.call("GET", "/health/ready")[0] == 200


def test_an_empty_batch_has_an_empty_answer(shared: Service) -> None:
    assert shared.call("POST", "/v1/batch", [], JSON) == (200, [])
    empty = stream(as_arrow([row(1)]).slice(0, 0))
    data = shared.raw("POST", "/v1/batch", empty, ARROW)[1]
    assert pa.ipc.open_stream(data).read_all().num_rows == 0


def test_altered_streams_are_refused_or_read_and_never_a_fault(shared: Service) -> None:
    import random

    sent = stream(as_arrow([row(i, payment_id=f"f{i}") for i in range(20)]))
    random.seed(5)
    for _ in range(150):
        data = bytearray(sent)
        for _ in range(random.randint(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        status = shared.raw("POST", "/v1/batch", bytes(data), ARROW)[0]
        assert status in (200, 400, 413, 422), status
    assert shared.call("GET", "/health/ready")[0] == 200


def test_without_pyarrow_arrow_is_answered_415(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow, "installed", lambda: False)
    assert media_types("application/json; charset=utf-8", "*/*") == ("application/json",) * 2
    for sent in ((arrow.MEDIA_TYPE, None), (None, arrow.MEDIA_TYPE)):
        with pytest.raises(Refusal, match="pyarrow is not installed") as caught:
            media_types(*sent)
        assert caught.value.status == 415 and "application/json" in caught.value.fix


def test_reading_and_writing_arrow_imports_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(stream(as_arrow([row(1)])))
    code = (
        "import sys; from setpoint.serving import arrow, app; assert 'pyarrow' not in sys.modules;"
        f"rows = list(arrow.read_rows(open({str(tmp_path / 'in')!r}, 'rb').read(), 9)[1]);"
        'arrow.write_rows([b\'{"decision_id": "a", "reason_codes": ["x"]}\']);'
        "assert rows[0]['payment_id'] == 'p1'; assert 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_store_that_is_away_refuses_the_batch_and_the_same_again_completes_it(
    start: Start,
) -> None:
    import sqlite3

    service = start("--busy-milliseconds", "100")
    rows = [row(i) for i in range(1, 100)]
    with sqlite3.connect(service.store, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        status, problem = service.call("POST", "/v1/batch", rows, JSON)
        assert (status, problem["type"]) == (503, "urn:setpoint:problem:unavailable")
        other.execute("ROLLBACK")
    status, answers = service.call("POST", "/v1/batch", rows, JSON)
    assert status == 200 and len(answers) == len(logged(service)) == 99


def test_single_requests_are_answered_while_a_batch_is_decided(start: Start) -> None:
    service = start("--durability", "normal")
    rows = [row(i, payment_id=f"b{i}") for i in range(5000)]
    ended: list[float] = []

    def send() -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.request("POST", "/v1/batch", json.dumps(rows).encode(), JSON)
        assert connection.getresponse().status == 200
        ended.append(time.monotonic())

    thread = threading.Thread(target=send)
    thread.start()
    answered: list[float] = []
    while thread.is_alive():
        assert service.decide(row(len(answered), payment_id=f"s{len(answered)}"))[0] == 200
        answered.append(time.monotonic())
    thread.join()
    assert sum(moment < ended[0] for moment in answered) > 20


def test_a_batch_needs_the_role_score(start: Start, tmp_path: Path) -> None:
    from tests.serving.test_access import Keys

    keys = Keys(tmp_path)
    service = start("--keys", str(keys.path))
    for name, status in (("score", 200), ("label", 403), ("admin", 403)):
        assert service.raw("POST", "/v1/batch", [row(1)], {**JSON, **keys.of(name)})[0] == status
    assert service.raw("POST", "/v1/batch", [row(1)], JSON)[0] == 401


def test_a_time_without_a_zone_is_refused_in_arrow_too(shared: Service) -> None:
    table = as_arrow([row(1, payment_id="naive")])
    naive = table.set_column(1, "at", table["at"].cast(pa.timestamp("us")))
    sent = {**ARROW, "accept": "application/json"}
    answers = shared.call("POST", "/v1/batch", stream(naive), sent)[1]
    assert answers[0]["field"] == "at" and "offset" in answers[0]["detail"]
