"""Were decisions made on the features that their events have? Recomputed and held side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.config import Watch
from setpoint.domain.arrivals import floats
from setpoint.domain.bundle import Bundle
from setpoint.domain.findings import Finding, Outcome, not_measured, watch_ceiling
from setpoint.errors import DataError
from setpoint.ports import DecisionLog, DecisionQuery
from setpoint.stages.assemble import History, history
from setpoint.workspace import Workspace

SKEW = "skew"
"""Name of the finding."""
MIN_DECISIONS = 20


def skew(workspace: Workspace, log: DecisionLog, bundle: Bundle, now: datetime) -> Finding:
    """Share of a sample of the window's decisions some of whose inputs come out otherwise.

    Served features are held against those of the newest snapshot, as float32, bit for bit. A
    decision whose event is not in it yet is left out: ingest before the look.

    Args:
        workspace: The project; ``watch.skew_sample`` says how many decisions.
        log: The decisions.
        bundle: Of the version in service.
        now: Event time of the look.
    """
    from setpoint.adapters.duckdb_features import compute

    rule, spec = workspace.project.watch, bundle.features
    try:
        known = history(workspace, now)
    except DataError as err:  # nothing was ever taken in
        return not_measured(SKEW, err.what, outcome=Outcome.INCONCLUSIVE)
    window = DecisionQuery(
        start=now - rule.window,
        end=now,
        version=bundle.manifest.version,
        columns=("id",),
    )
    ids = _sample(log.batches(window), _ids(known, spec.event_id), rule.skew_sample)
    served = _served(log, ids, bundle)
    if served.num_rows < min(MIN_DECISIONS, rule.skew_sample):
        reason = f"{served.num_rows} decisions of the window are in a snapshot: ingest them first"
        return not_measured(SKEW, reason, outcome=Outcome.INCONCLUSIVE)
    part = relatives(known, spec.event_id, set(spec_entities(bundle)), served["id"])
    offline = compute(spec, part, known.labels)
    place = pc.index_in(served["id"], value_set=offline[spec.event_id].combine_chunks())
    return _compared(served, offline.take(place), bundle, rule)


def spec_entities(bundle: Bundle) -> list[str]:
    """Columns of the entities whose history the features look at."""
    spec = bundle.features
    names = {f.entity for f in spec.windows} | {f.entity for f in spec.risks}
    return sorted(spec.entities[name] for name in names)


def _ids(known: History, event_id: str) -> pa.Array:
    return known.events[event_id].combine_chunks()


def _sample(batches: Iterable[pa.Table], known: pa.Array, rows: int) -> pa.Array:
    """By the text of the id: the same decisions on every look, and no favourites."""
    found = pa.array([], pa.string())
    for batch in batches:
        fresh = batch["id"].filter(pc.is_in(batch["id"], value_set=known)).combine_chunks()
        found = pa.concat_arrays([found, fresh])
        found = found.take(pc.sort_indices(pc.utf8_reverse(found)).slice(0, rows))
    return found


def _served(log: DecisionLog, ids: pa.Array, bundle: Bundle) -> pa.Table:
    """Ids and features as they were used, of a few decisions."""
    decisions = log.find(ids.to_pylist()).values()
    columns: dict[str, Any] = {"id": pa.array([one.id for one in decisions], pa.string())}
    for name in bundle.features.names:
        kind = pa.float64() if name in bundle.features.number_names else pa.string()
        columns[f"f_{name}"] = pa.array([one.features.get(name) for one in decisions], kind)
    return pa.table(columns)


def relatives(known: History, event_id: str, entities: set[str], ids: pa.ChunkedArray) -> pa.Table:
    """Events that share an entity with one of the sample: all that its features look at."""
    mine = known.events.filter(pc.is_in(known.events[event_id], value_set=ids.combine_chunks()))
    keep = pc.is_in(known.events[event_id], value_set=ids.combine_chunks())
    for entity in entities:
        same = pc.is_in(known.events[entity], value_set=mine[entity].combine_chunks())
        keep = pc.or_(keep, same)
    return known.events.filter(keep)


def _compared(served: pa.Table, offline: pa.Table, bundle: Bundle, rule: Watch) -> Finding:
    """Decisions with a value that differs, and whether they are more than allowed.

    By decision, as the values of one go wrong together; and with bounds, so that one payment that
    overtook another is no fault of a short window.
    """
    spec = bundle.features
    wrong = {}
    for name in spec.number_names:
        one, two = (
            floats(column).astype(np.float32) for column in (served[f"f_{name}"], offline[name])
        )
        wrong[name] = ~((one == two) | (np.isnan(one) & np.isnan(two)))
    for name in spec.categories:
        one, two = (c.cast(pa.string()) for c in (served[f"f_{name}"], offline[name]))
        same = pc.equal(pc.fill_null(one, ""), pc.fill_null(two, ""))
        wrong[name] = ~same.combine_chunks().to_numpy(zero_copy_only=False)
    differ, n = np.any(list(wrong.values()), axis=0), served.num_rows
    found = watch_ceiling(SKEW, int(differ.sum()), n, rule.max_skew, rule.error_rate, 1)
    worst = max(wrong, key=lambda name: int(wrong[name].sum()))
    most = int(wrong[worst].sum())
    told = f"{int(differ.sum())} of {n} decisions differ" + (
        f", most in {worst}: {most}" if most else ""
    )
    return replace(found, reason=f"{told}; {found.reason}")
