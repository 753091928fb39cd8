"""What a candidate must show: a section for each gate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from setpoint.config.fields import ErrorRate, Fault, Section, Share, Whole, refuse


class Fairness(Section):
    """The fairness gate, on each protected column."""

    metric: Literal["equal_opportunity_ratio", "selection_ratio"] = "equal_opportunity_ratio"
    floor: Share = Field(0.8, description="Smallest ratio of the worst to the best group.")
    min_group: Annotated[Whole, Field(ge=1)] = Field(
        30, description="Smallest group (positives, or rows for selection) that is judged."
    )


class Explainability(Section):
    """The explainability gate."""

    max_share: Share = Field(0.9, description="No feature may carry more of the importance.")
    forbidden: tuple[str, ...] = Field((), description="Columns that must not drive a decision.")
    max_forbidden_share: Share = 0.05


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


class Gates(Section):
    """What a candidate must show before it may serve."""

    error_rate: ErrorRate = Field(0.01, description="Chance of promoting an equally good model.")
    setpoint_error_rate: ErrorRate = Field(
        0.05, description="Chance that a model just under a setpoint passes its gate."
    )
    min_sample: Annotated[Whole, Field(ge=10)] = Field(200, description="Rows a gate needs.")
    fairness: Fairness = Fairness()
    explainability: Explainability = Explainability()
    quality_budget: QualityBudget = QualityBudget()
