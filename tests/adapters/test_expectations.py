"""Great Expectations on declared columns, with real data where it is at hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from setpoint.adapters.expectations import validate
from setpoint.adapters.sources import conform, list_batches, read_batch
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.validation import RuleResult, ValidationReport, bounded, check_label
from setpoint.errors import DataError, ValidationFailed
from tests.adapters.shared_data import shared_data

SPEC = TableSpec(
    columns=(
        ColumnSpec("id", "id"),
        ColumnSpec("at", "time"),
        ColumnSpec("amount", "number", min=0, max=100),
        ColumnSpec("free", "number", nullable=True, max_null_share=0.5),
        ColumnSpec("count", "integer", nullable=True),
        ColumnSpec("kind", "category", values=("1", "2"), nullable=True),
        ColumnSpec("person", "category", values=("anna", "bert"), personal=True),
        ColumnSpec("flag", "boolean", nullable=True),
    ),
    event_id="id",
    event_time="at",
)
AT = datetime(2024, 1, 1, tzinfo=UTC)


def _table(rows: int = 4, **columns: list[object]) -> pa.Table:
    good: dict[str, list[object]] = {
        "id": [str(n) for n in range(rows)],
        "at": [AT] * rows,
        "amount": [float(n) for n in range(rows)],
        "free": [0.5] * rows,
        "count": [2**60 + 1] * rows,
        "kind": ["1"] * rows,
        "person": ["anna"] * rows,
        "flag": [True] * rows,
    }
    types = {"at": pa.timestamp("us", "UTC"), "count": pa.int64(), "flag": pa.bool_(),
             "amount": pa.float64(), "free": pa.float64()}  # fmt: skip
    chosen = {**good, **columns}
    return pa.table({n: pa.array(v, types.get(n, pa.string())) for n, v in chosen.items()})


def _broken(table: pa.Table, spec: TableSpec = SPEC) -> dict[tuple[str, str], RuleResult]:
    return {(r.column, r.rule): r for r in validate(table, spec, "b").failed}


def test_a_good_batch_passes_every_rule() -> None:
    report = validate(_table(free=[None, None, 1, 2], count=[None, 1, 2, 3]), SPEC, "b")
    assert report.passed and report.rows == 4 and report.docs is None
    assert {(r.column, r.rule) for r in report.results} >= {
        ("*", "row count"), ("*", "columns"), ("id", "unique"), ("id", "not null"),
        ("at", "not null"), ("amount", "between"), ("free", "finite"), ("free", "null share"),
        ("kind", "in set"), ("person", "in set"),
    }  # fmt: skip
    report.raise_if_failed()


def test_every_broken_rule_is_counted_with_its_values() -> None:
    broken = _broken(
        _table(
            6,
            id=["a", "b", "a", "c", "a", None],
            amount=[-1.0, 100.0, 101.0, float("inf"), None, 0.0],
            free=[float("-inf"), None, None, None, None, 1.0],
            kind=["1", None, "3", "2", "3", "x" * 500],
        )
    )
    found = {key: (r.failures, r.total, r.examples) for key, r in broken.items()}
    assert found == {
        ("id", "not null"): (1, 6, ("null (row 5)",)),
        ("id", "unique"): (3, 6, ("a (row 0)", "a (row 2)", "a (row 4)")),
        ("amount", "not null"): (1, 6, ("null (row 4)",)),
        ("amount", "between"): (3, 6, ("-1.0 (row 0)", "101.0 (row 2)", "inf (row 3)")),
        ("free", "finite"): (1, 6, ("-inf (row 0)",)),
        ("free", "null share"): (4, 6, tuple(f"null (row {n})" for n in (1, 2, 3, 4))),
        ("kind", "in set"): (3, 6, ("3 (row 2)", "3 (row 4)", f"{'x' * 59}… (row 5)")),
    }


def test_five_examples_at_most() -> None:
    assert len(_broken(_table(50, amount=[-1.0] * 50))[("amount", "between")].examples) == 5


def test_personal_values_appear_neither_in_report_nor_page(tmp_path: Path) -> None:
    report = validate(
        _table(person=["anna", "carla-secret", "bert", "carla-secret"], kind=["shown"] * 4),
        SPEC, "b", tmp_path,
    )  # fmt: skip
    examples = {r.column: r.examples for r in report.failed}
    assert examples["person"] == ("*** (row 1)", "*** (row 3)")
    assert report.docs is not None
    page = report.docs.read_text()
    assert "shown" in page and "carla-secret" not in page


def test_pages_of_earlier_batches_are_kept(tmp_path: Path) -> None:
    pages = [validate(_table(), SPEC, where, tmp_path).docs for where in ("in/a", "in_a")]
    assert len({*pages}) == 2 and all(page and page.exists() for page in pages)


def test_missing_and_unknown_columns_are_results() -> None:
    broken = _broken(_table().drop(["kind"]).append_column("odd", pa.array([1] * 4)))
    assert list(broken) == [("*", "columns")]
    assert broken[("*", "columns")].examples == ("missing kind", "not declared odd")
    assert broken[("*", "columns")].failures == 2


def test_no_rows_and_wrong_types_are_results() -> None:
    assert ("*", "row count") in _broken(_table(0))
    text = _table().set_column(2, "amount", pa.array(["a"] * 4))
    assert _broken(text)[("amount", "between")].failures == 4


def test_columns_of_any_type_are_results(tmp_path: Path) -> None:
    odd = _table().set_column(5, "kind", pa.array([1, 2, 3, 4]))
    odd = odd.set_column(6, "person", pa.array([["carla-secret"]] * 4))
    odd = odd.set_column(0, "id", pa.array([{"a": 1}] * 4))
    report = validate(odd, SPEC, "b", tmp_path)
    assert {"kind", "person", "id"} <= {r.column for r in report.failed}
    assert report.docs is not None and "carla-secret" not in report.docs.read_text()
    double = pa.table([*_table().columns, pa.array([1] * 4)], names=[*SPEC.names, "amount"])
    assert _broken(double)[("*", "columns")].examples == ("double amount",)


def test_a_failed_report_names_rule_count_examples_and_quarantine() -> None:
    report = validate(_table(amount=[-1.0, 1.0, 1.0, 1.0]), SPEC, "2024-01.csv")
    with pytest.raises(ValidationFailed) as caught:
        report.raise_if_failed("quarantine/2024-01.csv-abc")
    text = str(caught.value)
    for part in ("2024-01.csv", "column amount", "between", "0 to 100", "1 of 4 fail",
                 "-1.0 (row 0)", "kept in quarantine/2024-01.csv-abc", "do:"):  # fmt: skip
        assert part in text


def test_a_report_without_rules_does_not_pass() -> None:
    report = ValidationReport("b", 1, ())
    assert not report.passed
    with pytest.raises(ValidationFailed, match="no rule"):
        report.raise_if_failed()


def test_long_reports_are_bounded() -> None:
    result = RuleResult("c", "between", "0 to 1", 1, 1, (), False)
    with pytest.raises(ValidationFailed, match="and 90 more rules"):
        ValidationReport("b", 1, (result,) * 100).raise_if_failed()
    assert len(bounded("x" * 100)) == 60


@pytest.mark.parametrize(
    ("labels", "reason"),
    [([1, 1, None], "is 1 in every row"), ([None, None], "no label is known")],
)
def test_a_constant_label_is_refused(labels: list[int | None], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_label(pa.table({"y": pa.array(labels, pa.int64())}), "y", "snapshot 3")


def test_two_labels_are_enough_and_a_missing_column_is_named() -> None:
    check_label(pa.table({"y": [0, 1, None]}), "y")
    with pytest.raises(DataError, match="column z: the label is missing"):
        check_label(pa.table({"y": [0, 1]}), "z")


def test_taiwan_names_the_undocumented_codes() -> None:
    path = shared_data("taiwan_default/taiwan_default.parquet")
    label = "default.payment.next.month"
    spec = TableSpec(
        (ColumnSpec("ID", "id"), ColumnSpec("order", "time"),
         ColumnSpec("LIMIT_BAL", "number", min=0),
         ColumnSpec("EDUCATION", "category", values=("1", "2", "3", "4")),
         ColumnSpec("MARRIAGE", "category", values=("1", "2", "3")),
         ColumnSpec(label, "integer", min=0, max=1)),
        "ID", "order", label,
    )  # fmt: skip
    raw = read_batch(list_batches(str(path))[0], spec)
    rest = set(raw.column_names) - set(spec.names)
    table = conform(raw, spec, path.name, ignore=rest, aliases={"order": "ID"})
    check_label(table, label)
    found = {r.column: (r.rule, r.failures) for r in validate(table, spec, path.name).failed}
    assert found == {"EDUCATION": ("in set", 14 + 280 + 51), "MARRIAGE": ("in set", 54)}


def test_employment_passes_with_its_integer_year() -> None:
    path = shared_data("employment_ma/employment_MA_reference.parquet")
    spec = TableSpec(
        (ColumnSpec("id", "id"), ColumnSpec("year", "time"),
         ColumnSpec("AGEP", "number", min=0, max=120),
         ColumnSpec("SEX", "category", values=("1", "2"), personal=True),
         ColumnSpec("employed", "integer", min=0, max=1)),
        "id", "year", "employed",
    )  # fmt: skip
    raw = read_batch(list_batches(str(path))[0], spec)
    table = conform(raw, spec, path.name, ignore=set(raw.column_names) - set(spec.names))
    assert validate(table, spec, path.name).failed == ()
