"""What a candidate must show: a section for each gate."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from setpoint.config.fields import Duration, ErrorRate, Fault, Number, Section, Share, Whole, refuse
from setpoint.domain.gates.fairness import SmallGroups

Metric = Literal[
    "equal_opportunity_ratio", "false_positive_ratio", "adverse_ratio", "favourable_ratio"
]
_OLD_NAMES = {"selection_ratio": "adverse_ratio"}
"""Names of metrics that files may still have, with what they mean."""


def _metrics(value: Any) -> Any:
    listed = (value,) if isinstance(value, str) else value
    if not isinstance(listed, (tuple, list)):
        return listed
    return tuple(_OLD_NAMES.get(v, v) if isinstance(v, str) else v for v in listed)


_ONE_METRIC: dict[str, Any] = {"enum": [*get_args(Metric), *_OLD_NAMES]}
Metrics = Annotated[
    tuple[Metric, ...],
    Field(min_length=1),
    BeforeValidator(_metrics),
    WithJsonSchema(
        {"anyOf": [_ONE_METRIC, {"type": "array", "items": _ONE_METRIC, "minItems": 1}]}
    ),
]


Mitigation = Literal["reweigh", "threshold"]


def _mitigations(value: Any) -> Any:
    if isinstance(value, str):
        return () if value == "none" else (value,)
    return value


Mitigations = Annotated[
    tuple[Mitigation, ...],
    BeforeValidator(_mitigations),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", *get_args(Mitigation)]},
                {"type": "array", "items": {"enum": [*get_args(Mitigation)]}},
            ]
        }
    ),
]


class Fairness(Section):
    """The fairness gate, on each protected column and on their crossing."""

    metric: Metrics = Field(
        ("equal_opportunity_ratio",), description="One ratio or several; all must hold."
    )
    floor: Share = Field(0.8, description="Smallest ratio of the worst to the best group.")
    min_group: Annotated[Whole, Field(ge=1)] = Field(
        30, description="Smallest group (positives, negatives or rows) that is judged by itself."
    )
    small_groups: SmallGroups = Field(
        "inconclusive", description="What a smaller group does: keep the gate shut, or be named."
    )
    intersectional: bool = Field(
        True, description="Whether the crossing of all protected columns is judged, too."
    )
    mitigation: Mitigations = Field(
        (), description="What is tried, one after the other, where fairness alone refuses."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name in ("metric", "mitigation"):
            listed = getattr(self, name)
            twice = [one for one in listed if listed.count(one) > 1]
            if twice:
                rule = f"declares {twice[0]} more than once"
                refuse("Fairness", [Fault((name,), list(listed), rule)])
        return self


class Explainability(Section):
    """What drives the decisions, and whether the explanation can be believed."""

    max_share: Share = Field(0.9, description="No feature may carry more of the importance.")
    forbidden: tuple[str, ...] = Field((), description="Columns that must not drive a decision.")
    max_forbidden_share: Share = 0.05
    proxy_ceiling: Annotated[Number, Field(ge=0.5, le=1)] = Field(
        0.8, description="AUC with which an input may tell a protected group; above, it is a proxy."
    )
    max_useless: Share = Field(
        0.5, description="Share of the features that may carry under a thousandth each."
    )
    second_opinion: Share = Field(
        0.5, description="Agreement of SHAP with local surrogates that is needed."
    )
    max_random: Share = Field(
        0.5, description="Agreement with explanations of models of shuffled labels allowed."
    )
    stability: Share = Field(
        0.2, description="Agreement of what drives challenger and champion that is needed."
    )
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        default_factory=dict, description="Inputs with which the score only rises, or only falls."
    )
    monotone_slack: Share = Field(
        0.01, description="Move of the score against the direction that does not count."
    )
    max_violations: Share = Field(
        0.05, description="Share of rows whose score may move against the direction."
    )


class Bound(Section):
    """How far a client may move one column of its request without being found out."""

    relative: Share = Field(0.0, description="Share of its value.")
    absolute: Annotated[Number, Field(ge=0)] = Field(
        0.0, description="The same in its unit; the larger of both counts."
    )
    any: bool = Field(False, description="Any category that the rows that judge have.")

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.any == bool(self.relative or self.absolute):
            raise ValueError("a bound has a relative or absolute size, or is any: true")
        return self


class Robustness(Section):
    """The robustness gate: inputs that are a little off, attacked, missing or absurd."""

    bounds: dict[str, Bound] = Field(
        default_factory=dict, description="By column of the request, where not the default."
    )
    max_flips: Share | None = Field(
        0.05, description="Rows whose action may flip as numbers move within bounds; none: any."
    )
    max_evaded: Share | None = Field(
        0.3, description="Positives acted on that an attacker may get through; none: any."
    )
    budget: Annotated[Whole, Field(ge=1, le=10)] = Field(
        2, description="Inputs that the attacker changes, each within its bounds."
    )
    max_missing: Share | None = Field(
        0.5, description="Actions that may change where one input is missing; none: any."
    )
    sample: Annotated[Whole, Field(ge=100, le=100_000)] = Field(
        1000, description="Rows that are tried, at most."
    )


class QualityBudget(Section):
    """How often the model may break its setpoints before only a cure is promoted."""

    windows: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        30, description="Newest windows that count."
    )
    failed: Annotated[Whole, Field(ge=0)] = Field(
        10, description="Of these, how many may fail; all of them: the budget is never spent."
    )

    @model_validator(mode="after")
    def _of_them(self) -> Self:
        if self.failed > self.windows:
            rule = f"at most all windows: {self.windows}"
            refuse("QualityBudget", [Fault(("failed",), self.failed, rule)])
        return self


class Reuse(Section):
    """What it costs to hold one candidate after the other against the champion on the same rows."""

    fresh: Annotated[Share, Field(gt=0)] = Field(
        0.5, description="Share of rows unseen by a candidate from which on it does not count."
    )
    candidates: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        20, description="Candidates on the same rows; a further one needs fresh data."
    )


class Slices(Section):
    """Where a challenger must not be worse than the champion."""

    columns: tuple[str, ...] = Field((), description="Columns whose values are slices.")
    max_worse: Share = Field(0.1, description="Share by which a slice may cost more.")
    min_group: Annotated[Whole, Field(ge=20)] = Field(
        200, description="Smallest slice that is judged, and that is looked for."
    )
    small_groups: SmallGroups = Field(
        "inconclusive",
        description="What a smaller declared slice does: shut the gate, or be named.",
    )


class Baseline(Section):
    """The simpler way that a candidate must beat."""

    model: Literal["rule", "logistic", "none"] = "rule"
    error_rate: ErrorRate = Field(
        0.2, description="Chance that a candidate no cheaper than the simpler way passes."
    )


class Overfit(Section):
    """How much better a candidate may be on the rows it was fitted on."""

    max_gap: Share = Field(0.3, description="ROC AUC on rows that train less that on others.")


class CalibrationLimit(Section):
    """How far probabilities may be off."""

    max_error: Share = Field(0.1, description="Distance of a probability from the share seen.")


class Dependencies(Section):
    """What is known against the packages that train and serve."""

    advisories: Path | None = Field(
        None, description="JSON list of OSV records, beside the project file; none: not asked."
    )
    max_age: Duration = Field(
        timedelta(days=30), description="Age of its newest record; an older file says nothing."
    )
    allow: tuple[str, ...] = Field((), description="Ids of advisories that are put up with.")


class Gates(Section):
    """What a candidate must show before it may serve."""

    error_rate: ErrorRate = Field(0.01, description="Chance of promoting an equally good model.")
    setpoint_error_rate: ErrorRate = Field(
        0.05, description="Chance that a model just under a setpoint passes its gate."
    )
    min_sample: Annotated[Whole, Field(ge=10)] = Field(200, description="Rows a gate needs.")
    reviewed: bool = Field(
        False, description="Whether a person must have read the project file: 'setpoint review'."
    )
    fairness: Fairness = Fairness()
    explainability: Explainability = Explainability()
    robustness: Robustness = Robustness()
    quality_budget: QualityBudget = QualityBudget()
    dependencies: Dependencies = Dependencies()
    reuse: Reuse = Reuse()
    slices: Slices = Slices()
    baseline: Baseline = Baseline()
    overfit: Overfit = Overfit()
    calibration: CalibrationLimit = CalibrationLimit()
    max_auc_loss: Share = Field(
        0.01, description="ROC AUC that may be lost to the champion, where it is a setpoint."
    )
