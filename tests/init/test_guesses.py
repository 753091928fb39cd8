"""``setpoint init``: what it takes a column for, and what it says it cannot tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from setpoint.config import load_project
from setpoint.errors import DataError, ProjectFileError
from setpoint.init import write_project
from tests.adapters.shared_data import shared_data
from tests.init.frames import CODES, N, loans, written


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
    project = written(tmp_path, loans(**{name: values}))
    assert project.data.columns[name].type == kind
    assert (name in project.features.columns) == (name not in ("unknown", "many"))


@pytest.mark.parametrize("label", [[0, 1], [0.0, 1.0], [False, True], ["no", "yes"]])
def test_any_label_of_two_values_is_a_target(label: list[Any], tmp_path: Path) -> None:
    project = written(tmp_path, loans(label=label * (N // 2)))
    assert project.target.column == "label" and "label" not in project.features.columns


def test_times_as_text_are_times(tmp_path: Path) -> None:
    frame = loans(timestamp=[f"2026-01-{1 + i // 5:02d}T00:00:00Z" for i in range(N)])
    project = written(tmp_path, frame, "loans.csv")
    assert project.data.event_time == "timestamp"
    assert project.watch.every < project.watch.window


def test_a_number_that_identifies_rows_also_orders_them(tmp_path: Path) -> None:
    project = written(tmp_path, loans(id=range(N)).drop(columns="timestamp"))
    assert project.data.event_time == "event_order"
    assert project.sources() == {"event_order": "id"}


def test_protected_columns_are_judged_and_are_no_inputs(tmp_path: Path) -> None:
    project = written(tmp_path, loans(SEX=np.array([1, 2])[np.arange(N) % 2]))
    assert project.data.protected == ("SEX",) and "SEX" not in project.features.columns


def test_scores_of_another_model_are_left_out(tmp_path: Path) -> None:
    project = written(tmp_path, loans(y_pred=np.linspace(0, 1, N)))
    assert project.data.ignore == ("y_pred",) and "y_pred" not in project.features.columns


@pytest.mark.parametrize(
    "name", ["2024 Loans.v1.parquet", "Ünïcode.parquet", f"{'x' * 60}.parquet"]
)
def test_any_file_name_gives_a_name_that_is_allowed(name: str, tmp_path: Path) -> None:
    written(tmp_path, loans(), name)


@pytest.mark.parametrize(
    ("frame", "given", "said"),
    [
        (loans(), {"target": "nope"}, "--target nope: there is no such column"),
        (loans(label=0), {}, "no column has exactly two values; label: it has 1 value (0)"),
        (loans().drop(columns="label"), {}, "label column not found"),
        (loans(id="same", x=1.0).drop(columns="timestamp"), {}, "no column identifies a row"),
        (loans().drop(columns="timestamp"), {}, "no column of the event time"),
        (loans().iloc[:0], {}, "0 rows"),
        (loans(), {"target": "x"}, "--target x: it has values of type double"),
        (loans(label=CODES), {"target": "label"}, "--target label: it has 3 values (0, 1, 2)"),
        (
            loans(),
            {"target": "timestamp"},
            "--target timestamp: it has values of type timestamp",
        ),
        (loans(_y=[0, 1] * 60), {"target": "_y"}, "--target _y: the name is reserved"),
        (loans(), {"event_id": "label"}, "--id label: the name is reserved"),
        (loans(y=[0, 1] * 60), {"target": "y", "event_id": "y"}, "the same column is named"),
        (loans(), {"event_id": "x"}, "--id x: it has double values"),
        (
            loans(kind=["a", "b"] * 60),
            {"event_id": "kind"},
            "--id kind: 118 of 120 values repeat",
        ),
        (loans().drop(columns="x"), {}, "no column is left that a model can learn from"),
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
    frame = loans(
        signed=pd.date_range("2020-01-01", periods=N, freq="1D", tz="UTC"),
        remark=[f"free text {i}" for i in range(N)],
        empty=np.full(N, np.nan),
    )
    project = written(tmp_path, frame)
    assert project.features.columns == ("x",)
    assert {"signed", "remark", "empty"} <= set(project.data.columns)
    assert (tmp_path / "setpoint.yaml").read_text("utf-8").count("# no input: ") == 3


def test_a_telling_name_without_two_values_is_passed_over_for_a_column_that_has_them(
    tmp_path: Path,
) -> None:
    frame = loans(target=CODES, is_default=[0, 1] * 60).drop(columns="label")
    assert written(tmp_path, frame).target.column == "is_default"


def test_other_columns_that_could_be_the_label_are_listed(tmp_path: Path) -> None:
    project = written(tmp_path, loans(owns_car=CODES == 0, moved=CODES == 1))
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
    project = written(tmp_path, loans(result=copy), target="label")
    assert project.features.columns == ("x",) and "result" in project.data.columns
    text = (tmp_path / "setpoint.yaml").read_text("utf-8")
    assert '# no input: it tells "label" outright' in text


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    loans().to_parquet(tmp_path / "d.parquet")
    with pytest.raises(ProjectFileError, match="cannot be written") as caught:
        write_project(tmp_path / "d.parquet", tmp_path / "gone" / "setpoint.yaml")
    assert "--out" in caught.value.fix


def test_a_project_file_in_another_folder_finds_its_data(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    loans().to_csv(tmp_path / "d.csv", index=False)
    write_project(tmp_path / "d.csv", tmp_path / "there" / "setpoint.yaml")
    project = load_project(tmp_path / "there" / "setpoint.yaml")
    assert project.data.events == ("../d.csv",)
    assert json.dumps(project.name) == '"d"'


@pytest.mark.parametrize("column", ["x", "kind"])
def test_a_named_time_that_is_none_is_told_with_its_values(column: str, tmp_path: Path) -> None:
    loans(kind=["a", "b", "c"] * 40).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=f"column {column}: found .*expected time"):
        write_project(tmp_path / "d.parquet", tmp_path / "setpoint.yaml", event_time=column)
