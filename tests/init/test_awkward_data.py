"""``setpoint init``: what it writes takes in the data it was written from, however awkward."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from setpoint.errors import DataError
from setpoint.init import write_project
from setpoint.init.quoting import quoted
from tests.init.frames import CODES, N, ingested, loans


def _text_rows(**more: Any) -> pd.DataFrame:
    return loans(timestamp=[f"2026-01-{1 + i // 5:02d}T00:00:00Z" for i in range(N)], **more)


BIG = 2**53 + 1
# the file, its frame, what is to hold of the project
AWKWARD: dict[str, tuple[str, pd.DataFrame, Any]] = {
    "naive times": (
        "d.parquet",
        loans(timestamp=pd.date_range("2026-01-01", periods=N, freq="6h")),
        lambda p: p.data.time_zone == "UTC",
    ),
    "naive times as text": (
        "d.csv",
        loans(timestamp=[f"2026-01-{1 + i // 5:02d} 00:00:00" for i in range(N)]),
        lambda p: p.data.time_zone == "UTC" and p.data.columns["timestamp"].type == "time",
    ),
    "times with a zone": ("d.parquet", loans(), lambda p: p.data.time_zone is None),
    "the index of pandas": (
        "d.parquet",
        loans().sample(frac=1.0, random_state=0),
        lambda p: p.data.ignore == ("__index_level_0__",),
    ),
    "a number that orders the rows of a CSV": (
        "d.csv",
        loans(id=range(N)).drop(columns="timestamp"),
        lambda p: p.sources() == {"event_order": "id"},
    ),
    "truths of a CSV": (
        "d.csv",
        _text_rows(flag=CODES == 1, label=np.arange(N) % 2 == 1),
        lambda p: p.data.columns["flag"].type == "boolean" and p.target.positive == "True",
    ),
    "truths of a CSV with gaps": (
        "d.csv",
        _text_rows(flag=["True", "NA", "False"] * 40, label=["True", "NA", "False"] * 40),
        lambda p: p.data.columns["flag"].nullable and p.target.positive == "true",
    ),
    "codes with leading zeros": (
        "d.csv",
        _text_rows(code=["01", "02", "10"] * 40),
        lambda p: p.data.columns["code"].values == ("01", "02", "10"),
    ),
    "categories called NA and None": (
        "d.csv",
        _text_rows(kind=["NA", "None", "a"] * 40),
        lambda p: set(p.data.columns["kind"].values) == {"NA", "None", "a"},
    ),
    "labels that are not known yet": (
        "d.parquet",
        loans(label=[0.0, 1.0, None] * 40),
        lambda p: p.data.columns["label"].nullable,
    ),
    "labels that are not known yet in a CSV": (
        "d.csv",
        _text_rows(label=["0", "1", "NA"] * 40),
        lambda p: p.data.columns["label"].nullable and p.target.positive == "1",
    ),
    "decimals": (
        "d.parquet",
        loans(price=[Decimal(i) / 7 for i in range(N)]),
        lambda p: "price" in p.features.columns,
    ),
    "dates": (
        "d.parquet",
        loans(born=[date(1990, 1, 1) + timedelta(days=i) for i in range(N)]),
        lambda p: p.data.columns["born"].type == "time" and "born" not in p.features.columns,
    ),
    "lengths of time": (
        "d.parquet",
        loans(took=pd.to_timedelta(np.arange(N), unit="s")),
        lambda p: p.data.ignore == ("took",),
    ),
    "lists": ("d.parquet", loans(tags=[["a"]] * N), lambda p: p.data.ignore == ("tags",)),
    "columns without a value": (
        "d.parquet",
        loans(nothing=[None] * N, never=pd.Series([pd.NaT] * N, dtype="datetime64[us, UTC]")),
        lambda p: p.data.columns["nothing"].nullable and p.data.ignore == ("never",),
    ),
    "columns without a value in a CSV": (
        "d.csv", _text_rows(nothing=[None] * N), lambda p: p.data.columns["nothing"].nullable
    ),
    "a truth that is sometimes missing": (
        "d.parquet",
        loans(flag=[True, None, False] * 40),
        lambda p: p.data.columns["flag"].type == "boolean" and "flag" in p.features.columns,
    ),
    "a protected number": (
        "d.csv", _text_rows(SEX=["1", "2", "1"] * 40), lambda p: p.data.protected == ("SEX",)
    ),
    "a protected number that names no group": (
        "d.parquet",
        loans(race=np.linspace(0, 1, N)),
        lambda p: p.data.protected == () and "race" not in p.features.columns,
    ),
    "a measured number that never repeats in a CSV": (
        "d.csv",
        loans(nr=range(N)).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_id == "nr" and p.data.event_time == "event_order",
    ),
    "an id that is the time as well": (
        "d.parquet",
        loans(nr=range(N)).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_id == "nr" and p.data.event_time == "event_order",
    ),
    "a name taken by the order": (
        "d.parquet",
        loans(nr=range(N), event_order=CODES).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_time == "event_order_",
    ),
    "whole numbers above 2^53": (
        "d.parquet",
        loans(account=[BIG + i // 2 for i in range(N)]),
        lambda p: p.data.columns["account"].type == "id" and p.features.columns == ("x",),
    ),
    "far values close together": (
        "d.parquet",
        loans(far=1e9 + np.linspace(0, 1, N)),
        lambda p: p.data.columns["far"].max >= 1e9 + 1,
    ),
    "very large values": (
        "d.parquet",
        loans(huge=np.linspace(-1, 1, N) * 1e308),
        lambda p: p.data.columns["huge"].max is None,
    ),
    "awkward names": (
        "d.parquet",
        loans(**{'a "b"': CODES, "c\\d": CODES, "e: {f}#": CODES, "line\nend": CODES, " ": CODES}),
        lambda p: {'a "b"', "c\\d", "e: {f}#", "line\nend", " "} <= set(p.features.columns),
    ),
    "awkward values": (
        "d.parquet",
        loans(kind=["\u2028\x85", "\U0001f600", "\x00\ufeff"] * 40),
        lambda p: len(p.data.columns["kind"].values) == 3,
    ),
    "an awkward target": (
        "d.parquet",
        loans(**{'is "bad\\"?': ['"no"', '"yes"'] * 60}).drop(columns="label"),
        lambda p: p.target.column == 'is "bad\\"?' and p.target.positive == '"yes"',
    ),
    "the reserved name of the label": (
        "d.parquet",
        loans(label=np.linspace(0, 1, N), y=[0, 1] * 60),
        lambda p: p.target.column == "y" and p.data.ignore == ("label",),
    ),
    "pandas categories": (
        "d.parquet",
        loans(kind=pd.Categorical(["a", "b", "c"] * 40)),
        lambda p: p.data.columns["kind"].values == ("a", "b", "c"),
    ),
    "years": (
        "d.csv",
        loans(year=2018 + CODES).drop(columns="timestamp"),
        lambda p: p.data.event_time == "year" and p.watch.window.days == 366,
    ),
    "epoch seconds": (
        "d.csv",
        loans(timestamp=1_700_000_000 + 86_400 * np.arange(N)),
        lambda p: p.data.event_time == "timestamp",
    ),
    "a column without a name": (
        "d.csv", _text_rows().assign(**{"": range(N)}), lambda p: p.data.ignore == ("",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_data_are_taken_in_with_the_project_file_they_gave(
    case: str, tmp_path: Path
) -> None:
    name, frame, holds = AWKWARD[case]
    assert holds(ingested(tmp_path, frame, name))


@pytest.mark.parametrize("name", ["null.parquet", "true.parquet", 'a "b" c.parquet', "1e5.parquet"])
def test_a_file_name_that_yaml_reads_otherwise_is_quoted(name: str, tmp_path: Path) -> None:
    project = ingested(tmp_path, loans(), name)
    assert project.data.events == (name,) and isinstance(project.name, str)


@pytest.mark.parametrize(
    "text", ["", " ", "null", "a: b", '"', "\\", "\n", "\x7f\x85\u2028", "ü€", "\U0001f600", "\t#"]
)
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    assert yaml.safe_load(f"a: {quoted(text)}\n{quoted(text)}: 1") == {"a": text, text: 1}


# the frame, what is said, all of it naming the column
UNFIT: dict[str, tuple[pd.DataFrame, str]] = {
    "infinite values": (
        loans(x=np.where(CODES == 0, math.inf, 1.5)), "column x: 40 of 120 values are infinite"
    ),
    "names that differ in case": (
        loans(Amount=CODES, amount=CODES), "columns Amount and amount: their names differ only"
    ),
    "an event without a time": (
        loans(timestamp=[None, *pd.date_range("2026-01-01", periods=N - 1, tz="UTC")]),
        "column timestamp: not null",
    ),
    "an order beyond all times": (
        loans(id=np.arange(N) * 10_000_000).drop(columns="timestamp"), "column event_order: "
    ),
    "events in the future": (
        loans(timestamp=pd.date_range("2226-01-01", periods=N, tz="UTC")),
        "column timestamp: not in the future",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_data_that_cannot_be_taken_in_name_the_column_and_nothing_is_written(
    case: str, tmp_path: Path
) -> None:
    frame, said = UNFIT[case]
    frame.to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError) as caught:
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml")
    assert said in caught.value.what and caught.value.fix
    assert not (tmp_path / "setpoint.yaml").exists()


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1, 2]), pa.array([1, 2])], names=["x", "x"])
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"cannot be read: .*\(x\)"):
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml")


@pytest.mark.parametrize("name", ["_d.parquet", ".d.parquet"])
def test_a_file_that_ingesting_would_pass_over_is_refused(name: str, tmp_path: Path) -> None:
    loans().to_parquet(tmp_path / name)
    with pytest.raises(DataError, match=r"names that start with \. or _ are not read"):
        write_project(tmp_path / name, tmp_path / "setpoint.yaml")
