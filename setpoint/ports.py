"""Protocols for what has two homes: an embedded one and a scaled-out one.

Every adapter of a port passes the port's contract test in ``tests/adapters``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Clock(Protocol):
    """Where "now" comes from: the wall in production, the event stream in a replay."""

    def now(self) -> datetime:
        """The present, UTC and aware."""
        ...


@dataclass(frozen=True)
class Endpoint:
    """Where a running model version listens."""

    host: str
    port: int


@dataclass(frozen=True)
class TrafficPlan:
    """Who answers which share of the traffic.

    Attributes:
        id: Unique id of the plan; every answer carries it in the header ``x-plan``.
        weights: Version to percent, 0 to 100, adding up to 100. Its order is kept from plan to
            plan while a release lasts, or entities would change sides.
        stable: The version that takes over when another one fails; a key of ``weights``.
        shadow: A version that receives copies of all requests and whose answers are dropped.
        offset: Where in the order of entities the share of the last version begins, percent, 0 to
            99; kept from plan to plan while a release lasts.
    """

    id: str
    weights: Mapping[str, int]
    stable: str
    shadow: str | None = None
    offset: int = 0


class TrafficRouter(Protocol):
    """Sends requests to model versions by weight, sticky by entity."""

    def apply(self, plan: TrafficPlan, endpoints: Mapping[str, Endpoint]) -> None:
        """Make ``plan`` the one in force; returns once an answer carried its id.

        Raises:
            ReleaseError: The plan is contradictory or was not taken up; the old one stays.
        """
        ...

    def current(self) -> TrafficPlan | None:
        """The plan in force, ``None`` before the first."""
        ...


class ModelRuntime(Protocol):
    """Runs one scoring service per model version."""

    kind: str
    """How it runs: ``process``, ``kubernetes``."""

    def start(self, version: str, bundle: Path, digest: str = "") -> Endpoint:
        """Start a version and wait until it is ready, or find it started before.

        A version that was started before is kept, ready or not.

        Args:
            version: Model version.
            bundle: Folder of its bundle.
            digest: Digest that the bundle must have; any if empty.

        Raises:
            PlatformError: A new one does not get ready; nothing of it is left running.
        """
        ...

    def stop(self, version: str) -> None:
        """Drain and stop a version; stopping what does not run is no error."""
        ...

    def endpoints(self) -> dict[str, Endpoint]:
        """All versions that should be running."""
        ...


@dataclass(frozen=True)
class Decision:
    """One served prediction as logged.

    Attributes:
        id: The event's id; unique.
        event_time: UTC, aware.
        request: The row as it came.
        features: Model inputs as used, by name; ``None`` where missing.
        score: Calibrated probability of the positive class, 0 to 1.
        threshold: Score from which the adverse action is taken.
        action: What was answered.
        reasons: Reason codes, strongest first; empty for the favourable action, ``exploration``
            where the adverse one was drawn.
        version: Model version that answered.
        bundle_digest: Digest of the bundle that answered.
        shadow: True for mirrored requests, which nobody was answered with.
        propensity: Probability with which this version was given the request, from the traffic
            plan; ``None`` where no plan said.
        label_propensity: Probability with which its score sends this decision to review: 1 from
            the threshold on, else the share that is explored; ``None`` where nothing is explored.
        trace_id: The request id given by the gateway.
        client: Name of the API key that asked; empty where none was asked for.
    """

    id: str
    event_time: datetime
    request: Mapping[str, Any]
    features: Mapping[str, float | str | None]
    score: float
    threshold: float
    action: str
    reasons: Sequence[str]
    version: str
    bundle_digest: str
    shadow: bool = False
    propensity: float | None = None
    label_propensity: float | None = None
    trace_id: str = ""
    client: str = ""


@dataclass(frozen=True)
class Label:
    """The truth about an event, and when it became known (UTC, aware)."""

    id: str
    label: int
    known_at: datetime


FIXED = (
    "id",
    "event_time",
    "score",
    "threshold",
    "action",
    "version",
    "label",
    "label_known_at",
    "propensity",
    "label_propensity",
)
"""Columns of a decision that are read unless others are asked for."""
RECORD = ("bundle_digest", "trace_id", "client", "reasons", "request", "features")
"""Columns that make the record whole; request and features whole, as JSON text."""


@dataclass(frozen=True)
class DecisionQuery:
    """Which decisions to read.

    Attributes:
        start: Event time from, inclusive; ``None`` for all.
        end: Event time to, exclusive; ``None`` for all.
        version: Only this version.
        shadow: Mirrored ones instead of served ones.
        features: Names of feature columns wanted beside ``columns``.
        request: Names of request columns wanted beside ``columns``.
        columns: Which of ``FIXED`` and ``RECORD`` are wanted; others are not loaded.
    """

    start: datetime | None = None
    end: datetime | None = None
    version: str | None = None
    shadow: bool = False
    features: Sequence[str] = field(default=())
    request: Sequence[str] = field(default=())
    columns: Sequence[str] = FIXED


@dataclass(frozen=True)
class DecisionCount:
    """Decisions of one version that were answered with one action.

    Attributes:
        version: Model version.
        action: What was answered.
        decisions: How many, >= 1.
        first: Event time of the oldest, UTC.
        last: Event time of the newest, UTC.
    """

    version: str
    action: str
    decisions: int
    first: datetime
    last: datetime


class OnlineStore(Protocol):
    """Recent events and labels, and the features of a new event at request time."""

    def serve(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[list[float], list[str]]]:
        """Record events in the order given and return each one's model inputs.

        An id seen before keeps its first arrival number, so a retry gets the same numbers.

        Args:
            events: Validated rows; the event time is an aware ``datetime``.

        Returns:
            For each event the numbers (in the order of ``FeatureSpec.number_names``) and the
            categories.
        """
        ...

    def learn(self, labels: Sequence[Label]) -> None:
        """Record labels; a label for an id seen before replaces it."""
        ...

    def forget(self, before: datetime) -> int:
        """Drop events older than ``before``; returns how many."""
        ...


class DecisionLog(Protocol):
    """Every decision that a client holds.

    Of an id there is one served decision, the first that was written, whoever wrote it; and one
    mirrored decision of each version.
    """

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write durably: what this returned from survives a kill."""
        ...

    def find(self, ids: Iterable[str]) -> dict[str, Decision]:
        """Served (not mirrored) decisions by id; unknown ids are left out."""
        ...

    def add_labels(self, labels: Sequence[Label]) -> list[str]:
        """Attach labels to decisions; returns the ids no decision is known for.

        Labels of unknown decisions are kept aside and attached when the decision comes. Of several
        of an id the one with the latest ``known_at`` stands, of those of one moment the last told:
        one that is sent again takes back no correction.
        """
        ...

    def read(self, query: DecisionQuery) -> pa.Table:
        """Decisions in event-time order.

        Returns:
            Of ``id, event_time (timestamp[us, UTC]), score, threshold, action, version,
            label (int8, null if unknown), label_known_at, propensity, label_propensity`` and, if
            asked for, ``bundle_digest, trace_id, client, reasons (list of text), request, features
            (JSON text)`` the ``columns`` of the query; then request columns under their own names
            (``r_<name>`` if taken) and features as ``f_<name>``.
        """
        ...

    def batches(self, query: DecisionQuery, rows: int = ...) -> Iterator[pa.Table]:
        """The same in tables of at most ``rows`` rows: memory does not grow with the window.

        There is at least one table, an empty one where there are no decisions. The type of a
        request or feature column is that of the values in its table: another table of the
        window may have another.
        """
        ...

    def summary(self, query: DecisionQuery) -> list[DecisionCount]:
        """How many decisions there are of a window by version and action, sorted by both.

        Counted by the store: no row is loaded, and columns of the query say nothing. Of mirrored
        ones each version's are counted, though several saw one request.
        """
        ...

    def forget(self, before: datetime) -> int:
        """Drop decisions of events before ``before``, with labels; returns how many.

        It leaves room for those who write meanwhile, and drops nothing newer.
        """
        ...
