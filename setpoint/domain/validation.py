"""What came of checking a batch: rules, how often each was broken, and a few examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.errors import DataError, ValidationFailed

MAX_EXAMPLES = 5
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
            ``null share``, ``columns``, ``row count``.
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
            fix="correct the batch and deliver it again under a new name, or widen the rule in "
            "data.columns of the project file",
        )


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
