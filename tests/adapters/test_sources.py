"""Reading batches, and bringing them to the declared columns."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setpoint.adapters.s3 import S3Options
from setpoint.adapters.sources import (
    BatchRef,
    Source,
    batch_key,
    conform,
    list_batches,
    read_batch,
    read_bytes,
    write_bytes,
)
from setpoint.domain.schema import ColumnKind, ColumnSpec, TableSpec
from setpoint.errors import DataError
from tests.adapters.s3 import BUCKET
from tests.adapters.shared_data import shared_data

SPEC = TableSpec(
    columns=(
        ColumnSpec("id", "id"),
        ColumnSpec("at", "time"),
        ColumnSpec("amount", "number", min=0, nullable=True),
        ColumnSpec("kind", "category", values=("1", "2"), nullable=True),
        ColumnSpec("count", "integer"),
        ColumnSpec("flag", "boolean"),
    ),
    event_id="id",
    event_time="at",
)
CSV = """id,at,amount,kind,count,flag
007,2024-01-01T10:00:00Z,1.5,1.0,3,true
008,2024-01-01T12:00:00+01:00,,2,4.0,0
"""
ROWS = [
    {"id": "007", "at": datetime(2024, 1, 1, 10, tzinfo=UTC), "amount": 1.5, "kind": "1",
     "count": 3, "flag": True},
    {"id": "008", "at": datetime(2024, 1, 1, 11, tzinfo=UTC), "amount": None, "kind": "2",
     "count": 4, "flag": False},
]  # fmt: skip


def _one(kind: ColumnKind, **more: Any) -> TableSpec:
    return TableSpec((ColumnSpec("c", kind, **more),), event_id="c", event_time="c")


def _conformed(found: Any, kind: ColumnKind, **more: Any) -> list[Any]:
    options = {k: more.pop(k) for k in ("time_zone", "integer_time") if k in more}
    return conform(pa.table({"c": found}), _one(kind, **more), "here", **options)["c"].to_pylist()  # type: ignore[no-any-return]


def _read(folder: Path, name: str, data: bytes) -> pa.Table:
    (folder / name).write_bytes(data)
    return read_batch(list_batches(str(folder / name))[0], SPEC)


@pytest.mark.parametrize("name", ["b.csv", "b.csv.gz"])
def test_csv_text_becomes_the_declared_kinds(tmp_path: Path, name: str) -> None:
    data = CSV.encode() if name.endswith("v") else gzip.compress(CSV.encode())
    assert conform(_read(tmp_path, name, data), SPEC, name).to_pylist() == ROWS


def test_parquet_and_csv_of_equal_rows_conform_to_equal_tables(tmp_path: Path) -> None:
    table = conform(_read(tmp_path, "b.csv", CSV.encode()), SPEC, "b.csv")
    pq.write_table(table, tmp_path / "b.parquet")
    again = read_batch(list_batches(str(tmp_path / "b.parquet"))[0], SPEC)
    assert conform(again, SPEC, "b.parquet").equals(table)


def test_batches_are_listed_by_name_without_unfinished_files(tmp_path: Path) -> None:
    for name in ("2024-02.csv", "2024-01.csv", ".half.csv", "_SUCCESS"):
        (tmp_path / name).write_text(CSV)
    (tmp_path / "folder").mkdir()
    refs = Source(tmp_path.as_uri()).list_batches()
    assert [ref.name for ref in refs] == ["2024-01.csv", "2024-02.csv"]
    assert [ref.size for ref in refs] == [len(CSV)] * 2


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("b.parquet", b"", "0 bytes"),
        ("b.csv", b"", "0 bytes"),
        ("b.csv", CSV.splitlines()[0].encode() + b"\n", "0 rows"),
        ("b.parquet", b"PAR1 this is not parquet", "cannot be read as .parquet"),
        ("b.csv.gz", b"not gzip", "cannot be read as .csv.gz"),
        ("b.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-12], "cannot be read as .csv.gz"),
        ("b.csv", b"id,at\n1,2,3\n", "cannot be read as .csv"),
        ("b.csv", b"id,\xff\xfe\n1,\xff\n", "cannot be read as .csv"),
        ("b.csv", b"id,id\n1,2\n", "more than once"),
        ("b.csv", b"\n\n", "cannot be read as .csv"),
        ("b.xlsx", b"123", "'.xlsx'"),
        ("b", b"123", "'none'"),
    ],
)
def test_a_file_that_cannot_be_read_names_file_reason_and_remedy(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, name, data)
    assert reason in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert caught.value.fix


def test_a_csv_value_of_the_wrong_kind_names_column_and_value(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column amount[^$]*much") as caught:
        _read(tmp_path, "b.csv", CSV.replace("1.5", "much").encode())
    assert "number" in str(caught.value)


def test_a_missing_folder_and_a_vanished_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        list_batches(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"gone\.csv"):
        read_batch(BatchRef(str(tmp_path / "gone.csv"), "gone.csv", 1, ""), SPEC)


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match="0 rows"):
        read_batch(list_batches(str(tmp_path))[0], SPEC)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1, 2]), "number", [1.0, 2.0]),
        (pa.array([1.5, float("nan")], pa.float32()), "number", [1.5, None]),
        (pa.array([Decimal("1.25")]), "number", [1.25]),
        (pa.array([1.0, float("nan")]), "integer", [1, None]),
        (pa.array([True, False]), "integer", [1, 0]),
        (pa.array(["a"]).dictionary_encode(), "category", ["a"]),
        (pa.array([1.0, float("nan")]), "category", ["1", None]),
        (pa.array([1, -2]), "category", ["1", "-2"]),
        (pa.array([1, 2]).dictionary_encode(), "category", ["1", "2"]),
        (pa.array(["1.0", "-3.00", "1.5", "v1.0"]), "category", ["1", "-3", "1.5", "v1.0"]),
        (pa.array(["a"], pa.large_string()), "id", ["a"]),
        (pa.array([12345678901.0]), "id", ["12345678901"]),
        (pa.array(["1.0"]), "id", ["1.0"]),
        (pa.array([0.0, 1.0]), "boolean", [False, True]),
        (pa.nulls(2), "number", [None, None]),
        (pa.array([date(2024, 1, 2)]), "time", [datetime(2024, 1, 2, tzinfo=UTC)]),
        (pa.array([2015, 2016]), "time", [datetime(y, 1, 1, tzinfo=UTC) for y in (2015, 2016)]),
        (pa.array([0, 90]), "time", [datetime(2000, 1, 1, h, m, tzinfo=UTC)
                                     for h, m in ((0, 0), (1, 30))]),
        (pa.array([10**18 + 1999], pa.timestamp("ns", tz="Europe/Paris")), "time",
         [datetime(2001, 9, 9, 1, 46, 40, 1, tzinfo=UTC)]),
    ],
)  # fmt: skip
def test_safe_casts(values: pa.Array, kind: ColumnKind, expected: list[Any]) -> None:
    assert _conformed(values, kind) == expected


def test_a_declared_value_keeps_its_zeros() -> None:
    assert _conformed(pa.array(["1.0", "2.0"]), "category", values=("1.0", "2")) == ["1.0", "2"]


def test_integers_are_years_or_an_order_as_the_caller_says() -> None:
    assert _conformed(pa.array([2000]), "time", integer_time="order")[0].year == 2000
    assert _conformed(pa.array([2001]), "time", integer_time="order")[0].day == 2
    with pytest.raises(DataError, match="not years"):
        _conformed(pa.array([1, 2000]), "time", integer_time="year")


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (pa.array(["a"]), "number", "found string, expected number"),
        (pa.array([2**53 + 1]), "number", "found int64, expected number"),
        (pa.array([1.5]), "integer", "found double, expected integer"),
        (pa.array([1.5]), "category", "found double, expected category"),
        (pa.array([2]), "boolean", "not 0 or 1"),
        (pa.array([[1]]), "id", "found list<"),
        (pa.array(["yesterday"]), "time", "ISO 8601"),
        (pa.array(["2024-01-01 00:00:00"]), "time", "carry no zone"),
        (pa.array([0], pa.timestamp("us")), "time", "carry no zone"),
        (pa.array([2**60]), "time", "too large"),
    ],
)
def test_unsafe_casts_are_refused_with_found_and_expected_type(
    values: pa.Array, kind: ColumnKind, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        _conformed(values, kind)
    assert reason in str(caught.value)
    assert "column c" in str(caught.value)
    assert str(caught.value).startswith("here")


@pytest.mark.parametrize("values", [pa.array([0], pa.timestamp("s")), pa.array(["1970-01-01"])])
def test_naive_times_are_of_the_zone_that_the_caller_names(values: pa.Array) -> None:
    assert _conformed(values, "time", time_zone="UTC") == [datetime(1970, 1, 1, tzinfo=UTC)]
    [berlin] = _conformed(values, "time", time_zone="Europe/Berlin")
    assert berlin == datetime(1969, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(DataError, match=r"data\.time_zone"):
        _conformed(values, "time")


def test_dates_are_midnights_of_the_zone_that_is_named() -> None:
    found = _conformed(pa.array([date(2024, 7, 2)]), "time", time_zone="Europe/Berlin")
    assert found == [datetime(2024, 7, 1, 22, tzinfo=UTC)]


def test_times_with_a_zone_keep_it_whatever_zone_is_named() -> None:
    found = _conformed(pa.array(["2024-01-01T10:00:00+01:00"]), "time", time_zone="Asia/Tokyo")
    assert found == [datetime(2024, 1, 1, 9, tzinfo=UTC)]


def test_a_naive_time_that_comes_twice_in_its_zone_is_refused() -> None:
    with pytest.raises(DataError, match="ambiguous"):
        _conformed(pa.array(["2024-10-27 02:30:00"]), "time", time_zone="Europe/Berlin")


@pytest.mark.parametrize("each", [1, 1000])
def test_integers_that_are_all_epoch_seconds_or_milliseconds_are_read_as_such(each: int) -> None:
    values = pa.array([1_700_000_000 * each, 1_700_003_600 * each])
    expected = [datetime(2023, 11, 14, h, 13, 20, tzinfo=UTC) for h in (22, 23)]
    assert _conformed(values, "time") == expected


@pytest.mark.parametrize("values", [[0, 1_700_000_000], [5, 1_700_000_000_000], [10**9, 3 * 10**9]])
def test_integers_that_may_be_an_order_or_an_epoch_are_refused(values: list[int]) -> None:
    with pytest.raises(DataError, match=r"not all epoch seconds .* write times as ISO 8601"):
        _conformed(pa.array(values), "time")


def _renamed(**more: ColumnSpec) -> tuple[TableSpec, dict[str, str]]:
    columns = (ColumnSpec("id", "id"), ColumnSpec("at", "time"), ColumnSpec("amount", "number"))
    return TableSpec((*columns, *more.values()), "id", "at"), {"at": "WHEN", "amount": "AMT"}


def test_a_csv_column_with_another_name_in_the_file_gets_the_declared_kind(tmp_path: Path) -> None:
    spec, aliases = _renamed()
    path = tmp_path / "b.csv"
    path.write_text("id,WHEN,AMT\n007,1700000000,1.5\n")
    rows = read_batch(list_batches(str(path))[0], spec, aliases=aliases)
    at = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert conform(rows, spec, "b").to_pylist() == [{"id": "007", "at": at, "amount": 1.5}]


@pytest.mark.parametrize("name", ["b.csv", "b.parquet"])
def test_one_column_of_a_file_may_be_read_as_two_kinds(name: str, tmp_path: Path) -> None:
    spec = TableSpec((ColumnSpec("ID", "id"), ColumnSpec("order", "time")), "ID", "order")
    table, path = pa.table({"ID": ["007"] if name == "b.csv" else [7]}), tmp_path / name
    pq.write_table(table, path) if name == "b.parquet" else path.write_text("ID\n007\n")
    rows = read_batch(list_batches(str(path))[0], spec, aliases={"order": "ID"})
    found = conform(rows, spec, "b").to_pylist()
    order = datetime(2000, 1, 1, 0, 7, tzinfo=UTC)
    assert found == [{"ID": "007" if name == "b.csv" else "7", "order": order}]


def test_a_source_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    spec, aliases = _renamed()
    (tmp_path / "b.csv").write_text("id,WHEN,amount\n1,2,3\n")
    with pytest.raises(DataError, match=r"column amount: the file has 0 columns 'AMT'") as caught:
        read_batch(list_batches(str(tmp_path))[0], spec, aliases=aliases)
    assert "b.csv" in caught.value.where and "id, WHEN, amount" in caught.value.fix


@pytest.mark.parametrize(
    ("declared", "name", "key"),
    [
        ("data", "1.csv", "data/1.csv"),
        ("./data/", "1.csv", "data/1.csv"),
        ("data/1.csv", "1.csv", "data/1.csv"),
        ("1.csv", "1.csv", "1.csv"),
        ("../other", "1.csv", "../other/1.csv"),
        ("s3://bucket/in/", "1.csv", "s3://bucket/in/1.csv"),
        ("s3://bucket/in/1.csv", "1.csv", "s3://bucket/in/1.csv"),
        ("file:///data/a%20b.csv", "a b.csv", "file:///data/a%20b.csv"),
    ],
)
def test_a_batch_is_known_by_its_declared_address_and_name(
    declared: str, name: str, key: str
) -> None:
    assert batch_key(declared, BatchRef("/anywhere/on/this/machine", name, 1, "")) == key


def test_missing_unknown_and_double_columns_are_all_named() -> None:
    table = pa.table([[1], [1], [1]], names=["c", "c", "strange"])
    spec = TableSpec((ColumnSpec("c", "number"), ColumnSpec("d", "number")), "c", "c")
    with pytest.raises(DataError) as caught:
        conform(table, spec, "b")
    for part in ("column d: missing", "column strange: found", "column c: found 2 times"):
        assert part in str(caught.value)


def test_columns_come_in_declared_order_without_the_ignored_ones() -> None:
    spec = TableSpec((ColumnSpec("order", "time"), ColumnSpec("ID", "id")), "ID", "order")
    table = pa.table({"ID": [1, 2], "junk": [0, 0]})
    found = conform(table, spec, "b", ignore=["junk"], aliases={"order": "ID"})
    assert found.column_names == ["order", "ID"]
    assert found["ID"].to_pylist() == ["1", "2"]


def test_s3_options_do_not_show_the_secret() -> None:
    options = S3Options("http://localhost:1", "eu-west-1", "key", "hush")
    assert "hush" not in repr(options) and "key" in repr(options)
    assert options.delta_options()["AWS_ALLOW_HTTP"] == "true"
    assert "AWS_ALLOW_HTTP" not in S3Options().delta_options()


def test_s3_gives_the_same_rows_as_a_folder(s3_server: S3Options, tmp_path: Path) -> None:
    folder = f"s3://{BUCKET}/inbox"
    write_bytes(f"{folder}/b.csv", CSV.encode(), s3_server)
    write_bytes(f"{folder}/a.csv.gz", gzip.compress(CSV.encode()), s3_server)
    write_bytes(f"{folder}/_SUCCESS", b"", s3_server)
    write_bytes(f"{folder}/deeper/c.csv", CSV.encode(), s3_server)
    source = Source(folder, s3_server)
    refs = source.list_batches()
    assert [ref.name for ref in refs] == ["a.csv.gz", "b.csv"]
    for ref in refs:
        assert conform(source.read_batch(ref, SPEC), SPEC, ref.name).to_pylist() == ROWS
    assert list_batches(f"{folder}/b.csv", s3_server) == [refs[1]]
    assert read_bytes(refs[1].uri, s3_server) == CSV.encode()


def test_s3_faults_are_named(s3_server: S3Options) -> None:
    with pytest.raises(DataError, match="no object"):
        list_batches(f"s3://{BUCKET}/nothing-here", s3_server)
    with pytest.raises(DataError, match="NoSuchBucket"):
        list_batches("s3://no-such-bucket-at-all/x", s3_server)
    wrong = S3Options(s3_server.endpoint_url, "us-east-1", "tests", "wrong-secret")
    with pytest.raises(DataError, match="Signature") as caught:
        list_batches(f"s3://{BUCKET}/inbox", wrong)
    assert "wrong-secret" not in str(caught.value)


def test_real_employment_data_conform(tmp_path: Path) -> None:
    path = shared_data("employment_ma/employment_MA_reference.parquet")
    spec = TableSpec(
        (ColumnSpec("id", "id"), ColumnSpec("year", "time"), ColumnSpec("AGEP", "number"),
         ColumnSpec("SCHL", "category"), ColumnSpec("employed", "integer")),
        "id", "year", "employed",
    )  # fmt: skip
    raw = read_batch(list_batches(str(path))[0], spec)
    found = conform(raw, spec, path.name, ignore=set(raw.column_names) - set(spec.names))
    assert found.num_rows == 68_785
    assert found["year"].unique().to_pylist() == [datetime(2015, 1, 1, tzinfo=UTC)]
    assert found["SCHL"][0].as_py() == "16"
