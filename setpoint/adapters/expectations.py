"""Great Expectations: the declared columns as a suite, run on a batch, with a page to read.

The client is told to return counts only in short form; examples are fetched here, five a rule,
because its complete form took 25 s and 42 MB on a million rows.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.validation import (
    MASK,
    MAX_EXAMPLES,
    RuleResult,
    ValidationReport,
    bounded,
    example_rows,
)
from setpoint.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_LOCK = threading.Lock()  # the client keeps its project in a global
_LARGEST = sys.float_info.max

Failing = Callable[[pa.ChunkedArray], pa.ChunkedArray]


@dataclass(frozen=True)
class _Rule:
    """One rule: what the client is asked, and which values break it (nulls do not count)."""

    column: str
    name: str
    expected: str
    expectation: str
    arguments: dict[str, Any]
    failing: Failing | None = None
    personal: bool = False


def validate(
    table: pa.Table, spec: TableSpec, where: str, docs_dir: Path | str | None = None
) -> ValidationReport:
    """Check a batch against the declared columns. Bad data are a result, not an error.

    Args:
        table: Rows of the batch, usually conformed.
        spec: Declared columns.
        where: Name of the batch; the page is named after it.
        docs_dir: Folder in which the page is kept; ``None`` for no page.

    Returns:
        One result a rule, in the order of the declared columns.

    Raises:
        DataError: The page cannot be written.
    """
    rules = _rules(spec, table)
    with _LOCK:
        outcome = _run(table, rules)
        by_rule = {int(r.expectation_config.meta["rule"]): r for r in outcome.results}
        results = tuple(_result(table, rule, by_rule[i]) for i, rule in enumerate(rules))
        _mask_values(rules, by_rule)
        docs = _write_page(outcome, where, Path(docs_dir)) if docs_dir is not None else None
    return ValidationReport(where, table.num_rows, results, docs)


def _rules(spec: TableSpec, table: pa.Table) -> list[_Rule]:
    names = list(spec.names)
    rules = [
        _Rule("*", "row count", "at least 1", "ExpectTableRowCountToBeBetween", {"min_value": 1}),
        _Rule(
            "*",
            "columns",
            bounded(", ".join(names), 200),
            "ExpectTableColumnsToMatchSet",
            {"column_set": names, "exact_match": True},
        ),
    ]
    for column in spec.columns:
        # A missing or double column is reported once, by the rule on the whole table.
        if table.column_names.count(column.name) == 1:
            rules += _column_rules(column, unique=column.name == spec.event_id)
    return rules


def _column_rules(column: ColumnSpec, *, unique: bool) -> list[_Rule]:
    def rule(name: str, expected: str, kind: str, failing: Failing, **more: Any) -> _Rule:
        arguments = {"column": column.name, **more}
        return _Rule(column.name, name, expected, kind, arguments, failing, column.personal)

    rules = []
    if unique or not column.nullable:
        rules.append(rule("not null", "no null", "ExpectColumnValuesToNotBeNull", _is_null))
    elif column.max_null_share < 1:
        share = column.max_null_share
        kind = "ExpectColumnValuesToNotBeNull"
        rules.append(rule("null share", f"at most {share:g}", kind, _is_null, mostly=1 - share))
    if unique:
        rules.append(
            rule("unique", "each value once", "ExpectColumnValuesToBeUnique", _is_repeated)
        )
    if column.kind in ("number", "integer"):
        low, high = _bounds(column)
        bounded_by = column.min is not None or column.max is not None
        name = "between" if bounded_by else "finite"
        expected = f"{_edge(column.min)} to {_edge(column.max)}" if bounded_by else "finite"
        kind = "ExpectColumnValuesToBeBetween"
        fails = _outside(low, high)
        if bounded_by or column.kind == "number":
            rules.append(rule(name, expected, kind, fails, min_value=low, max_value=high))
    if column.values and column.kind == "category":
        values = list(column.values)
        text = bounded(", ".join(values), 200)
        kind = "ExpectColumnValuesToBeInSet"
        rules.append(rule("in set", text, kind, _outside_set(values), value_set=values))
    return rules


def _bounds(column: ColumnSpec) -> tuple[float, float]:
    """Bounds that infinity breaks even where none is declared."""
    low = -_LARGEST if column.min is None else column.min
    return low, _LARGEST if column.max is None else column.max


def _edge(value: float | None) -> str:
    return "any" if value is None else f"{value:.15g}"


def _is_null(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_null(values, nan_is_null=pa.types.is_floating(values.type))


def _is_repeated(values: pa.ChunkedArray) -> pa.ChunkedArray:
    counts = pc.value_counts(values)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    return pc.and_(pc.is_valid(values), pc.is_in(values, pc.drop_null(repeated)))


def _outside(low: float, high: float) -> Failing:
    def failing(values: pa.ChunkedArray) -> pa.ChunkedArray:
        # Comparing with NaN is false on both sides: NaN counts as missing, not as outside.
        return pc.or_(pc.less(values, low), pc.greater(values, high))

    return failing


def _outside_set(allowed: list[str]) -> Failing:
    def failing(values: pa.ChunkedArray) -> pa.ChunkedArray:
        inside = pc.is_in(values, pa.array(allowed, pa.string()))
        return pc.and_(pc.is_valid(values), pc.invert(inside))

    return failing


def _frame(table: pa.Table) -> pd.DataFrame:
    """To pandas, integers and booleans kept exact where there are nulls."""
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}

    def mapper(kind: pa.DataType) -> Any:
        return nullable.get(kind)

    return table.to_pandas(types_mapper=mapper)


def _run(table: pa.Table, rules: list[_Rule]) -> Any:
    # Read by the client when it is imported: nothing about the data leaves the machine.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = context.suites.add(gx.ExpectationSuite(name="declared columns"))
    suite.expectations = [
        getattr(gxe, rule.expectation)(**rule.arguments, meta={"rule": number})
        for number, rule in enumerate(rules)
    ]
    asset = context.data_sources.add_pandas("batch").add_dataframe_asset("batch")
    definition = asset.add_batch_definition_whole_dataframe("batch")
    batch = definition.get_batch({"dataframe": _frame(table)})
    return batch.validate(suite, result_format="BASIC")


def _result(table: pa.Table, rule: _Rule, outcome: Any) -> RuleResult:
    passed, found = bool(outcome.success), outcome.result
    if rule.name == "columns":
        wrong = found.get("details", {}).get("mismatched", {})
        words = [f"missing {name}" for name in wrong.get("missing", ())]
        words += [f"not declared {name}" for name in wrong.get("unexpected", ())]
        names = table.column_names
        words += [f"double {name}" for name in sorted(set(names)) if names.count(name) > 1]
        passed = passed and not words
        examples = tuple(bounded(word) for word in words[:MAX_EXAMPLES])
        declared = len(rule.arguments["column_set"])
        return RuleResult("*", rule.name, rule.expected, len(words), declared, examples, passed)
    if rule.failing is None:
        return RuleResult("*", rule.name, rule.expected, 0 if passed else 1, 1, (), passed)
    rows = table.num_rows
    if "unexpected_count" not in found:
        # The rule could not be computed, e.g. text where numbers are declared: it does not hold.
        kind = (f"values of type {table.schema.field(rule.column).type}",)
        passed = passed and rows == 0
        return RuleResult(rule.column, rule.name, rule.expected, rows, rows, kind, passed)
    failures = int(found["unexpected_count"])
    examples = _examples(table[rule.column], rule) if failures else ()
    return RuleResult(rule.column, rule.name, rule.expected, failures, rows, examples, passed)


def _examples(values: pa.ChunkedArray, rule: _Rule) -> tuple[str, ...]:
    assert rule.failing is not None
    try:
        failing = pc.fill_null(rule.failing(values), False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return (f"values of type {values.type}",)  # not the declared type at all
    return example_rows(values, failing, personal=rule.personal)


def _mask_values(rules: list[_Rule], by_rule: dict[int, Any]) -> None:
    """Take personal values out of what the page will show."""
    for number, rule in enumerate(rules):
        if not rule.personal:
            continue
        outcome = by_rule[number]
        for key in [key for key in outcome.result if key.startswith("partial_unexpected")]:
            outcome.result[key] = [MASK for _ in outcome.result[key]]
        if "unexpected_count" not in outcome.result:
            # What the client says of a failed computation may quote values.
            outcome.exception_info = {
                "raised_exception": True,
                "exception_message": "the rule could not be computed on this column",
                "exception_traceback": None,
            }


def _write_page(outcome: Any, where: str, folder: Path) -> Path:
    # The client's site builder, run on a fresh context, deletes the pages of earlier batches;
    # its page renderer is used on its own instead, one file a batch.
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    view: Any = DefaultJinjaPageView()
    html = view.render(ValidationResultsPageRenderer().render(outcome))
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", where).strip("._")[-80:] or "batch"
    path = folder / f"{slug}-{hashlib.sha256(where.encode()).hexdigest()[:8]}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the validation page cannot be written: {error.strerror}",
            where=str(path),
            fix="check that the folder is writable and has space",
        ) from error
    return path
