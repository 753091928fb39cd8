"""What the last runs left, read once for the assessment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from typing import Any

from setpoint.documents.record import (
    VERDICTS,
    Record,
    documented_version,
    evidence_findings,
    read_record,
)
from setpoint.domain.ledger import Entry
from setpoint.domain.outcome import Finding
from setpoint.domain.windows import WindowRecord
from setpoint.errors import BundleError, DataError, StateError
from setpoint.ports import DecisionQuery
from setpoint.stages import sealing
from setpoint.stages.replay import Replayed, reached, replay
from setpoint.stages.review import REVIEWED
from setpoint.stages.signed import entry_state, own_bundle
from setpoint.workspace import Workspace

SEARCH = "search/search.json"
"""What the training tried, among the artifacts of its run."""
SEARCHED = (
    "{} parameter sets tried, as "
    + SEARCH
    + " says: its cheapest is in the bundle's manifest, and "
    "the project file asks for as many or more; their number itself no digest covers"
)


@dataclass(frozen=True)
class Served:
    """Decisions of a version in the last ``watch.window`` of event time.

    Attributes:
        rows: How many.
        sound: Of these, with a score from 0 to 1.
        explained: Of the adverse ones, with reasons.
        adverse: How many were adverse.
        newest: Event time of the last.
        replayed: The last whose event is in a snapshot, computed again.
    """

    rows: int
    sound: int
    explained: int
    adverse: int
    newest: datetime
    replayed: Replayed


@dataclass(frozen=True)
class Evidence:
    """The record of the version in service, and what else was left.

    Attributes:
        record: Of the version in service, else of the newest.
        now: Event time reached; ``None`` where no clock was started.
        trials: Parameter sets that its training tried, as its ``search.json`` says.
        search_fault: Where that file contradicts what the version was made of; empty where not.
        alike: Subjects of all accepted versions with the inputs of this one, itself among them.
        void: Numbers of the entries of reviews that no key signed which was trusted then.
        batches: Batches in the snapshot of events that it was trained on.
        served: Its newest decisions; ``None`` where it decided nothing.
    """

    record: Record
    now: datetime | None
    trials: int
    batches: int
    served: Served | None
    search_fault: str = ""
    alike: frozenset[str] = frozenset()
    void: frozenset[int] = frozenset()

    def gate(self, *patterns: str) -> list[Finding]:
        """Findings of the version's verdict whose names match."""
        return named(self.record.findings, patterns)

    def ever(self, *patterns: str) -> list[tuple[Entry, Finding]]:
        """Findings of all verdicts whose names match, oldest first."""
        found = []
        for entry in self.record.of(*VERDICTS):
            verdict = evidence_findings_of(entry)
            found += [(entry, f) for f in named(verdict, patterns)]
        return found

    def released(self, *patterns: str) -> list[tuple[Entry, Finding]]:
        """Findings of the version's release whose names match, oldest first."""
        steps = self.record.told("release_step", "promoted")
        return [(e, f) for e in steps for f in named(evidence_findings(e), patterns)]

    def watched(self, *patterns: str) -> list[tuple[WindowRecord, Finding]]:
        """Findings of the version's own windows whose names match, oldest first."""
        return [(w, f) for w in self.record.watched for f in named(w.findings, patterns)]

    @property
    def healed(self) -> tuple[Entry, Entry] | None:
        """The newest verdict for an incident, and the promotion that followed from it."""
        incidents = {i.id for i in self.record.incidents}
        accepted = {e.subject: e for e in self.record.of("accepted")
                    if e.evidence.get("cause") in incidents}  # fmt: skip
        for entry in reversed(self.record.of("promoted")):
            if entry.subject in accepted and accepted[entry.subject].seq < entry.seq:
                return accepted[entry.subject], entry
        return None


def named(findings: Sequence[Finding], patterns: Sequence[str]) -> list[Finding]:
    """Findings whose names match a pattern such as ``fairness*``."""
    return [f for f in findings if any(fnmatch(f.name, p) for p in patterns)]


