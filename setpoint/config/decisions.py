"""The decisions of a project: their actions, their costs, how long they are kept, exploration."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from setpoint.config.fields import Fault, Number, PositiveDuration, Section, Whole, refuse
from setpoint.domain.exploration import MOST_EXPLORED
from setpoint.domain.metrics import Cell, CostMatrix
from setpoint.domain.rule import Rule


class Actions(Section):
    """Names of the two actions."""

    positive: str = Field("review", description="The adverse action, from the threshold on.")
    negative: str = Field("approve", description="The favourable action.")

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.positive == self.negative:
            rule = "both actions have this name; the log tells them apart by it"
            refuse("Actions", [Fault(("negative",), self.negative, rule)])
        return self


class Decisions(Section):
    """How long served decisions are kept."""

    keep: PositiveDuration | None = Field(
        None, description="Event time after which a decision is dropped; none: never."
    )


class Fallback(Section):
    """A rule of one input that decides where no model may; without a value it is adverse."""

    column: str = Field(description="One of features.columns.")
    above: Number | None = Field(None, description="Numbers above it get the adverse action.")
    below: Number | None = Field(None, description="Numbers below it get the adverse action.")
    values: tuple[str, ...] = Field((), description="Of text: these get the adverse action.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum((self.above is not None, self.below is not None, bool(self.values))) != 1:
            rule = "has one of above, below and values"
            refuse("Fallback", [Fault((), None, rule)])
        return self

    def rule(self) -> Rule:
        """The same as a domain value."""
        return Rule(self.column, self.above, self.below, self.values)


class Approval(Section):
    """Who lets a version serve that its gates let through."""

    by: Literal["auto", "person", "policy"] = Field(
        "auto", description="People by name, or the policy; auto: people where risk_tier is high."
    )
    persons: Annotated[Whole, Field(ge=1, le=2)] = Field(
        1, description="How many different people must approve; 2: four eyes."
    )
    expires: PositiveDuration = Field(
        timedelta(days=7), description="Wall time after which nobody can approve it any more."
    )


class Exploration(Section):
    """Reviews by lot, so that something is known of what the model lets pass."""

    share: Annotated[Number, Field(ge=0, le=MOST_EXPLORED)] = Field(
        0.0,
        description="Share of the decisions under the threshold that get the adverse action.",
    )


class CostCell(Section):
    """What one outcome costs: ``fixed + times * column``."""

    fixed: Number = 0.0
    column: str | None = None
    times: Number = 1.0


def _cost(value: Any) -> Any:
    return {"fixed": value} if isinstance(value, int | float) else value


Cost = Annotated[CostCell, BeforeValidator(_cost, json_schema_input_type=float | CostCell)]


class Costs(Section):
    """Money per decision, by truth and action."""

    false_negative: Cost = Field(CostCell(fixed=1.0), description="A missed positive.")
    false_positive: Cost = Field(CostCell(fixed=1.0), description="A negative acted on.")
    true_positive: Cost = Field(CostCell(), description="A positive acted on.")
    true_negative: Cost = Field(CostCell(), description="A negative left alone.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        cells = [getattr(self, name) for name in type(self).model_fields]
        if all(c == cells[0] for c in cells):
            rule = "all four costs are the same, so no action is better than the other"
            refuse("Costs", [Fault((), None, rule)])
        return self

    def matrix(self) -> CostMatrix:
        """The same as a domain value."""
        cells = {
            name: Cell(fixed=cell.fixed, column=cell.column, times=cell.times)
            for name, cell in ((n, getattr(self, n)) for n in type(self).model_fields)
        }
        return CostMatrix(**cells)
