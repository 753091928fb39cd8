"""One past decision, computed again from the record: equal bit for bit, or where not."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.errors import BundleError, DataError, PlatformError, StateError
from setpoint.ports import Decision, DecisionQuery
from setpoint.serving.scorer import Scorer
from setpoint.stages.assemble import history
from setpoint.stages.oversight import overridden
from setpoint.stages.signed import check_signed, own_bundle
from setpoint.stages.skew import relatives, spec_entities
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Part:
    """One thing that the record says of a decision.

    Attributes:
        name: ``model``, ``threshold``, ``request``, ``features``, ``score``, ``action``,
            ``reasons``.
        equal: Whether it comes out the same; ``None`` where the record does not reach.
        note: What was compared, or where it differs.
    """

    name: str
    equal: bool | None
    note: str


@dataclass(frozen=True)
class Replayed:
    """A decision beside what the record gives.

    Attributes:
        decision: As it was logged.
        parts: What was compared.
        override: What a person decided in its place; ``None`` where nobody did.
    """

    decision: Decision
    parts: tuple[Part, ...]

    override: str | None = None

    @property
    def equal(self) -> bool:
        """Whether all of it could be computed again and comes out the same."""
        return all(part.equal for part in self.parts)

    @property
    def differs(self) -> bool:
        """Whether anything comes out otherwise; where neither holds, the record does not reach."""
        return any(part.equal is False for part in self.parts)


def replay(workspace: Workspace, decision_id: str) -> Replayed:
    """Compute a decision again from its bundle, its logged features and the newest snapshot.

    Args:
        workspace: The project.
        decision_id: A served decision.

    Raises:
        StateError: There is no such decision.
    """
    found = workspace.decisions.find([decision_id]).get(decision_id)
    if found is None:
        raise StateError(
            f"there is no served decision {decision_id}",
            where="decision log",
            fix="give the id that the answer named; decisions.keep says how long they are kept",
        )
    try:
        bundle = read_bundle(workspace.bundle(found.version), found.bundle_digest)
    except BundleError as err:
        return Replayed(found, (Part("model", False, f"{err.what}: nothing else can be said"),))
    told = f"{found.version}, bundle {found.bundle_digest[:16]}"
    parts = (
        Part("model", *_signed(workspace, found.version, told)),
        _threshold(bundle, found),
        *_from_snapshot(workspace, bundle, found),
        *_decided(bundle, found),
    )
    return Replayed(found, parts, overridden(workspace, found.id))


def reached(workspace: Workspace, version: str, start: datetime | None = None) -> str | None:
    """The newest decision of a version that can be replayed whole: its event is in a snapshot.

    Args:
        workspace: The project.
        version: The version.
        start: Decisions from this event time on alone.
    """
    try:
        known = history(workspace)
    except DataError:
        return None
    last = pc.max(known.events[workspace.project.data.event_time]).as_py()
    query = DecisionQuery(start=start, version=version, columns=("id", "event_time"))
    newest: tuple[datetime, str] | None = None
    for batch in workspace.decisions.batches(query):
        for row in batch.filter(pc.field("event_time") <= last).to_pylist():
            at = (row["event_time"], row["id"])
            newest = at if newest is None else max(newest, at)
    return None if newest is None else newest[1]


def _signed(workspace: Workspace, version: str, told: str) -> tuple[bool | None, str]:
    try:
        own_bundle(workspace, version, past=True)
    except BundleError as err:
        return False, f"{told}: {err.what}"
    try:
        check_signed(workspace, version)
    except (BundleError, PlatformError) as err:  # by a key that was revoked; the latter: its image
        return None, f"{told}: {err.what}"
    return True, f"{told}, signed"


def _threshold(bundle: Bundle, decision: Decision) -> Part:
    wanted, logged = bundle.decision.threshold, decision.threshold
    return Part("threshold", wanted == logged, f"{wanted!r}, logged {logged!r}")


def _decided(bundle: Bundle, decision: Decision) -> list[Part]:
    """From the logged features on: score, action, reasons."""
    scorer = Scorer(bundle)
    try:
        rows = [scorer.inputs(decision.features)]
        scores, raw = scorer.score(rows)
    except (KeyError, TypeError, ValueError) as err:
        why = f"its logged features are none that the model reads: {type(err).__name__} {err}"
        return [Part("score", False, why)]
    score = float(scores[0])
    adverse = scorer.adverse(rows, scores, raw, [decision.id])
    action = bundle.decision.actions["positive" if adverse else "negative"]
    reasons, logged = adverse.get(0, []), list(decision.reasons)
    same = isinstance(decision.score, float) and _bits(score) == _bits(decision.score)
    return [
        Part("score", same, f"{score!r}, logged {decision.score!r}"),
        Part("action", action == decision.action, f"{action}, logged {decision.action}"),
        Part("reasons", reasons == logged, f"{_told(reasons)}, logged {_told(logged)}"),
    ]


def _told(reasons: Sequence[str]) -> str:
    return ", ".join(reasons) or "none"


def _bits(value: float) -> bytes:
    return struct.pack(">d", value)


def _from_snapshot(workspace: Workspace, bundle: Bundle, decision: Decision) -> list[Part]:
    """What came, and the inputs made of it, as the newest snapshot has them."""
    from setpoint.adapters.duckdb_features import compute

    spec, names = bundle.features, ("request", "features")
    try:
        known = history(workspace, verified=True)
    except DataError as err:
        return [Part(name, None, err.what) for name in names]
    except StateError as err:  # altered, or by nobody who is trusted: it shows nothing else
        return [Part(name, False, err.what) for name in names]
    one = pa.chunked_array([[decision.id]], pa.string())
    part = relatives(known, spec.event_id, set(spec_entities(bundle)), one)
    [event, again] = (
        [row for row in table.to_pylist() if str(row[spec.event_id]) == decision.id]
        for table in (part, compute(spec, part, known.labels))
    )
    if not event or not again:
        return [Part(name, None, "its event is in no snapshot (yet)") for name in names]
    return [_request(bundle, decision, event[0]), _features(bundle, decision, again[0])]


def _request(bundle: Bundle, decision: Decision, event: Mapping[str, Any]) -> Part:
    """What came with the request, held against the event of the snapshot."""
    if not decision.request:
        return Part("request", None, "the log has no request of it")
    table = bundle.table
    names = [c for c in table.columns if c.name in event and c.name != table.event_time]
    wrong = [
        f"{c.name} {event[c.name]!r}, logged {decision.request.get(c.name)!r}"
        for c in names
        if not _same(c.kind, event[c.name], decision.request.get(c.name))
    ]
    if event[table.event_time] != decision.event_time:
        wrong.append(f"{table.event_time} {event[table.event_time]}, logged {decision.event_time}")
    if wrong:
        return Part("request", False, "; ".join(wrong))
    return Part("request", True, f"all {len(names) + 1} fields as in the snapshot")


def _same(kind: str, stored: Any, logged: Any) -> bool:
    if stored is None or logged is None:
        return stored is logged or (stored in (None, "") and logged in (None, ""))
    if kind != "number":
        return str(stored) == str(logged)
    try:
        return float(stored) == float(logged)
    except (TypeError, ValueError):
        return False


def _features(bundle: Bundle, decision: Decision, again: Mapping[str, Any]) -> Part:
    """Inputs as the snapshot gives them, held against those that were logged, as float32."""
    spec = bundle.features
    missing = [name for name in spec.names if name not in decision.features]
    if missing:
        return Part("features", False, f"not logged: {', '.join(missing)}")
    try:
        served, remade = (_inputs(bundle, values) for values in (decision.features, again))
    except (TypeError, ValueError) as err:
        return Part("features", False, f"a logged input is no number: {err}")
    wrong = [
        f"{name} {again[name]!r}, logged {decision.features[name]!r}"
        for name, one, two in zip(spec.names, served, remade, strict=True)
        if one != two
    ]
    if wrong:
        return Part("features", False, "; ".join(wrong))
    return Part("features", True, f"all {len(spec.names)} from snapshot and history")


def _inputs(bundle: Bundle, values: Mapping[str, Any]) -> list[bytes]:
    """Inputs in model order as the model reads them: float32, or text."""
    spec = bundle.features
    numbers = [values[name] for name in spec.number_names]
    texts = [values[name] for name in spec.categories]
    missing = np.float32(np.nan)
    return [
        *((missing if v is None else np.float32(v)).tobytes() for v in numbers),
        *(("" if v is None else str(v)).encode() for v in texts),
    ]
