"""The project file ``setpoint.yaml``, typed; and the environment, read nowhere else.

Every model is frozen and forbids extras. An error names the line, the field, the value and what
is allowed.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from setpoint.domain.features import (
    CalendarPart,
    DelayedRisk,
    FeatureSpec,
    WindowFeature,
    duration_label,
)
from setpoint.domain.metrics import Cell, CostMatrix
from setpoint.domain.schema import ColumnKind, ColumnSpec, TableSpec
from setpoint.errors import ProjectFileError

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(s|m|h|d)$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """Read ``"90s"``, ``"15m"``, ``"12h"`` or ``"7d"``.

    Raises:
        ValueError: The value is none of these.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError("a duration is a number and a unit: 90s, 15m, 12h or 7d")
    try:
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError as err:
        raise ValueError("a duration is at most 999999999d") from err


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(lambda d: duration_label(int(d.total_seconds())), return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["7d", "12h"]}),
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Share = Annotated[float, Field(ge=0, le=1)]
ErrorRate = Annotated[float, Field(gt=0, le=0.2)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Addresses = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Owner(_Section):
    """Who answers for the model."""

    team: str = Field(description="Team that owns the model.")
    contact: str = Field(description="Where a person of the team is reached.")


class Column(_Section):
    """What one column of the data must look like."""

    type: ColumnKind = Field(description="number, integer, category, id, time or boolean")
    source: str | None = Field(
        None, description="Column of the files it is read from, if it has another name there."
    )
    min: float | None = Field(None, description="Smallest value allowed, inclusive.")
    max: float | None = Field(None, description="Largest value allowed, inclusive.")
    values: tuple[str, ...] = Field((), description="Allowed categories; none listed: any.")
    nullable: bool = Field(False, description="Whether null is allowed.")
    max_null_share: Share = Field(1.0, description="Largest share of nulls in a batch.")
    personal: bool = Field(False, description="Names a person; masked in messages and reports.")

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Data(_Section):
    """Where the data are and what their columns mean."""

    events: Addresses = Field(
        description="Folder, file or s3:// address of the events, or several."
    )
    labels: Addresses = Field((), description="The same for labels that come separately.")
    ignore: tuple[str, ...] = Field((), description="Columns in the files that are left out.")
    snapshots: str | None = Field(
        None, description="Folder or s3:// address of the snapshots; none: in the state folder."
    )
    event_id: str = Field(description="Column that identifies a row.")
    event_time: str = Field(description="Column of the event time.")
    entities: dict[Name, str] = Field(
        default_factory=dict,
        description="Entity name to its column; traffic is sticky by the first.",
    )
    protected: tuple[str, ...] = Field((), description="Columns of protected groups.")
    columns: dict[str, Column] = Field(description="Every column of the events.")


class Target(_Section):
    """What is predicted, and when the truth is known."""

    column: str = Field(description="Label column, in the events or in the labels.")
    positive: str = Field("1", description="Value that counts as positive.")
    delay: Duration = Field(timedelta(0), description="Age from which labels are complete.")
    unlabelled: Literal["negative", "drop"] = Field(
        "drop", description="What a row older than the delay without a label counts as."
    )


class Actions(_Section):
    """Names of the two actions."""

    positive: str = Field("review", description="The adverse action, from the threshold on.")
    negative: str = Field("approve", description="The favourable action.")


class CostCell(_Section):
    """What one outcome costs: ``fixed + times * column``."""

    fixed: float = 0.0
    column: str | None = None
    times: float = 1.0


def _cost(value: Any) -> Any:
    return {"fixed": value} if isinstance(value, int | float) else value


Cost = Annotated[CostCell, BeforeValidator(_cost)]


class Costs(_Section):
    """Money per decision, by truth and action."""

    false_negative: Cost = Field(CostCell(fixed=1.0), description="A missed positive.")
    false_positive: Cost = Field(CostCell(fixed=1.0), description="A negative acted on.")
    true_positive: Cost = Field(CostCell(), description="A positive acted on.")
    true_negative: Cost = Field(CostCell(), description="A negative left alone.")

    def matrix(self) -> CostMatrix:
        """The same as a domain value."""
        cells = {
            name: Cell(fixed=cell.fixed, column=cell.column, times=cell.times)
            for name, cell in ((n, getattr(self, n)) for n in type(self).model_fields)
        }
        return CostMatrix(**cells)


class Window(_Section):
    """Aggregates of a column over an entity's recent events."""

    entity: str
    column: str = ""
    compute: tuple[Literal["count", "mean", "sum", "max"], ...] = ("count",)
    over: tuple[PositiveDuration, ...]


class Risk(_Section):
    """Share of an entity's positives in windows that ended ``delay`` ago."""

    entity: str
    over: tuple[PositiveDuration, ...]
    delay: Duration


class Features(_Section):
    """All inputs of the model."""

    columns: tuple[str, ...] = Field((), description="Columns passed on as they are.")
    calendar: tuple[CalendarPart, ...] = ()
    windows: tuple[Window, ...] = ()
    risks: tuple[Risk, ...] = ()


class Setpoint(_Section):
    """One thing the model must hold."""

    metric: Literal["recall", "precision", "roc_auc", "alert_rate", "cost_per_decision"]
    floor: float | None = None
    ceiling: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.floor is None) == (self.ceiling is None):
            raise ValueError("a setpoint has either a floor or a ceiling")
        return self


