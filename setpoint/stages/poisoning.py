"""New data are held against trusted ones before they train: those of the champion are trusted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.bundle import read_bundle
from setpoint.domain.features import MICROSECONDS
from setpoint.domain.findings import Finding, Outcome, Verdict, not_measured
from setpoint.domain.influence import Sources
from setpoint.domain.poisoning import doubtful, poisoning_findings, trust
from setpoint.domain.training import Bools, Rows
from setpoint.errors import BundleError, DataError, StateError, TrainingError
from setpoint.workspace import Workspace

SUSPECT = "suspect_data"
"""Kind of the ledger's entry where a source is suspect, whether training went on or not."""


def check_new_data(workspace: Workspace, rows: Rows) -> Verdict:
    """Findings of every source of new rows; nothing before there is a champion.

    Args:
        workspace: The project.
        rows: All rows with complete labels, in the order of the project's features.

    Raises:
        TrainingError: A source is poisoned, or only a person can tell and the project file says to
            stop then; the ledger has the findings.
    """
    rule = workspace.project.train.poisoning
    verdict = Verdict(tuple(_findings(workspace, rows)))
    poisoned = [f for f in verdict if f.outcome in (Outcome.FAILED, Outcome.ERROR)]
    doubts = [f for f in verdict if doubtful(f)]
    if not poisoned and not doubts:
        return verdict
    stops = poisoned or (doubts if rule.doubt == "stop" else [])
    workspace.state.record(
        workspace.clock.now(),
        SUSPECT,
        workspace.project.name,
        {"stopped": bool(stops), "verdict": Verdict((*poisoned, *doubts)).to_dict()},
    )
    if stops:
        raise TrainingError(
            "; ".join(f"{f.label}: {f.reason}" for f in stops[:3]),
            where="new data",
            fix="look at the source; put it into train.poisoning.leave_out, or into "
            "train.poisoning.trust if its labels are right",
        )
    return verdict


def without(workspace: Workspace, rows: Rows) -> Rows:
    """The rows without those of sources that are left out."""
    leave_out = workspace.project.train.poisoning.leave_out
    if not leave_out:
        return rows
    source, _ = _sources(workspace, rows)
    return rows.take(~np.isin(source.astype(str), leave_out))


def _findings(workspace: Workspace, rows: Rows) -> list[Finding]:
    rule = workspace.project.train.poisoning
    try:
        version = workspace.champion()
        if version is None:
            return []  # nothing is trusted yet
        manifest = read_bundle(workspace.bundle(version)).manifest
        snapshot = workspace.snapshots("events").get(int(manifest.snapshot.version.split(".")[0]))
    except (StateError, BundleError, DataError, ValueError) as err:
        return [not_measured("new_data", f"it is not known which data are trusted: {err}",
                             outcome=Outcome.INCONCLUSIVE)]  # fmt: skip
    source, arrival = _sources(workspace, rows)
    ripe = (manifest.created_at - workspace.project.target.delay).timestamp() * MICROSECONDS
    known: Bools = (arrival < snapshot.rows) & (rows.time <= ripe)
    new = ~known & ~np.isin(source.astype(str), rule.trust)
    if not new.any():
        return []
    trusted = trust(rows.take(known), source[known])
    if trusted is None:
        return [not_measured("new_data", f"too few of {int(known.sum())} trusted rows have either "
                             "label", outcome=Outcome.INCONCLUSIVE)]  # fmt: skip
    spec = workspace.project.feature_spec()
    return poisoning_findings(
        trusted,
        rows.take(new),
        source[new],
        (*spec.numbers, *spec.categories),
        max_flipped=rule.max_flipped,
        error_rate=rule.error_rate,
    )


def _sources(workspace: Workspace, rows: Rows) -> tuple[Sources, np.ndarray]:  # type: ignore[type-arg]
    """Who delivered each row, as text, and its number of arrival, [n] each."""
    store, data = workspace.snapshots("events"), workspace.project.data
    latest = store.latest()
    assert latest is not None  # rows were assembled of it
    table = store.read(latest.version, [data.event_id, "_arrival"])
    place = pc.index_in(
        pa.array(rows.ids.tolist(), table[data.event_id].type),
        value_set=table[data.event_id].combine_chunks(),
    )
    arrival = table["_arrival"].take(place).to_numpy()
    if data.source is not None:
        told = [str(value) for value in rows.columns[data.source].tolist()]
        return np.array(told, dtype=object), arrival
    ends = np.cumsum(latest.sizes)
    names = np.array(latest.batches, dtype=object)
    return names[np.searchsorted(ends, arrival, side="right")], arrival
