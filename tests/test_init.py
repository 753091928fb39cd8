"""``setpoint init``: what it writes can be used on the data it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from setpoint.adapters.sources import list_batches, read_batch
from setpoint.config import Project, load_project
from setpoint.domain.conform import conform
from setpoint.errors import DataError, ProjectFileError
from setpoint.init import write_project
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
    rows = read_batch(list_batches(str(data))[0], spec)
    table = conform(rows, spec, name, ignore=project.data.ignore, aliases=project.sources())
    for column in spec.columns:
        values = set(table[column.name].to_pylist()) - {None}
        assert not column.values or values <= set(column.values)
    assert project.target.positive in set(table[project.target.column].to_pylist())
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
        ("flag", CODES == 1, "category"),
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
        (_frame(label=0), {}, "label has not two values"),
        (_frame().drop(columns="label"), {}, "label column not found"),
        (_frame(id="same", x=1.0).drop(columns="timestamp"), {}, "no column identifies a row"),
        (_frame().drop(columns="timestamp"), {}, "no column of the event time"),
        (_frame().iloc[:0], {}, "no rows"),
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