def evidence_findings_of(entry: Entry) -> tuple[Finding, ...]:
    """Findings of a verdict of the gates."""
    verdict = entry.evidence.get("verdict")
    return tuple(Finding.from_dict(f) for f in verdict["findings"]) if verdict else ()


def read_evidence(workspace: Workspace) -> Evidence | None:
    """Read what the last runs left; ``None`` where there is no version yet.

    Raises:
        BundleError: The version's bundle was altered.
        StateError: The version was half published, a store cannot be read, or the ledger does not
            hold: what is read off it would be worth nothing.
    """
    if not workspace.registry.versions():
        return None
    sealing.check(workspace)
    version = documented_version(workspace)
    record = read_record(workspace, version)
    tried = _tried(workspace, record)
    now = _now(workspace)
    return Evidence(
        record=record,
        now=now,
        trials=len(tried),
        search_fault=_search_fault(record, tried),
        batches=_batches(workspace, record),
        served=_served(workspace, version, now),
        alike=_alike(workspace, record),
        void=frozenset(one.seq for one in record.of(REVIEWED)
                       if entry_state(workspace, one) != "holds"),
    )  # fmt: skip


def _now(workspace: Workspace) -> datetime | None:
    try:
        return workspace.clock.now()
    except StateError:
        return None


def _tried(workspace: Workspace, record: Record) -> list[dict[str, Any]]:
    if SEARCH not in record.artifacts:
        return []
    found = json.loads(workspace.registry.read_attached(record.version, SEARCH))
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _search_fault(record: Record, tried: list[dict[str, Any]]) -> str:
    """What is wrong with the file of the search: no digest covers it, so it must tally.

    The cheapest set must be the one in the bundle's manifest, which a digest covers; columns by
    which rows are weighted are chosen after the search. No more sets may be told than the project
    file of the training asks for.
    """
    most, chosen = record.project.train.trials, record.bundle.manifest.parameters
    if len(tried) > most:
        return f"{SEARCH} tells {len(tried)} parameter sets, the project file asks for {most}"
    best = min(tried, key=lambda one: float(one.get("cost", "inf")), default={})
    other = [n for n, v in best.items() if n not in ("cost", "balance") and chosen.get(n) != v]
    if other:
        return f"the cheapest set of {SEARCH} is not the bundle's: {', '.join(sorted(other))}"
    return ""


def _alike(workspace: Workspace, record: Record) -> frozenset[str]:
    found = set()
    for version in {entry.subject.rpartition("/")[2] for entry in record.of("accepted")}:
        try:
            bundle = own_bundle(workspace, version, past=True)
        except (BundleError, StateError):  # what was deleted or altered shows nothing
            continue
        if bundle.features == record.bundle.features:
            found.add(f"{workspace.project.name}/{version}")
    return frozenset(found)


def _batches(workspace: Workspace, record: Record) -> int:
    version = record.bundle.manifest.snapshot.version.split(".")[0]
    try:
        return len(workspace.snapshots("events").get(int(version)).batches)
    except (DataError, StateError, ValueError):
        return 0


def _served(workspace: Workspace, version: str, now: datetime | None) -> Served | None:
    newest: tuple[datetime, str] | None = None
    rows = sound = explained = adverse = 0
    positive = workspace.project.actions.positive
    start = None if now is None else now - workspace.project.watch.window
    columns = ("id", "event_time", "score", "action", "reasons")
    query = DecisionQuery(start=start, version=version, columns=columns)
    for batch in workspace.decisions.batches(query):
        for row in batch.to_pylist():
            rows += 1
            sound += row["score"] is not None and 0 <= row["score"] <= 1
            adverse += row["action"] == positive
            explained += row["action"] == positive and bool(row["reasons"])
            newest = max(newest or (row["event_time"], row["id"]), (row["event_time"], row["id"]))
    if newest is None:
        return None
    again = replay(workspace, reached(workspace, version, start) or newest[1])
    return Served(rows, sound, explained, adverse, newest[0], again)
