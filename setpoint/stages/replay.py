"""One past decision, computed again from the record: equal bit for bit, or where not."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.errors import BundleError, DataError, StateError
from setpoint.ports import Decision
from setpoint.serving.scorer import Scorer
from setpoint.stages.assemble import history
from setpoint.stages.oversight import overridden
from setpoint.stages.skew import relatives, spec_entities
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Part:
    """One thing that the record says of a decision.

    Attributes:
        name: ``model``, ``features``, ``score``, ``action``, ``reasons``.
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
        """Whether nothing that could be computed again differs, and the score could be."""
        return all(part.equal is not False for part in self.parts) and any(
            part.name == "score" and part.equal for part in self.parts
        )


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
    model = Part("model", True, f"{found.version}, bundle {found.bundle_digest[:16]}")
    parts = (model, _features(workspace, bundle, found), *_decided(bundle, found))
    return Replayed(found, parts, overridden(workspace, found.id))


def _decided(bundle: Bundle, decision: Decision) -> list[Part]:
    """From the logged features on: score, action, reasons."""
    scorer = Scorer(bundle)
    rows = [scorer.inputs(decision.features)]
    scores, raw = scorer.score(rows)
    score = float(scores[0])
    adverse = scorer.adverse(rows, scores, raw, [decision.id])
    action = bundle.decision.actions["positive" if adverse else "negative"]
    reasons, logged = adverse.get(0, []), list(decision.reasons)
    same = _bits(score) == _bits(decision.score)
    return [
        Part("score", same, f"{score!r}, logged {decision.score!r}"),
        Part("action", action == decision.action, f"{action}, logged {decision.action}"),
        Part("reasons", reasons == logged, f"{_told(reasons)}, logged {_told(logged)}"),
    ]


def _told(reasons: Sequence[str]) -> str:
    return ", ".join(reasons) or "none"


def _bits(value: float) -> bytes:
    return struct.pack(">d", value)


def _features(workspace: Workspace, bundle: Bundle, decision: Decision) -> Part:
    """Inputs as the newest snapshot gives them, held against those that were logged, as float32."""
    from setpoint.adapters.duckdb_features import compute

    spec = bundle.features
    try:
        known = history(workspace)
    except DataError as err:
        return Part("features", None, err.what)
    one = pa.chunked_array([[decision.id]], pa.string())
    part = relatives(known, spec.event_id, set(spec_entities(bundle)), one)
    offline = compute(spec, part, known.labels)
    rows = [row for row in offline.to_pylist() if str(row[spec.event_id]) == decision.id]
    if not rows:
        return Part("features", None, "its event is in no snapshot (yet)")
    served, again = (_inputs(bundle, values) for values in (decision.features, rows[0]))
    wrong = [
        f"{name} {rows[0][name]!r}, logged {decision.features[name]!r}"
        for name, one, two in zip(spec.names, served, again, strict=True)
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
