"""The record of a training tells what makes a second one another model."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from setpoint.domain.plain import from_plain
from setpoint.domain.record import (
    Conditions,
    TrainingRecord,
    conditions_differ,
    project_differs,
    project_digest,
    rows_differ,
    rows_digest,
)
from tests.domain.test_training import make_rows

CONDITIONS = Conditions("c" * 40, "e" * 64, "3.11.9", "x86_64 Linux", 1)
ROWS = make_rows(60)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_a_record_is_read_back_as_it_was_written() -> None:
    whole = TrainingRecord(
        events=4,
        labels=2,
        data_until=MOMENT,
        judged_since=MOMENT,
        broken=((MOMENT, datetime.max.replace(tzinfo=UTC)),),
        exploration="none",
        rows={"fit": rows_digest(ROWS)},
        conditions=CONDITIONS,
        project=project_digest(b"name: small"),
    )
    for record in (whole, replace(whole, judged_since=None, broken=())):
        again = from_plain(TrainingRecord, json.loads(record.to_json()))
        assert again == record and again.digest == record.digest
    assert whole.digest != replace(whole, judged_since=None).digest
    assert whole.digest != replace(whole, project="").digest


def test_a_project_file_of_another_byte_differs_from_the_recorded_one() -> None:
    text = b"name: small\n"
    record = TrainingRecord(1, 1, MOMENT, None, (), "none", {}, CONDITIONS, project_digest(text))
    assert project_differs(record, text) == ""
    told = project_differs(record, text + b"#")
    assert told.startswith("project file: digest ") and record.project[:16] in told


def test_a_record_of_before_the_digest_is_read_and_shows_no_difference() -> None:
    record = TrainingRecord(1, 1, MOMENT, None, (), "none", {}, CONDITIONS)
    old = json.loads(record.to_json())
    del old["project"]
    assert from_plain(TrainingRecord, old) == record
    assert project_differs(record, b"anything") == ""


def test_the_same_rows_do_not_differ() -> None:
    assert rows_differ({"fit": rows_digest(ROWS)}, {"fit": rows_digest(ROWS)}) == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (ROWS.take(np.arange(60) < 59), "others, 59 against 60"),
        (replace(ROWS, numbers=np.nextafter(ROWS.numbers, np.float32(9))), "other inputs"),
        (replace(ROWS, label=(1 - ROWS.label).astype(np.int8)), "labels"),
        (replace(ROWS, categories=np.full_like(ROWS.categories, "z")), "other inputs"),
        (replace(ROWS, weight=np.full(60, 2.0)), "weights"),
    ],
    ids=["members", "last bit of a number", "label", "category", "weight"],
)
def test_how_rows_differ_is_told(changed: object, word: str) -> None:
    [told] = rows_differ({"fit": rows_digest(ROWS)}, {"fit": rows_digest(changed)})  # type: ignore[arg-type]
    assert told.startswith("rows that fit: ") and word in told


def test_rows_in_another_order_are_told_from_other_rows() -> None:
    turned = ROWS.take(np.arange(60)[::-1])
    [told] = rows_differ({"tune": rows_digest(ROWS)}, {"tune": rows_digest(turned)})
    assert told == "rows that tune: the same 60 in another order"


def test_a_part_that_is_not_there_is_told() -> None:
    assert rows_differ({"fit": rows_digest(ROWS)}, {}) == ["rows that fit: others, none against 60"]


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("commit", "d" * 40, "code commit: dddddddddddddddd, recorded cccccccccccccccc"),
        ("commit", "c" * 40 + "-dirty", "-dirty, recorded c"),
        ("environment", "f" * 64, "versions of packages"),
        ("python", "3.12.0", "Python: 3.12.0, recorded 3.11.9"),
        ("machine", "aarch64 Linux", "machine: aarch64"),
        ("threads", 8, "threads: 8, recorded 1"),
    ],
)
def test_what_a_training_ran_on_is_named_where_it_differs(
    name: str, value: object, word: str
) -> None:
    [told] = conditions_differ(CONDITIONS, replace(CONDITIONS, **{name: value}))  # type: ignore[arg-type]
    assert word in told
    assert conditions_differ(CONDITIONS, CONDITIONS) == []
