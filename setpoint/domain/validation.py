"""What came of checking a batch: rules, how often each was broken, and a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.schema import ColumnSpec
from setpoint.errors import DataError, ValidationFailed

MAX_EXAMPLES = 5
MASK = "***"
MAX_TEXT = 60
_MAX_RULES_IN_MESSAGE = 10


def bounded(value: object, limit: int = MAX_TEXT) -> str:
    """The value as text of at most ``limit`` characters."""
    text = str(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


@dataclass(frozen=True)
class RuleResult:
    """One rule on one column of a batch.

    Attributes:
        column: Column name; ``*`` for a rule on the whole table.
        rule: Name of the rule: ``not null``, ``unique``, ``between``, ``finite``, ``in set``,
            ``null share``, ``columns``, ``row count``, ``not seen before``, ``not in the future``,
            ``two classes``.
        expected: What the project file declares, as text.
        failures: Rows that break it (columns, for ``columns``), >= 0.
        total: Rows looked at.
        examples: Up to five of the values, as bounded text with their row number; masked where
            the column is personal.
        passed: Whether the rule holds; a null share may hold with failures > 0.
    """

    column: str
    rule: str
    expected: str
    failures: int
    total: int
    examples: tuple[str, ...]
    passed: bool

    def __str__(self) -> str:
        text = (
            f"column {self.column}: {self.rule} (expected {self.expected}): "
            f"{self.failures} of {self.total} fail"
        )
        return f"{text}, e.g. {', '.join(self.examples)}" if self.examples else text


@dataclass(frozen=True)
class ValidationReport:
    """All rules of one batch.

    Attributes:
        where: Name of the batch.
        rows: Rows in it.
        results: One entry a rule, in the order of the declared columns.
        docs: The page that shows them to a person, ``None`` if none was made.
    """

    where: str
    rows: int
    results: tuple[RuleResult, ...]
    docs: Path | None = None

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """Rules that the batch breaks."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def passed(self) -> bool:
        """Whether rules were checked and all of them hold."""
        return bool(self.results) and not self.failed

    def raise_if_failed(self, quarantined: str = "") -> None:
        """Refuse a batch that breaks a rule.

        Args:
            quarantined: Where the batch was put, named in the message.

        Raises:
            ValidationFailed: A rule is broken, or none was checked.
        """
        if self.passed:
            return
        failed = self.failed
        lines = [str(result) for result in failed[:_MAX_RULES_IN_MESSAGE]]
        if len(failed) > len(lines):
            lines.append(f"and {len(failed) - len(lines)} more rules")
        kept = f"; the whole batch is kept in {quarantined}" if quarantined else ""
        what = f"{len(failed)} of {len(self.results)} rules fail{kept}\n    " + "\n    ".join(lines)
        raise ValidationFailed(
            what if failed else f"no rule was checked{kept}",
            where=self.where,
            fix="correct the batch and deliver it again, or widen the rule in data.columns of the "
            "project file"
            + (f"; this one is passed over, delete {quarantined} to have it tried again as it is")
            * bool(quarantined),
        )


def example_rows(
    values: pa.ChunkedArray, failing: pa.ChunkedArray, *, personal: bool = False
) -> tuple[str, ...]:
    """Up to five of the failing values with their row number, masked where they are personal."""

    def text(row: int) -> str:
        value = values[row].as_py()
        if value is None or value != value:  # NaN counts as missing
            return "null"
        return MASK if personal else bounded(value)

    rows = pc.indices_nonzero(failing)[:MAX_EXAMPLES].to_pylist()
    return tuple(f"{text(row)} (row {row})" for row in rows)


def judged(
    column: ColumnSpec, rule: str, expected: str, values: pa.ChunkedArray, failing: pa.ChunkedArray
) -> RuleResult:
    """The result of a rule of which it is known which values break it.

    Args:
        column: Where the values are from.
        rule: Name of the rule.
        expected: What is allowed, as text.
        values: The values.
        failing: Whether each breaks the rule, without nulls.
    """
    failures = int(pc.sum(pc.cast(failing, pa.int64())).as_py() or 0)
    shown = example_rows(values, failing, personal=column.personal) if failures else ()
    return RuleResult(column.name, rule, expected, failures, len(values), shown, not failures)


