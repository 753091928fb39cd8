"""All that is on record of one model version, read once for all documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from setpoint.adapters.mlflow_registry import Run
from setpoint.config import Project
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.incidents import Incident
from setpoint.domain.ledger import Entry
from setpoint.domain.ledger_audit import Audit
from setpoint.domain.outcome import Finding, Verdict
from setpoint.domain.windows import WindowRecord
from setpoint.errors import StateError
from setpoint.report.events import public
from setpoint.workspace import Workspace

VERDICTS = ("accepted", "refused")
"""Entries that hold the verdict of the gates."""
FOLDER = "documents"
"""Where the documents of a version are among the artifacts of its run."""


@dataclass(frozen=True)
class Record:
    """The record of one version, and of the project around it.

    Attributes:
        project: The project file.
        version: ``v1``, ``v2`` ...
        champion: The version in service, if there is one.
        tags: Of the version in the registry.
        run: Its training.
        bundle: What is deployed of it, verified.
        entries: The whole ledger, oldest first.
        audit: Whether chain, signatures and seals of the ledger hold.
        windows: All that was looked at, oldest first.
        incidents: All of them.
        artifacts: Paths of what its run keeps.
        quarantined: Batches that were refused and wait for a person.
    """

    project: Project
    version: str
    champion: str | None
    tags: Mapping[str, str]
    run: Run
    bundle: Bundle
    entries: tuple[Entry, ...]
    audit: Audit
    windows: tuple[WindowRecord, ...]
    incidents: tuple[Incident, ...]
    artifacts: tuple[str, ...]
    quarantined: int

    @property
    def subject(self) -> str:
        """What its ledger entries are about."""
        return f"{self.project.name}/{self.version}"

    @property
    def personal(self) -> frozenset[str]:
        """Columns that name a person."""
        return frozenset(n for n, c in self.project.data.columns.items() if c.personal)

    @cached_property
    def verdict_entry(self) -> Entry | None:
        """The newest verdict of its gates."""
        return next(reversed(self.told(*VERDICTS)), None)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What its gates found, without what is about values of personal columns."""
        entry = self.verdict_entry
        return () if entry is None else self.public(_verdict(entry.evidence.get("verdict")))

    def told(self, *kinds: str) -> list[Entry]:
        """Entries about this version, oldest first."""
        return [e for e in self.entries if e.kind in kinds and e.subject == self.subject]

    def of(self, *kinds: str) -> list[Entry]:
        """Entries of a kind, whatever they are about, oldest first."""
        return [e for e in self.entries if e.kind in kinds]

    def public(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Findings without those about the values of personal columns."""
        return public(findings, self.personal)

    @property
    def watched(self) -> list[WindowRecord]:
        """Windows in which it was looked at, oldest first."""
        return [
            replace(w, findings=self.public(w.findings))
            for w in self.windows
            if w.version == self.version
        ]

    @property
    def head(self) -> str:
        """Where the ledger stood when this was read, and what does not hold of it."""
        last = link(self.entries[-1]) if self.entries else "the ledger is empty"
        if not self.audit.breaks:
            return last
        broken = "; ".join(map(str, self.audit.breaks))
        return f"{last}, WHICH DOES NOT VERIFY and proves nothing from there on: {broken}"

    def words(self, field: str) -> str:
        """What a person has written in ``documents`` of the project file; empty for nothing."""
        return str(getattr(self.project.documents, field) or "").strip()


def link(entry: Entry) -> str:
    """How an entry is named: its number and digest."""
    return f"ledger #{entry.seq} {entry.digest[:16]}"


def evidence_findings(entry: Entry) -> tuple[Finding, ...]:
    """Findings that an entry about a release rests on."""
    return _verdict(entry.evidence.get("evidence"))


def _verdict(data: Any) -> tuple[Finding, ...]:
    return Verdict.from_dict(data).findings if isinstance(data, Mapping) else ()


def number(value: float | None) -> str:
    """A number for people; nothing for none."""
    return "" if value is None else f"{value:.4g}"


def moment(time: datetime) -> str:
    """A time for people, UTC, to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def documented_version(workspace: Workspace, version: str | None = None) -> str:
    """The version asked for; else the one in service, else the newest.

    Raises:
        StateError: There is none, or the registry does not know the one asked for.
    """
    known = workspace.registry.versions()
    if version is None:
        found = workspace.champion() or next(reversed(known), None)
        if found is not None:
            return found
    elif version in known:
        return version
    raise StateError(
        "there is no model version yet" if version is None else f"there is no version {version}",
        where=f"model {workspace.registry.name} in MLflow",
        fix="run 'setpoint deliver' first" if not known else f"name one of {', '.join(known)}",
    )


def read_record(workspace: Workspace, version: str) -> Record:
    """Read the record of a version; its bundle is verified.

    Raises:
        StateError: It was registered without a digest.
        BundleError: Its bundle is not the one that was registered.
        DataError: A stored finding cannot be read.
    """
    from setpoint.stages import sealing
    from setpoint.stages.ingest import quarantined

    # Before the entries are read: what is written meanwhile is not vouched for.
    audit = sealing.vouched(workspace)
    state, registry = workspace.state, workspace.registry
    return Record(
        project=workspace.project,
        version=version,
        champion=workspace.champion(),
        tags=registry.tags(version),
        run=registry.run(version),
        bundle=read_bundle(workspace.bundle(version), registry.digest(version)),
        entries=tuple(state.ledger()),
        audit=audit,
        windows=tuple(state.windows()),
        incidents=tuple(state.incidents()),
        artifacts=_artifacts(workspace, version),
        quarantined=len(quarantined(workspace)),
    )


def _artifacts(workspace: Workspace, version: str) -> tuple[str, ...]:
    registry = workspace.registry
    return tuple(p for folder in registry.attached(version, "") for p in
                 (registry.attached(version, folder) or [folder]))  # fmt: skip