class Train(_Section):
    """How a model is trained."""

    history: PositiveDuration | None = Field(None, description="How far back; none: everything.")
    holdout: Annotated[float, Field(ge=0.05, le=0.5)] = Field(
        0.3, description="Share of entities that never train a model and judge all of them."
    )
    judge_recent: Share = Field(
        0.3, description="Latest share of the event time on which models are judged."
    )
    trials: Annotated[int, Field(ge=1, le=500)] = Field(6, description="Optuna trials.")
    max_iter: Annotated[int, Field(ge=10, le=2000)] = Field(120, description="Trees, at most.")
    seed: int = 0


class Fairness(_Section):
    """The fairness gate, on each protected column."""

    metric: Literal["equal_opportunity_ratio", "selection_ratio"] = "equal_opportunity_ratio"
    floor: Share = Field(0.8, description="Smallest ratio of the worst to the best group.")
    min_group: Annotated[int, Field(ge=1)] = Field(
        30, description="Smallest group (positives, or rows for selection) that is judged."
    )


class Explainability(_Section):
    """The explainability gate."""

    max_share: Share = Field(0.9, description="No feature may carry more of the importance.")
    forbidden: tuple[str, ...] = Field((), description="Columns that must not drive a decision.")
    max_forbidden_share: Share = 0.05


class Gates(_Section):
    """What a candidate must show before it may serve."""

    error_rate: ErrorRate = Field(0.01, description="Chance of promoting an equally good model.")
    setpoint_error_rate: ErrorRate = Field(
        0.05, description="Chance that a model just under a setpoint passes its gate."
    )
    min_sample: Annotated[int, Field(ge=10)] = Field(200, description="Rows a gate needs.")
    fairness: Fairness = Fairness()
    explainability: Explainability = Explainability()


class Release(_Section):
    """How a challenger takes over."""

    strategy: Literal["canary"] = "canary"
    shadow_requests: Annotated[int, Field(ge=0)] = Field(200, description="Mirrored requests.")
    steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (5, 25, 50, 100)
    step_requests: Annotated[int, Field(ge=1)] = Field(
        50, description="Requests the challenger answers at each step before it is judged."
    )
    max_error_share: Share = Field(0.01, description="Failed answers allowed.")
    max_slow_share: Share = Field(0.01, description="Answers slower than 50 ms allowed.")
    max_alert_ratio: Annotated[float, Field(gt=1)] = Field(
        3.0, description="Adverse actions, challenger over what its own training data showed."
    )
    error_rate: ErrorRate = 0.01
    step_timeout: PositiveDuration = Field(
        timedelta(minutes=10), description="Wall time after which an inconclusive step rolls back."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)) or self.steps[-1:] != (100,):
            raise ValueError("steps rise and end with 100")
        return self