def not_seen_before(
    column: ColumnSpec, batches: Sequence[pa.ChunkedArray], known: pa.ChunkedArray
) -> list[RuleResult]:
    """Whether ids are neither known nor in an earlier one of the batches.

    Repetition within a batch is not looked at. Takes time in proportion to the number of ids.

    Args:
        column: The id column.
        batches: Ids of each batch, in order.
        known: Ids taken in before, of the same type.

    Returns:
        One result a batch.
    """
    together = pa.chunked_array([chunk for ids in batches for chunk in ids.chunks], known.type)
    first = pc.index_in(together, value_set=together)
    old = pc.is_in(together, value_set=known)
    results, start = [], 0
    for ids in batches:
        earlier = pc.less(first.slice(start, len(ids)), start)
        failing = pc.and_(pc.is_valid(ids), pc.or_(old.slice(start, len(ids)), earlier))
        rule = "not seen before"
        results.append(judged(column, rule, "each value in one batch only", ids, failing))
        start += len(ids)
    return results


def not_in_the_future(column: ColumnSpec, times: pa.ChunkedArray, latest: datetime) -> RuleResult:
    """Whether no time is later than ``latest`` (aware)."""
    failing = pc.fill_null(pc.greater(times, pa.scalar(latest, times.type)), False)
    expected = f"at most {latest:%Y-%m-%d %H:%M} UTC, the clock and a day"
    return judged(column, "not in the future", expected, times, failing)


def two_classes(
    column: ColumnSpec, labels: pa.ChunkedArray, positive: str, negative: str = ""
) -> tuple[RuleResult, str]:
    """Whether labels have one value beside the positive one; nulls are left out.

    Args:
        column: The label column.
        labels: Its values as text.
        positive: The value that counts as positive.
        negative: The other value, if known from earlier labels; none: the most frequent one.

    Returns:
        The result, and the other value (empty while there is none).
    """
    counts = Counter({v["values"]: v["counts"] for v in pc.value_counts(labels).to_pylist()})
    found = sorted(value for value in counts if value not in (None, positive))
    negative = negative or max(found, key=lambda value: counts[value], default="")
    fits = pc.is_in(labels, pa.array([positive, negative], pa.string()))
    failing = pc.and_(pc.is_valid(labels), pc.invert(fits))
    classes = sorted({positive, negative, *found} - {""})
    shown = f"{len(classes)} classes" if column.personal else ", ".join(map(repr, classes))
    expected = f"{positive!r} and one other value in all, not {bounded(shown, 200)}"
    return judged(column, "two classes", expected, labels, failing), negative


def check_label(table: pa.Table, label: str, where: str = "") -> None:
    """Make sure that there is something to learn from the label.

    Args:
        table: Rows to train on; nulls in the label are left out of the count.
        label: Name of the label column.
        where: Name of the batch or snapshot, for the message.

    Raises:
        DataError: The column is missing, all null, or holds one value only.
    """
    place = f"{where}, column {label}" if where else f"column {label}"
    if label not in table.column_names:
        raise DataError(
            f"the label is missing; the columns are {bounded(', '.join(table.column_names), 300)}",
            where=place,
            fix="correct target.column in the project file, or give data.labels",
        )
    values = pc.unique(table[label]).to_pylist()
    known = [value for value in values if value is not None and value == value]
    if len(known) >= 2:
        return
    found = f"the label is {bounded(repr(known[0]))} in every row" if known else "no label is known"
    raise DataError(
        f"{found} ({table.num_rows} rows): nothing can be learned from it",
        where=place,
        fix="deliver rows of both outcomes, or check target.column in the project file",
    )
