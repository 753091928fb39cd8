"""How a bundle decides (``decision.json``), and whether its parts fit together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from setpoint.domain.exploration import MOST_EXPLORED
from setpoint.domain.features import FeatureSpec
from setpoint.domain.schema import TableSpec
from setpoint.errors import BundleError


@dataclass(frozen=True)
class Knots:
    """A monotone calibration map, applied with ``numpy.interp``.

    Attributes:
        x: Raw probabilities, strictly increasing, 0 to 1.
        y: Calibrated probabilities at ``x``, never falling, 0 to 1.
    """

    x: tuple[float, ...] = (0.0, 1.0)
    y: tuple[float, ...] = (0.0, 1.0)


@dataclass(frozen=True)
class DecisionSpec:
    """How a raw probability becomes an action and its reasons.

    Attributes:
        threshold: Calibrated score from which the positive action is taken, 0 to 1.
        actions: What is answered: keys ``positive`` (the adverse action) and ``negative``.
        baselines: A typical value of every model input, put in its place for reason codes;
            ``None`` for a missing one.
        knots: The calibration map; the identity by default.
        reasons: What a reason code means, for people, by feature name.
        exploration: Share of the decisions under the threshold that get the positive action all
            the same, 0 to ``MOST_EXPLORED``; 0: none, and so in bundles that do not say.
    """

    threshold: float
    actions: dict[str, str]
    baselines: dict[str, float | str | None]
    knots: Knots = Knots()
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    exploration: float = 0.0


def request_table(table: TableSpec) -> TableSpec:
    """``table`` as a request has it: without the label."""
    columns = tuple(column for column in table.columns if column.name != table.label)
    return dataclasses.replace(table, columns=columns, label="")


def check_parts(
    features: FeatureSpec, table: TableSpec, decision: DecisionSpec, created_at: datetime
) -> None:
    """Check that the parts of a bundle fit together.

    Raises:
        BundleError: They do not; it names the field.
    """
    for problem in _problems(features, table, decision, created_at):
        raise BundleError(problem, where="bundle", fix="correct the part named and package again")


def _problems(
    features: FeatureSpec, table: TableSpec, decision: DecisionSpec, created_at: datetime
) -> list[str]:
    needed = {features.event_id, features.event_time, *features.entities.values()}
    needed |= {*features.numbers, *features.categories, table.event_id, table.event_time}
    needed |= {window.column for window in features.windows if window.column}
    problems = [
        f"schema.json lacks the column {name!r}" for name in sorted(needed - {*table.names})
    ]
    problems += [
        f"decision.json baselines lack the feature {name!r}"
        for name in features.names
        if name not in decision.baselines
    ]
    if (features.event_id, features.event_time) != (table.event_id, table.event_time):
        problems.append("features.json and schema.json name different event_id or event_time")
    problems += [
        f"schema.json column {column.name!r} is of kind {column.kind}, the event time needs 'time'"
        for column in table.columns
        if column.name == features.event_time and column.kind != "time"
    ]
    if set(decision.actions) != {"positive", "negative"}:
        problems.append(
            f"decision.json actions are {sorted(decision.actions)}, not positive and negative"
        )
    if not 0 <= decision.threshold <= 1:
        problems.append(f"decision.json threshold is {decision.threshold}, not 0 to 1")
    if not 0 <= decision.exploration <= MOST_EXPLORED:
        problems.append(
            f"decision.json exploration is {decision.exploration}, not 0 to {MOST_EXPLORED}"
        )
    if created_at.tzinfo is None:
        problems.append(f"manifest.json created_at {created_at} has no time zone")
    return problems + _knot_problems(decision.knots)


def _knot_problems(knots: Knots) -> list[str]:
    x, y = knots.x, knots.y
    if not x or len(x) != len(y):
        return [f"decision.json knots have {len(x)} x and {len(y)} y, not as many and at least 1"]
    if not all(0 <= value <= 1 for value in (*x, *y)):
        return ["decision.json knots are not all within 0 to 1"]
    if any(a >= b for a, b in pairwise(x)):
        return ["decision.json knots x are not strictly increasing"]
    if any(a > b for a, b in pairwise(y)):
        return ["decision.json knots y fall somewhere"]
    return []
