"""``setpoint init``: what it writes can be used on the data it was written from."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from setpoint.adapters.sources import list_batches, read_batch
from setpoint.config import Project, json_schema, load_project
from setpoint.domain.conform import conform
from setpoint.errors import DataError, ProjectFileError
from setpoint.init import write_project
from setpoint.init.quoting import quoted
from setpoint.stages import assemble, ingest
from setpoint.workspace import open_workspace
from tests.adapters.shared_data import shared_data

N = 120


def _frame(**more: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base: dict[str, Any] = {
        "id": [f"e{i}" for i in range(N)],
        "timestamp": pd.date_range("2026-01-01", periods=N, freq="6h", tz="UTC"),
        "x": rng.normal(size=N),
        "label": np.arange(N) % 2,
    }
    return pd.DataFrame(base | more)


def _written(
    folder: Path, frame: pd.DataFrame, name: str = "loans.parquet", **given: Any
) -> Project:
    """The project written for a frame, after its own data were read with it."""
    data, out = folder / name, folder / "setpoint.yaml"
    frame.to_parquet(data) if name.endswith("parquet") else frame.to_csv(data, index=False)
    write_project(data, out, **given)
    project = load_project(out)
    spec = project.events_spec()
    rows = read_batch(list_batches(str(data))[0], spec, aliases=project.sources())
    zone = project.data.time_zone
    table = conform(rows, spec, name, ignore=project.data.ignore, time_zone=zone)
    for column in spec.columns:
        values = set(table[column.name].to_pylist()) - {None}
        assert not column.values or values <= set(column.values)
    labels = table[project.target.column].cast(pa.string())
    assert project.target.positive in labels.to_pylist()
    written = yaml.safe_load(out.read_text("utf-8"))
    assert not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(written))
    return project


def _ingested(folder: Path, frame: pd.DataFrame, name: str, **given: Any) -> Project:
    """The project written for a frame, after its own data were taken in with it."""
    project = _written(folder, frame, name, **given)
    workspace = open_workspace(folder / "setpoint.yaml", folder / ".setpoint")
    assert ingest.ingest(workspace).rows == len(frame)
    assert set(assemble.history(workspace).labels["label"].to_pylist()) == {0, 1}
    return project


CODES = np.arange(N) % 3


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("amount", np.linspace(0, 5e6, N), "number"),
        ("constant", np.full(N, 7.5), "number"),
        ("unknown", np.full(N, np.nan), "category"),
        ("gaps", np.where(CODES == 0, np.nan, np.linspace(0, 1, N)), "number"),
        ("code", CODES, "category"),
        ("code with gaps", np.where(CODES == 0, np.nan, CODES), "category"),
        ("flag", CODES == 1, "boolean"),
        ("text", np.array(["a", "b", "c"])[CODES], "category"),
        ("quotes", np.array(['a"b', "c\\d", "e: {f}"])[CODES], "category"),
        ('a "quoted": name', np.linspace(0, 1, N), "number"),
        ("many", [f"shop {i}" for i in range(N)], "category"),
    ],
)
def test_any_column_is_declared_so_that_its_own_data_hold(
    name: str, values: Any, kind: str, tmp_path: Path
) -> None:
    project = _written(tmp_path, _frame(**{name: values}))
    assert project.data.columns[name].type == kind
    assert (name in project.features.columns) == (name not in ("unknown", "many"))


@pytest.mark.parametrize("label", [[0, 1], [0.0, 1.0], [False, True], ["no", "yes"]])
def test_any_label_of_two_values_is_a_target(label: list[Any], tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(label=label * (N // 2)))
    assert project.target.column == "label" and "label" not in project.features.columns


def test_times_as_text_are_times(tmp_path: Path) -> None:
    frame = _frame(timestamp=[f"2026-01-{1 + i // 5:02d}T00:00:00Z" for i in range(N)])
    project = _written(tmp_path, frame, "loans.csv")
    assert project.data.event_time == "timestamp"
    assert project.watch.every < project.watch.window


def test_a_number_that_identifies_rows_also_orders_them(tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(id=range(N)).drop(columns="timestamp"))
    assert project.data.event_time == "event_order"
    assert project.sources() == {"event_order": "id"}


def test_protected_columns_are_judged_and_are_no_inputs(tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(SEX=np.array([1, 2])[np.arange(N) % 2]))
    assert project.data.protected == ("SEX",) and "SEX" not in project.features.columns


def test_scores_of_another_model_are_left_out(tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(y_pred=np.linspace(0, 1, N)))
    assert project.data.ignore == ("y_pred",) and "y_pred" not in project.features.columns


@pytest.mark.parametrize(
    "name", ["2024 Loans.v1.parquet", "Ünïcode.parquet", f"{'x' * 60}.parquet"]
)
def test_any_file_name_gives_a_name_that_is_allowed(name: str, tmp_path: Path) -> None:
    _written(tmp_path, _frame(), name)


@pytest.mark.parametrize(
    ("frame", "given", "said"),
    [
        (_frame(), {"target": "nope"}, "--target nope: there is no such column"),
        (_frame(label=0), {}, "no column has exactly two values; label: it has 1 value (0)"),
        (_frame().drop(columns="label"), {}, "label column not found"),
        (_frame(id="same", x=1.0).drop(columns="timestamp"), {}, "no column identifies a row"),
        (_frame().drop(columns="timestamp"), {}, "no column of the event time"),
        (_frame().iloc[:0], {}, "0 rows"),
        (_frame(), {"target": "x"}, "--target x: it has values of type double"),
        (_frame(label=CODES), {"target": "label"}, "--target label: it has 3 values (0, 1, 2)"),
        (_frame(), {"target": "timestamp"}, "--target timestamp: it has values of type timestamp"),
        (_frame(_y=[0, 1] * 60), {"target": "_y"}, "--target _y: the name is reserved"),
        (_frame(), {"event_id": "label"}, "--id label: the name is reserved"),
        (_frame(y=[0, 1] * 60), {"target": "y", "event_id": "y"}, "the same column is named"),
        (_frame(), {"event_id": "x"}, "--id x: it has double values"),
        (_frame(kind=["a", "b"] * 60), {"event_id": "kind"}, "--id kind: 118 of 120 values repeat"),
        (_frame().drop(columns="x"), {}, "no column is left that a model can learn from"),
    ],
)
def test_what_cannot_be_guessed_says_what_to_name(
    frame: pd.DataFrame, given: dict[str, str], said: str, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError) as caught:
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml", **given)  # type: ignore[arg-type]
    assert said in caught.value.what and caught.value.fix
    assert not (tmp_path / "setpoint.yaml").exists()


@pytest.mark.parametrize("name", ["gone.csv", "gone.parquet", "broken.parquet", "empty.csv"])
def test_a_file_that_cannot_be_read_is_a_data_error(name: str, tmp_path: Path) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"junk")
    with pytest.raises(DataError, match="cannot be read"):
        write_project(tmp_path / name, tmp_path / "setpoint.yaml")


def test_a_project_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("mine")
    with pytest.raises(ProjectFileError, match="the file exists"):
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml")
    assert (tmp_path / "setpoint.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "given", "target", "protected"),
    [
        ("taiwan_default/taiwan_default.parquet", {}, "default", ("SEX",)),
        ("employment_ma/employment_MA_reference.parquet", {}, "employed", None),
        ("car_loan/synthetic_car_loan_reference.parquet", {"target": "repaid"}, "repaid", ()),
    ],
)
def test_real_data_give_a_project_file(
    name: str, given: dict[str, str], target: str, protected: Any, tmp_path: Path
) -> None:
    out = tmp_path / "setpoint.yaml"
    write_project(shared_data(name), out, **given)  # type: ignore[arg-type]
    project = load_project(out)
    assert target in project.target.column.lower()
    assert protected is None or project.data.protected == protected
    assert project.feature_spec().names


def test_what_a_model_cannot_learn_from_is_declared_and_is_no_input(tmp_path: Path) -> None:
    frame = _frame(
        signed=pd.date_range("2020-01-01", periods=N, freq="1D", tz="UTC"),
        remark=[f"free text {i}" for i in range(N)],
        empty=np.full(N, np.nan),
    )
    project = _written(tmp_path, frame)
    assert project.features.columns == ("x",)
    assert {"signed", "remark", "empty"} <= set(project.data.columns)
    assert (tmp_path / "setpoint.yaml").read_text("utf-8").count("# no input: ") == 3


def _text_rows(**more: Any) -> pd.DataFrame:
    return _frame(timestamp=[f"2026-01-{1 + i // 5:02d}T00:00:00Z" for i in range(N)], **more)


BIG = 2**53 + 1
# the file, its frame, what is to hold of the project
AWKWARD: dict[str, tuple[str, pd.DataFrame, Any]] = {
    "naive times": (
        "d.parquet",
        _frame(timestamp=pd.date_range("2026-01-01", periods=N, freq="6h")),
        lambda p: p.data.time_zone == "UTC",
    ),
    "naive times as text": (
        "d.csv",
        _frame(timestamp=[f"2026-01-{1 + i // 5:02d} 00:00:00" for i in range(N)]),
        lambda p: p.data.time_zone == "UTC" and p.data.columns["timestamp"].type == "time",
    ),
    "times with a zone": ("d.parquet", _frame(), lambda p: p.data.time_zone is None),
    "the index of pandas": (
        "d.parquet",
        _frame().sample(frac=1.0, random_state=0),
        lambda p: p.data.ignore == ("__index_level_0__",),
    ),
    "a number that orders the rows of a CSV": (
        "d.csv",
        _frame(id=range(N)).drop(columns="timestamp"),
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
        _frame(label=[0.0, 1.0, None] * 40),
        lambda p: p.data.columns["label"].nullable,
    ),
    "labels that are not known yet in a CSV": (
        "d.csv",
        _text_rows(label=["0", "1", "NA"] * 40),
        lambda p: p.data.columns["label"].nullable and p.target.positive == "1",
    ),
    "decimals": (
        "d.parquet",
        _frame(price=[Decimal(i) / 7 for i in range(N)]),
        lambda p: "price" in p.features.columns,
    ),
    "dates": (
        "d.parquet",
        _frame(born=[date(1990, 1, 1) + timedelta(days=i) for i in range(N)]),
        lambda p: p.data.columns["born"].type == "time" and "born" not in p.features.columns,
    ),
    "lengths of time": (
        "d.parquet",
        _frame(took=pd.to_timedelta(np.arange(N), unit="s")),
        lambda p: p.data.ignore == ("took",),
    ),
    "lists": ("d.parquet", _frame(tags=[["a"]] * N), lambda p: p.data.ignore == ("tags",)),
    "columns without a value": (
        "d.parquet",
        _frame(nothing=[None] * N, never=pd.Series([pd.NaT] * N, dtype="datetime64[us, UTC]")),
        lambda p: p.data.columns["nothing"].nullable and p.data.ignore == ("never",),
    ),
    "columns without a value in a CSV": (
        "d.csv", _text_rows(nothing=[None] * N), lambda p: p.data.columns["nothing"].nullable
    ),
    "a truth that is sometimes missing": (
        "d.parquet",
        _frame(flag=[True, None, False] * 40),
        lambda p: p.data.columns["flag"].type == "boolean" and "flag" in p.features.columns,
    ),
    "a protected number": (
        "d.csv", _text_rows(SEX=["1", "2", "1"] * 40), lambda p: p.data.protected == ("SEX",)
    ),
    "a protected number that names no group": (
        "d.parquet",
        _frame(race=np.linspace(0, 1, N)),
        lambda p: p.data.protected == () and "race" not in p.features.columns,
    ),
    "a measured number that never repeats in a CSV": (
        "d.csv",
        _frame(nr=range(N)).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_id == "nr" and p.data.event_time == "event_order",
    ),
    "an id that is the time as well": (
        "d.parquet",
        _frame(nr=range(N)).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_id == "nr" and p.data.event_time == "event_order",
    ),
    "a name taken by the order": (
        "d.parquet",
        _frame(nr=range(N), event_order=CODES).drop(columns=["id", "timestamp"]),
        lambda p: p.data.event_time == "event_order_",
    ),
    "whole numbers above 2^53": (
        "d.parquet",
        _frame(account=[BIG + i // 2 for i in range(N)]),
        lambda p: p.data.columns["account"].type == "id" and p.features.columns == ("x",),
    ),
    "far values close together": (
        "d.parquet",
        _frame(far=1e9 + np.linspace(0, 1, N)),
        lambda p: p.data.columns["far"].max >= 1e9 + 1,
    ),
    "very large values": (
        "d.parquet",
        _frame(huge=np.linspace(-1, 1, N) * 1e308),
        lambda p: p.data.columns["huge"].max is None,
    ),
    "awkward names": (
        "d.parquet",
        _frame(**{'a "b"': CODES, "c\\d": CODES, "e: {f}#": CODES, "line\nend": CODES, " ": CODES}),
        lambda p: {'a "b"', "c\\d", "e: {f}#", "line\nend", " "} <= set(p.features.columns),
    ),
    "awkward values": (
        "d.parquet",
        _frame(kind=["\u2028\x85", "\U0001f600", "\x00\ufeff"] * 40),
        lambda p: len(p.data.columns["kind"].values) == 3,
    ),
    "an awkward target": (
        "d.parquet",
        _frame(**{'is "bad\\"?': ['"no"', '"yes"'] * 60}).drop(columns="label"),
        lambda p: p.target.column == 'is "bad\\"?' and p.target.positive == '"yes"',
    ),
    "the reserved name of the label": (
        "d.parquet",
        _frame(label=np.linspace(0, 1, N), y=[0, 1] * 60),
        lambda p: p.target.column == "y" and p.data.ignore == ("label",),
    ),
    "pandas categories": (
        "d.parquet",
        _frame(kind=pd.Categorical(["a", "b", "c"] * 40)),
        lambda p: p.data.columns["kind"].values == ("a", "b", "c"),
    ),
    "years": (
        "d.csv",
        _frame(year=2018 + CODES).drop(columns="timestamp"),
        lambda p: p.data.event_time == "year" and p.watch.window.days == 366,
    ),
    "epoch seconds": (
        "d.csv",
        _frame(timestamp=1_700_000_000 + 86_400 * np.arange(N)),
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
    assert holds(_ingested(tmp_path, frame, name))


@pytest.mark.parametrize("name", ["null.parquet", "true.parquet", 'a "b" c.parquet', "1e5.parquet"])
def test_a_file_name_that_yaml_reads_otherwise_is_quoted(name: str, tmp_path: Path) -> None:
    project = _ingested(tmp_path, _frame(), name)
    assert project.data.events == (name,) and isinstance(project.name, str)


@pytest.mark.parametrize(
    "text", ["", " ", "null", "a: b", '"', "\\", "\n", "\x7f\x85\u2028", "ü€", "\U0001f600", "\t#"]
)
def test_a_quoted_text_is_read_as_it_was(text: str) -> None:
    assert yaml.safe_load(f"a: {quoted(text)}\n{quoted(text)}: 1") == {"a": text, text: 1}


# the frame, what is said, all of it naming the column
UNFIT: dict[str, tuple[pd.DataFrame, str]] = {
    "infinite values": (
        _frame(x=np.where(CODES == 0, math.inf, 1.5)), "column x: 40 of 120 values are infinite"
    ),
    "names that differ in case": (
        _frame(Amount=CODES, amount=CODES), "columns Amount and amount: their names differ only"
    ),
    "an event without a time": (
        _frame(timestamp=[None, *pd.date_range("2026-01-01", periods=N - 1, tz="UTC")]),
        "column timestamp: not null",
    ),
    "an order beyond all times": (
        _frame(id=np.arange(N) * 10_000_000).drop(columns="timestamp"), "column event_order: "
    ),
    "events in the future": (
        _frame(timestamp=pd.date_range("2226-01-01", periods=N, tz="UTC")),
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
    _frame().to_parquet(tmp_path / name)
    with pytest.raises(DataError, match=r"names that start with \. or _ are not read"):
        write_project(tmp_path / name, tmp_path / "setpoint.yaml")


def test_a_telling_name_without_two_values_is_passed_over_for_a_column_that_has_them(
    tmp_path: Path,
) -> None:
    frame = _frame(target=CODES, is_default=[0, 1] * 60).drop(columns="label")
    assert _written(tmp_path, frame).target.column == "is_default"


def test_other_columns_that_could_be_the_label_are_listed(tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(owns_car=CODES == 0, moved=CODES == 1))
    assert project.target.column == "label"
    text = (tmp_path / "setpoint.yaml").read_text("utf-8")
    assert '# two values as well: "moved", "owns_car"' in text


@pytest.mark.parametrize(
    "copy",
    [
        np.arange(N) % 2,
        np.where(np.arange(N) % 2 == 1, "bad", "good"),
        np.where(np.arange(N) % 2 == 1, -3.5, 12.25),
        np.where(np.arange(N) % 2 == 1, 1.0, np.nan),
    ],
    ids=["equal", "other words", "other numbers", "missing where negative"],
)
def test_a_copy_of_the_target_is_no_input(copy: Any, tmp_path: Path) -> None:
    project = _written(tmp_path, _frame(result=copy), target="label")
    assert project.features.columns == ("x",) and "result" in project.data.columns
    text = (tmp_path / "setpoint.yaml").read_text("utf-8")
    assert '# no input: it tells "label" outright' in text


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    _frame().to_parquet(tmp_path / "d.parquet")
    with pytest.raises(ProjectFileError, match="cannot be written") as caught:
        write_project(tmp_path / "d.parquet", tmp_path / "gone" / "setpoint.yaml")
    assert "--out" in caught.value.fix


def test_a_project_file_in_another_folder_finds_its_data(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    _frame().to_csv(tmp_path / "d.csv", index=False)
    write_project(tmp_path / "d.csv", tmp_path / "there" / "setpoint.yaml")
    project = load_project(tmp_path / "there" / "setpoint.yaml")
    assert project.data.events == ("../d.csv",)
    assert json.dumps(project.name) == '"d"'


@pytest.mark.parametrize("column", ["x", "kind"])
def test_a_named_time_that_is_none_is_told_with_its_values(column: str, tmp_path: Path) -> None:
    _frame(kind=["a", "b", "c"] * 40).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=f"column {column}: found .*expected time"):
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml", event_time=column)