class Package(_Section):
    """What is built of a version beside its bundle."""

    image: Literal["auto", "never", "require"] = Field(
        "auto", description="Container image: where a Docker engine answers, never, or always."
    )
    base_image: str | None = Field(None, description="Base of the image; none: the default.")


class Bands(_Section):
    """PSI bands: below ``watch`` safe, from ``act`` on an incident."""

    watch: Annotated[float, Field(gt=0)] = 0.1
    act: Annotated[float, Field(gt=0)] = 0.25

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.watch >= self.act:
            raise ValueError("watch must be below act")
        return self


class Watch(_Section):
    """What is looked at, and how often."""

    every: PositiveDuration = Field(timedelta(days=1), description="Event time between looks.")
    window: PositiveDuration = Field(timedelta(days=7), description="Event time of a window.")
    schedule: PositiveDuration = Field(
        timedelta(hours=1), description="Wall time between runs of the watching flow."
    )
    psi: Bands = Bands()
    error_rate: ErrorRate = Field(0.001, description="False alarms a window, all findings.")
    min_positives: Annotated[int, Field(ge=5)] = Field(
        30, description="Positives a window needs before recall is judged."
    )
    label_age: Duration | None = Field(
        None, description="Age from which decisions are judged; none: the target's delay."
    )


class Respond(_Section):
    """What an incident leads to, and how often."""

    performance: Literal["retrain", "ask"] = "retrain"
    drift: Literal["watch", "retrain", "ask"] = Field(
        "watch", description="Drift that does not hurt the setpoints."
    )
    cooldown: Duration = Field(timedelta(days=7), description="Event time between responses.")
    attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        3, description="Retrainings for one incident before a person is asked."
    )
    retry_after: Duration = Field(
        timedelta(days=2), description="Event time before a refused retraining is tried again."
    )


class Project(_Section):
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
    features: Features
    setpoints: dict[Name, Setpoint] = Field(min_length=1)
    train: Train = Train()
    gates: Gates = Gates()
    package: Package = Package()
    release: Release = Release()
    watch: Watch = Watch()
    respond: Respond = Respond()

    @model_validator(mode="after")
    def _references(self) -> Self:
        for where, name in _column_references(self):
            if name not in self.data.columns:
                known = ", ".join(self.data.columns)
                raise ValueError(f"{where} names column {name!r}; data.columns has {known}")
        used = {w.entity for w in self.features.windows} | {r.entity for r in self.features.risks}
        for entity in sorted(used - set(self.data.entities)):
            raise ValueError(f"entity {entity!r} is not in data.entities")
        names = self.feature_spec().names
        if not names:
            raise ValueError("features declares no input for the model")
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"features declares {', '.join(twice)} more than once")
        if not self.data.labels and self.target.column not in self.data.columns:
            raise ValueError(
                f"target.column {self.target.column!r} is neither in data.columns nor is "
                "data.labels given"
            )
        return self

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

    @property
    def sticky_column(self) -> str:
        """Column by which traffic is sticky and by which holdout rows are chosen."""
        return next(iter(self.data.entities.values()), self.data.event_id)

    @property
    def label_age(self) -> timedelta:
        """Age from which decisions are judged on their labels."""
        return self.target.delay if self.watch.label_age is None else self.watch.label_age


def _column_references(project: Project) -> list[tuple[str, str]]:
    data = project.data
    found = [("data.event_id", data.event_id), ("data.event_time", data.event_time)]
    found += [(f"data.entities.{name}", column) for name, column in data.entities.items()]
    found += [("data.protected", column) for column in data.protected]
    found += [("features.columns", column) for column in project.features.columns]
    found += [("features.windows", w.column) for w in project.features.windows if w.column]
    found += [("gates.explainability.forbidden", c) for c in project.gates.explainability.forbidden]
    for name in Costs.model_fields:
        column = getattr(project.costs, name).column
        if column is not None:
            found.append((f"costs.{name}", column))
    return found


