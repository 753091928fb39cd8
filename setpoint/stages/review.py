"""Who has read the project file that a model is made of: a person's word in the ledger.

A word counts for the bytes that were read and for no others: it names their digest, and whoever
changes the file needs another one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from setpoint.domain.approval import POLICY, normal
from setpoint.domain.ledger import Entry
from setpoint.domain.record import project_digest
from setpoint.errors import ProjectFileError, SetpointError
from setpoint.stages.rebuild import read_record
from setpoint.stages.signed import vouched_entry
from setpoint.workspace import Workspace

REVIEWED = "reviewed"
"""Kind of the ledger's entry."""
LEAST_TYPED = 8
"""Characters of a digest that tell which file is meant."""


def current(workspace: Workspace) -> str:
    """Digest of the project file as it is, SHA-256, hex."""
    return project_digest(workspace.project_file.read_bytes())


@dataclass(frozen=True)
class Reading:
    """What there is to read.

    Attributes:
        digest: Of the project file as it is.
        version: In service, whose file the present one is held against; empty where there is none,
            or where what is kept of its file is not what its record names.
        diff: From that file, or from nothing, to the present one; empty if both are equal.
    """

    digest: str
    version: str
    diff: str


def reading(workspace: Workspace) -> Reading:
    """The project file beside that of the version in service."""
    content = workspace.project_file.read_bytes()
    version, before = workspace.champion() or "", ""
    try:
        recorded = read_record(workspace, version) if version else None
        if recorded is not None and recorded.record.project and not recorded.altered:
            before = recorded.project
    except SetpointError:  # of before the file was kept, or altered: all of it is to be read
        before = ""
    version = version if before else ""
    was, now = before.splitlines(), content.decode("utf-8", "replace").splitlines()
    lines = difflib.unified_diff(was, now, version or "nothing", "now", lineterm="")
    return Reading(project_digest(content), version, "\n".join(lines))


def review(workspace: Workspace, digest: str, person: str, note: str, login: str) -> Entry:
    """Record that a person has read the project file and stands by it.

    Args:
        workspace: The project.
        digest: Of the file that was read, as shown; its first ``LEAST_TYPED`` characters do.
        person: Who.
        note: Why.
        login: The user of the machine who says so.

    Raises:
        ProjectFileError: The file is not the one that was read, or nobody says so.
    """
    if normal(person) in ("", POLICY):
        raise ProjectFileError(
            f"{person!r} is no person's name", where="review", fix="say who has read the file"
        )
    if not note.strip():
        raise ProjectFileError("a review needs a reason", where="review", fix="say why with --note")
    found = current(workspace)
    if len(digest) < LEAST_TYPED or not found.startswith(digest.lower()):
        raise ProjectFileError(
            f"the file has the digest {found[:16]}, and {digest} was read",
            where=str(workspace.project_file),
            fix="run 'setpoint review' and read what it shows, then name its digest",
        )
    told = {"by": person.strip(), "login": login, "note": note, "project": found}
    return workspace.state.record(workspace.clock.now(), REVIEWED, workspace.project.name, told)


def review_of(entries: Iterable[Entry], digest: str) -> Entry | None:
    """The newest word on a file; ``None`` if nobody has read it.

    Args:
        entries: Of the ledger, oldest first.
        digest: SHA-256 of the file, hex.
    """
    words = [one for one in entries if one.kind == REVIEWED]
    said = [one for one in words if digest and one.evidence.get("project") == digest]
    return said[-1] if said else None


def standing_review(workspace: Workspace, digest: str) -> Entry | None:
    """The newest word on a file that a trusted key signed; ``None`` if there is none."""
    entries = workspace.state.ledger_of(REVIEWED)
    return review_of((one for one in entries if vouched_entry(workspace, one)), digest)
