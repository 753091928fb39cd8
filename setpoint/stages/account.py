"""Questions about the past, answered from the record: ledger, registry, bundles, decision log.

Decisions are counted by the store, so an answer takes seconds however many there are.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from setpoint.domain import account
from setpoint.domain.account import Releasing, Service, Stopped, Told
from setpoint.domain.bundle import Bundle, Manifest
from setpoint.domain.findings import Finding
from setpoint.domain.ledger import Entry
from setpoint.domain.ledger_audit import Audit
from setpoint.domain.plain import from_plain, parse_json, to_plain
from setpoint.domain.record import RECORD, UNCOVERED, TrainingRecord, project_differs
from setpoint.errors import DataError, StateError
from setpoint.ports import DecisionCount, DecisionQuery
from setpoint.stages import sealing
from setpoint.stages.signed import own_bundle
from setpoint.workspace import Workspace

ANSWERED = timedelta(hours=1)
"""Before a moment: whose decisions are counted to show who answered then."""


@dataclass(frozen=True)
class Standing:
    """What was in production at a moment, and why.

    Attributes:
        time: The moment, event time.
        service: Who was the champion; ``None`` before the first promotion.
        releasing: The release that was going on; ``None`` for none.
        incident: What the promotion answered, in words; empty if it was no incident.
        verdict: Summary of the champion's gates; empty if there were none.
        answered: Served decisions of the hour up to the moment, by version and action.
        entries: What the ledger says of the champion until the moment, oldest first.
        stopped: What people had taken out of the traffic, and who answered in its place.
        audit: What vouches for the ledger, and what does not.
    """

    time: datetime
    service: Service | None
    releasing: Releasing | None
    incident: str
    verdict: str
    answered: tuple[DecisionCount, ...]
    entries: tuple[Told, ...]
    stopped: tuple[Stopped, ...]
    audit: Audit


@dataclass(frozen=True)
class Data:
    """What trained a version.

    Attributes:
        snapshot: Versions of events and labels, ``events.labels``.
        digest: Of the training data.
        until: Event time up to which they were known.
        judged_since: Event time from which rows tuned and judged; ``None``: the project file says.
        events: Events in the snapshot.
        labels: Labels in the snapshot.
        used: Rows of each part of the split.
        batches: Their sources: batches of events and labels, in the order in which they came.
    """

    snapshot: str
    digest: str
    until: datetime
    judged_since: datetime | None
    events: int
    labels: int
    used: dict[str, int]
    batches: tuple[str, ...]


@dataclass(frozen=True)
class VersionAccount:
    """A version from its data to its decisions.

    Attributes:
        version: Which.
        bundle: Digest of its bundle.
        approved_by: Who let it into production: ``policy`` or persons; empty: nobody has.
        verdict: Outcome of its gates; empty if they were never asked.
        findings: What the gates found.
        data: What trained it; ``None`` where its record does not say.
        parameters: Of the model.
        seeds: By purpose.
        metrics: Measured on the rows that judge.
        conditions: Commit, environment, Python, machine, threads.
        served: When it was the champion.
        decisions: Served ones, by action.
        mirrored: Those that nobody was answered with.
        entries: What the ledger says of it, oldest first.
        missing: Parts of the record that could not be read, and why.
        audit: What vouches for the ledger, and what does not.
    """

    version: str
    bundle: str
    approved_by: str
    verdict: str
    findings: tuple[Finding, ...]
    data: Data | None
    parameters: dict[str, Any]
    seeds: dict[str, int]
    metrics: dict[str, float]
    conditions: dict[str, Any]
    served: tuple[Service, ...]
    decisions: tuple[DecisionCount, ...]
    mirrored: tuple[DecisionCount, ...]
    entries: tuple[Told, ...]
    missing: tuple[str, ...]
    audit: Audit


@dataclass(frozen=True)
class Comparison:
    """What changed from one version to another: old and new value by name, equal ones left out.

    Attributes:
        old: Version.
        new: Version.
        data: Snapshot, digest, rows, times, batches that came.
        parameters: Of the model, seeds included.
        features: Inputs: ``added``, ``removed``, or ``order``.
        decision: Threshold, actions, exploration.
        conditions: Commit, environment, Python, machine, threads.
        metrics: Each on the rows that judged it, so on others.
        project: Lines of the project file that differ, as a unified diff.
        uncovered: Of which version no digest vouches for the project file.
    """

    old: str
    new: str
    data: dict[str, tuple[Any, Any]]
    parameters: dict[str, tuple[Any, Any]]
    features: dict[str, tuple[Any, Any]]
    decision: dict[str, tuple[Any, Any]]
    conditions: dict[str, tuple[Any, Any]]
    metrics: dict[str, tuple[Any, Any]]
    project: tuple[str, ...]
    uncovered: tuple[str, ...]


def at(workspace: Workspace, moment: datetime) -> Standing:
    """What was in production at a moment of event time, and why.

    Args:
        workspace: The project.
        moment: Event time, aware.

    Raises:
        StateError: Chain, signatures or seals of the ledger do not hold.
    """
    audit, entries = _ledger(workspace)
    service = account.service_at(entries, moment)
    going_on = workspace.state.unsettled_releases()
    now = going_on[0].label if going_on else ""
    # There is no hour before the first one of all time.
    start = max(moment, datetime.min.replace(tzinfo=UTC) + ANSWERED) - ANSWERED
    query = DecisionQuery(start=start, end=moment + timedelta(microseconds=1))
    until: list[Entry] = []
    if service is not None:
        mine = account.about(entries, service.version)
        until = [one for one in mine if account.time_of(one) <= moment]
    gated = account.verdict_of(until)
    return Standing(
        moment,
        service,
        account.releasing_at(entries, moment, now),
        "" if service is None else _incident(workspace, service.cause),
        "" if gated is None else gated[1].summary(),
        tuple(workspace.decisions.summary(query)),
        tuple(map(account.told, until)),
        tuple(account.stopped_at(entries, moment)),
        audit,
    )


def _ledger(workspace: Workspace) -> tuple[Audit, list[Entry]]:
    found = sealing.check(workspace, void=True)
    return found, workspace.state.ledger()[: found.entries]  # what came since is not verified


def _incident(workspace: Workspace, cause: str) -> str:
    try:
        found = workspace.state.incident(cause)
    except StateError:  # the cause is a word, such as first or manual
        return ""
    lines = "; ".join(found.headlines) or found.note
    return f"{found.id}, {found.cause}, opened {found.opened_at:%Y-%m-%d %H:%M}: {lines}"


def version(workspace: Workspace, name: str) -> VersionAccount:
    """All that the record says of a version.

    Args:
        workspace: The project.
        name: ``v1``, ``v2`` ...

    Raises:
        StateError: There is no such version, or the ledger does not hold.
        BundleError: Its bundle is gone or altered.
    """
    bundle = _bundle(workspace, name)
    (audit, entries), missing = _ledger(workspace), []
    mine = account.about(entries, name)
    record = None
    try:
        record = _record(workspace, name)
    except StateError as err:
        missing.append(err.what)
    gated = account.verdict_of(mine)
    served = tuple(one for one in account.services(entries) if one.version == name)
    count = workspace.decisions.summary
    return VersionAccount(
        version=name,
        bundle=bundle.digest,
        approved_by=account.approved_by(mine) if served else "",
        verdict="" if gated is None else str(gated[1].outcome),
        findings=() if gated is None else gated[1].findings,
        data=None if record is None else _data(workspace, bundle.manifest, record, missing),
        parameters=bundle.manifest.parameters,
        seeds=bundle.manifest.seeds,
        metrics=workspace.registry.metrics(name),
        conditions=_conditions(bundle.manifest, record),
        served=served,
        decisions=tuple(count(DecisionQuery(version=name))),
        mirrored=tuple(count(DecisionQuery(version=name, shadow=True))),
        entries=tuple(map(account.told, mine)),
        missing=tuple(missing),
        audit=audit,
    )


def _bundle(workspace: Workspace, name: str) -> Bundle:
    if name not in workspace.registry.versions():
        raise StateError(
            f"there is no version {name}",
            where=f"model {workspace.registry.name} in MLflow",
            fix=f"versions are {', '.join(workspace.registry.versions()) or 'none yet'}",
        )
    return own_bundle(workspace, name, past=True)


def _record(workspace: Workspace, name: str) -> TrainingRecord:
    _, content = workspace.registry.artifact(name, "record")
    digest = hashlib.sha256(content).hexdigest()
    told = workspace.registry.tags(name).get("record", digest)  # the first records have no tag
    if told != digest:
        raise StateError(
            f"the record of {name} was altered: digest {digest[:16]}, registered {told[:16]}",
            where=f"artifact record of {name} in MLflow",
            fix="restore MLflow's artifacts from a backup",
        )
    return from_plain(TrainingRecord, parse_json(content, RECORD), RECORD)


def _data(
    workspace: Workspace, manifest: Manifest, record: TrainingRecord, missing: list[str]
) -> Data:
    rows, batches = {"events": 0, "labels": 0}, []
    for table, at_version in (("events", record.events), ("labels", record.labels)):
        try:
            found = workspace.snapshots(table).get(at_version)
        except (DataError, StateError) as err:
            missing.append(f"{table}: {err.what}")
            continue
        rows[table] = found.rows
        batches += [f"{table}/{name}" for name in found.batches]
    return Data(
        manifest.snapshot.version,
        manifest.snapshot.digest,
        record.data_until,
        record.judged_since,
        rows["events"],
        rows["labels"],
        {part: one.rows for part, one in record.rows.items()},
        tuple(batches),
    )


def _conditions(manifest: Manifest, record: TrainingRecord | None) -> dict[str, Any]:
    known = {"commit": manifest.commit, "environment": manifest.environment_digest}
    return known if record is None else asdict(record.conditions)


def compare(workspace: Workspace, old: str, new: str) -> Comparison:
    """What changed from one version to another.

    Args:
        workspace: The project.
        old: A version.
        new: Another one.

    Raises:
        StateError: There is no such version, or its record cannot be read or was altered.
        BundleError: A bundle is gone or altered.
    """
    bundles = [_bundle(workspace, name) for name in (old, new)]
    records = [_record(workspace, name) for name in (old, new)]
    manifests = [bundle.manifest for bundle in bundles]
    pairs = list(zip(manifests, records, strict=True))
    pair = tuple(zip((old, new), records, strict=True))
    was, now = (_project_file(workspace, name, record) for name, record in pair)
    diff = difflib.unified_diff(was, now, old, new, lineterm="", n=1)
    return Comparison(
        old,
        new,
        _data_changed(*(_data(workspace, m, r, []) for m, r in pairs)),
        account.changed(*({**m.parameters, **m.seeds} for m in manifests)),
        _features_changed(*(bundle.features.names for bundle in bundles)),
        account.changed(*map(_decides, bundles)),
        account.changed(*(_conditions(m, r) for m, r in pairs)),
        account.changed(*(workspace.registry.metrics(name) for name in (old, new))),
        tuple(diff),
        tuple(f"{name}: {UNCOVERED}" for name, record in pair if not record.project),
    )


def _project_file(workspace: Workspace, name: str, record: TrainingRecord) -> list[str]:
    """Lines of the project file that a version was trained with.

    Raises:
        StateError: It is gone, or is not the one that the record names.
    """
    _, content = workspace.registry.artifact(name, "project")
    if altered := project_differs(record, content):
        raise StateError(
            f"the project file in the record of {name} was altered: {altered}",
            where=f"artifact project of {name} in MLflow",
            fix="restore MLflow's artifacts from a backup",
        )
    return content.decode().splitlines()


def _data_changed(old: Data, new: Data) -> dict[str, tuple[Any, Any]]:
    was, now = to_plain(old), to_plain(new)
    for told in (was, now):
        told |= {f"rows that {part}": rows for part, rows in told.pop("used").items()}
    before, after = set(was.pop("batches")), now.pop("batches")
    came = [name for name in after if name not in before]
    found = account.changed(was, now)
    return found | ({"batches that came": (None, came)} if came else {})


def _features_changed(old: Sequence[str], new: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    gone, came = [n for n in old if n not in new], [n for n in new if n not in old]
    found |= {"removed": (gone, None)} if gone else {}
    found |= {"added": (None, came)} if came else {}
    if not found and list(old) != list(new):
        found["order"] = (list(old), list(new))
    return found


def _decides(bundle: Bundle) -> dict[str, Any]:
    decision = bundle.decision
    return {
        "threshold": decision.threshold,
        "exploration": decision.exploration,
        **{f"action {name}": action for name, action in decision.actions.items()},
    }