def load_project(path: Path) -> Project:
    """Read and check a project file.

    Raises:
        ProjectFileError: The file is missing, not YAML, or breaks the schema; the message has
            one line a mistake: line, field, value and what is allowed.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ProjectFileError(
            f"cannot read the project file: {err}",
            where=str(path),
            fix="name an existing file, or write one with 'setpoint init --from DATA'",
        ) from err
    return parse_project(text, where=str(path))


def parse_project(text: str, where: str = "setpoint.yaml") -> Project:
    """Check the text of a project file; see :func:`load_project`."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as err:  # ValueError: a date that does not exist
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ProjectFileError(
            f"not valid YAML: {getattr(err, 'problem', err)}",
            where=f"{where}{line}",
            fix="mend the indentation or quoting at that line",
        ) from err
    if not isinstance(content, dict):
        raise ProjectFileError(
            "the project file is empty or not a mapping",
            where=where,
            fix="start from 'setpoint init --from DATA'",
        )
    try:
        return Project.model_validate(content)
    except ValidationError as err:
        raise ProjectFileError(
            "\n".join(_mistake(tree, e) for e in err.errors()),
            where=where,
            fix="change the fields named; docs/project-file.md lists what is allowed",
        ) from err


def _mistake(tree: yaml.Node | None, error: Any) -> str:
    loc = [str(part) for part in error["loc"]]
    line = _locate(tree, loc)
    field = ".".join(loc) or "the project file"
    value = error.get("input")
    shown = "" if isinstance(value, dict) or error["type"] == "missing" else f" (is {value!r:.80})"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        message = "is required and missing"
    if error["type"] == "extra_forbidden":
        message = "is not a field of this section"
    return f"line {line}: {field}{shown}: {message}"


def _locate(tree: yaml.Node | None, loc: list[str]) -> int:
    """Line (from 1) of the deepest part of ``loc`` that the file has."""
    node, line = tree, 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line + 1
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def json_schema() -> dict[str, Any]:
    """JSON Schema of the project file, for editors."""
    return Project.model_json_schema()


class Environment(_Section):
    """What is read from the environment.

    Attributes:
        root: State folder of the platform (``SETPOINT_ROOT``).
        project_file: The project file (``SETPOINT_PROJECT``).
        s3_endpoint, s3_region, s3_access_key, s3_secret_key: For ``s3://`` addresses, from the
            variables every S3 client reads (``AWS_*``).
        data_root: Folder in which relative data addresses start, if not the project file's
            (``SETPOINT_DATA``).
        tracking_uri: MLflow; empty for the embedded SQLite (``MLFLOW_TRACKING_URI``).
    """

    root: Path = Path(".setpoint")
    project_file: Path = Path("setpoint.yaml")
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = Field("", repr=False)
    tracking_uri: str = ""
    data_root: Path | None = None


def read_environment() -> Environment:
    """The environment as it is now; the only place that reads it."""
    env = os.environ
    return Environment(
        root=Path(env.get("SETPOINT_ROOT", ".setpoint")),
        project_file=Path(env.get("SETPOINT_PROJECT", "setpoint.yaml")),
        s3_endpoint=env.get("AWS_ENDPOINT_URL", ""),
        s3_region=env.get("AWS_REGION", "us-east-1"),
        s3_access_key=env.get("AWS_ACCESS_KEY_ID", ""),
        s3_secret_key=env.get("AWS_SECRET_ACCESS_KEY", ""),
        tracking_uri=env.get("MLFLOW_TRACKING_URI", ""),
        data_root=Path(env["SETPOINT_DATA"]) if env.get("SETPOINT_DATA") else None,
    )
