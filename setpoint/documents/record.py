"""All that is on record of one model version, read once for all documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from setpoint.adapters.mlflow_registry import Run
from setpoint.config import Project, parse_project
from setpoint.domain.bundle import Bundle
from setpoint.domain.incidents import Incident
from setpoint.domain.ledger import Entry
from setpoint.domain.ledger_audit import Audit
from setpoint.domain.outcome import Finding, Verdict
from setpoint.domain.plain import from_plain, parse_json
from setpoint.domain.record import RECORD, TrainingRecord, project_differs
from setpoint.domain.windows import WindowRecord
from setpoint.errors import SetpointError, StateError
from setpoint.report.events import public
from setpoint.stages.gates.pictures import PICTURES
from setpoint.stages.signed import own_bundle
from setpoint.workspace import Workspace

VERDICTS = ("accepted", "refused")
"""Entries that hold the verdict of the gates."""
MOST = 8
"""Fields that are named where today's project file differs."""
FOLDER = "documents"
"""Where the documents of a version are among the artifacts of its run."""


@dataclass(frozen=True)
class Record:
    """The record of one version, and of the project around it.

    Attributes:
        project: The project file as its training kept it; today's where that cannot be read.
        today: The project file as it is; only what a person writes in ``documents`` is told of it.
        unread: Why the file of its training cannot be read; empty where it was.
        project_digest: SHA-256 of that file, hex; empty where it is not the file that the record
            of the training names.
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
        pictures: Of the verdict of its gates, by path among the artifacts; as PNG.
    """

    project: Project
    today: Project
    unread: str
    project_digest: str
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
    pictures: Mapping[str, bytes]

    @property
    def subject(self) -> str:
        """What its ledger entries are about."""
        return f"{self.project.name}/{self.version}"

    @property
    def personal(self) -> frozenset[str]:
        """Columns that name a person, by either project file: what is marked late is hidden too."""
        return frozenset(
            name
            for project in (self.project, self.today)
            for name, column in project.data.columns.items()
            if column.personal
        )

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """Fields in which today's project file differs from that of the training, but for words."""
        was, now = (p.model_dump(mode="json", exclude={"documents"})
                    for p in (self.project, self.today))  # fmt: skip
        return tuple(_differing(was, now, ""))

    @property
    def declared(self) -> str:
        """Where what is declared comes from, for the head of a document."""
        words = "Words of a person are those of documents in today's project file."
        if self.unread:
            told = f"The project file of its training cannot be read ({self.unread}): what is "
            return f"{told}declared is today's. {words}"
        if not self.differing:
            return (
                f"Declared as in the project file of its training, as today's still has it. {words}"
            )
        more = len(self.differing) - MOST
        named = ", ".join(self.differing[:MOST]) + (f" and {more} more" if more > 0 else "")
        told = "Declared as in the project file of its training; today's differs in"
        return f"{told} {named}. {words}"

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
        if not self.audit.altered:
            return f"{last}, with entries that prove nothing: {broken}"
        return f"{last}, WHICH DOES NOT VERIFY and proves nothing from there on: {broken}"

    def words(self, field: str) -> str:
        """What a person has written in ``documents`` of the project file; empty for nothing."""
        return str(getattr(self.today.documents, field) or "").strip()


def _differing(was: Any, now: Any, name: str) -> Iterator[str]:
    """Dotted names of what differs in two trees of mappings."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*was, *now)):
            yield from _differing(was.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif was != now:
        yield name


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
    project, unread, digest = _trained_with(workspace, version)
    artifacts = _artifacts(workspace, version)
    return Record(
        project=project,
        today=workspace.project,
        unread=unread,
        project_digest=digest,
        version=version,
        champion=workspace.champion(),
        tags=registry.tags(version),
        run=registry.run(version),
        bundle=own_bundle(workspace, version, past=True),
        entries=tuple(state.ledger()),
        audit=audit,
        windows=tuple(state.windows()),
        incidents=tuple(state.incidents()),
        artifacts=artifacts,
        quarantined=len(quarantined(workspace)),
        pictures={
            path: registry.read_attached(version, path) for path in PICTURES if path in artifacts
        },
    )


def _trained_with(workspace: Workspace, version: str) -> tuple[Project, str, str]:
    """The project file of a version's training and its digest, or today's and why not that one."""
    where = f"the project file of {version}"
    try:
        _, content = workspace.registry.artifact(version, "project")
        _, made_from = workspace.registry.artifact(version, "record")
        record = from_plain(TrainingRecord, parse_json(made_from, RECORD), RECORD)
        project = parse_project(content.decode("utf-8"), where=where)
    except (SetpointError, UnicodeDecodeError) as err:
        reason = err.what if isinstance(err, SetpointError) else str(err)
        return workspace.project, " ".join(reason.split()), ""
    if altered := project_differs(record, content):
        return workspace.project, altered, ""
    return project, "", record.project


def _artifacts(workspace: Workspace, version: str) -> tuple[str, ...]:
    registry = workspace.registry
    return tuple(p for folder in registry.attached(version, "") for p in
                 (registry.attached(version, folder) or [folder]))  # fmt: skip
