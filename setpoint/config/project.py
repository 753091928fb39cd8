"""The project file as a whole, and what the domain gets of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import GenerateJsonSchema

from setpoint.config.access import Access
from setpoint.config.data import Data, Target
from setpoint.config.decisions import Actions, Approval, Costs, Decisions, Exploration, Fallback
from setpoint.config.documents import Documents
from setpoint.config.features import Features
from setpoint.config.fields import Fault, Name, Section, refuse
from setpoint.config.gates import Gates
from setpoint.config.notify import Notify
from setpoint.config.policies import Package, Release, Respond, Setpoint, Train, Watch
from setpoint.config.references import input_faults, monotone_faults, reference_faults
from setpoint.domain.access import Policy, undeclared
from setpoint.domain.features import DelayedRisk, FeatureSpec, WindowFeature, duration_label
from setpoint.domain.rule import Rule
from setpoint.domain.schema import ColumnSpec, TableSpec


class Owner(Section):
    """Who answers for the model."""

    team: str = Field(description="Team that owns the model.")
    contact: str = Field(description="Where a person of the team is reached.")


class Project(Section):
    """The project file: the one thing a user writes for their own model."""

    version: Literal[1] = 1
    name: Name = Field(description="Name of the model; lower case, used in paths and tags.")
    description: str = ""
    owner: Owner
    risk_tier: Literal["minimal", "limited", "high"] = "limited"
    data: Data
    target: Target
    actions: Actions = Actions()
    costs: Costs = Costs()
    decisions: Decisions = Decisions()
    exploration: Exploration = Exploration()
    fallback: Fallback | None = Field(
        None, description="Rule that decides where no model may; none: there is none."
    )
    features: Features
    setpoints: dict[Name, Setpoint] = Field(min_length=1)
    train: Train = Train()
    gates: Gates = Gates()
    approval: Approval = Approval()
    package: Package = Package()
    release: Release = Release()
    watch: Watch = Watch()
    respond: Respond = Respond()
    notify: Notify = Notify()
    access: Access | None = None
    documents: Documents = Documents()

    @model_validator(mode="after")
    def _references(self) -> Self:
        refuse(
            "Project",
            reference_faults(
                self.data, self.target, self.costs, self.features, self.gates, self.release
            ),
        )
        spec = self.feature_spec()
        refuse("Project", input_faults(spec.names))
        declared = list(self.gates.explainability.monotone)
        refuse("Project", monotone_faults(declared, spec.number_names))
        own = [*self._keep_faults(), *self._fallback_faults(), *self._tier_faults()]
        own += self._approval_faults()
        refuse("Project", own)
        return self

    def _tier_faults(self) -> list[Fault]:
        """A model that Annex III 5(b) of the EU AI Act names is high-risk."""
        if self.documents.use != "credit_scoring" or self.risk_tier == "high":
            return []
        rule = "must be high: documents.use is credit_scoring"
        return [Fault(("risk_tier",), self.risk_tier, rule)]

    def _approval_faults(self) -> list[Fault]:
        """What is of high risk is let through by people (Article 14 of the EU AI Act)."""
        if self.risk_tier != "high" or self.approval.by != "policy":
            return []
        rule = "must be auto or person: risk_tier is high, and then people approve each version"
        return [Fault(("approval", "by"), self.approval.by, rule)]

    def _keep_faults(self) -> list[Fault]:
        keep, needed = self.decisions.keep, self.watch.window + self.label_age
        if keep is None or keep >= needed:
            return []
        short, long = (duration_label(int(d.total_seconds())) for d in (keep, needed))
        rule = f"must be {long} or longer: watch.window and the age at which labels are judged"
        return [Fault(("decisions", "keep"), short, rule)]

    def _fallback_faults(self) -> list[Fault]:
        if self.fallback is None:
            asks = [c for c, action in self.respond if action == "fall_back"]
            rule = "needs a fallback: declare the rule"
            return [Fault(("respond", cause), "fall_back", rule) for cause in asks]
        spec, told = self.feature_spec(), self.fallback
        fit = spec.categories if told.values else spec.numbers
        if told.column in fit:
            return []
        kind = "text" if told.values else "numbers"
        there = ", ".join(fit) or "none"
        rule = f"is no input of {kind} in features.columns; there are: {there}"
        return [Fault(("fallback", "column"), told.column, rule)]

    @property
    def asks_people(self) -> bool:
        """Whether a version serves only once people have approved it."""
        by = self.approval.by
        return by == "person" or (by == "auto" and self.risk_tier == "high")

    def rule(self) -> Rule | None:
        """The fallback rule as a domain value; ``None`` where none is declared."""
        return None if self.fallback is None else self.fallback.rule()

    def feature_spec(self) -> FeatureSpec:
        """The declared features as a domain value."""
        kinds = {name: column.type for name, column in self.data.columns.items()}
        numeric = {"number", "integer", "boolean"}
        return FeatureSpec(
            event_id=self.data.event_id,
            event_time=self.data.event_time,
            entities=dict(self.data.entities),
            numbers=tuple(c for c in self.features.columns if kinds[c] in numeric),
            categories=tuple(c for c in self.features.columns if kinds[c] not in numeric),
            calendar=self.features.calendar,
            windows=tuple(
                WindowFeature(
                    w.entity, how, int(over.total_seconds()), w.column if how != "count" else ""
                )
                for w in self.features.windows
                for over in w.over
                for how in w.compute
            ),
            risks=tuple(
                DelayedRisk(r.entity, int(over.total_seconds()), int(r.delay.total_seconds()))
                for r in self.features.risks
                for over in r.over
            ),
        )

    def events_spec(self) -> TableSpec:
        """Columns of a batch of events, the label among them if it comes along."""
        label = "" if self.data.labels else self.target.column
        names = tuple(c for c in self.data.columns if label or c != self.target.column)
        return self._table(names, label)

    def request_spec(self) -> TableSpec:
        """Columns of a request: those of an event without the label."""
        return self._table(tuple(c for c in self.data.columns if c != self.target.column), "")

    def _table(self, names: tuple[str, ...], label: str) -> TableSpec:
        columns = tuple(
            ColumnSpec(
                name=name,
                kind=c.type,
                min=c.min,
                max=c.max,
                values=c.values,
                nullable=c.nullable,
                personal=c.personal,
                max_null_share=c.max_null_share,
            )
            for name, c in ((n, self.data.columns[n]) for n in names)
        )
        return TableSpec(columns, self.data.event_id, self.data.event_time, label)

    def sources(self) -> dict[str, str]:
        """Columns that have another name in the files, with that name."""
        return {n: c.source for n, c in self.data.columns.items() if c.source is not None}

    def access_policy(self) -> Policy:
        """Who may do what; where nobody is named, see ``undeclared``."""
        if self.access is None:
            return undeclared(high_risk=self.risk_tier == "high")
        return self.access.policy()

    @property
    def sticky_column(self) -> str:
        """Column by which traffic is sticky and by which holdout rows are chosen."""
        return next(iter(self.data.entities.values()), self.data.event_id)

    @property
    def label_age(self) -> timedelta:
        """Age from which decisions are judged on their labels."""
        return self.target.delay if self.watch.label_age is None else self.watch.label_age


class _Schema(GenerateJsonSchema):
    """Writes the default of a duration as the project file does."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return duration_label(int(dft.total_seconds()))
        return super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the project file, for editors."""
    return Project.model_json_schema(schema_generator=_Schema)
