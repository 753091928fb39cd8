"""Seal the ledger: write its head, signed, to a place outside of the database."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from setpoint.adapters.sqlite_ledger import FIRST_SIGNED
from setpoint.domain import seals
from setpoint.domain.ledger import Break
from setpoint.domain.ledger_audit import Audit
from setpoint.domain.seals import Known, Seal
from setpoint.errors import StateError
from setpoint.workspace import Workspace

SEAL_EVERY = timedelta(hours=1)
"""Event time between two seals: what is younger than the last one can be cut off unseen."""


_SEALED = "ledger_sealed"


def seal(workspace: Workspace, now: datetime, *, at_once: bool = False) -> Seal | None:
    """Seal the ledger if its head moved and the last seal is old enough.

    Args:
        workspace: The project.
        now: Event time.
        at_once: Seal a head that moved whatever the age of the last seal.

    Returns:
        The seal; ``None`` if it is not the time, or nothing is new.

    Raises:
        StateError: The ledger is not what was sealed last: sealing it would cover that up.
    """

    made = 0

    def make(lines: Sequence[bytes]) -> Seal | None:
        nonlocal made
        # With those that are gone, so that seals made since do not cover up that they are.
        made = max(known(workspace).seals, len(lines)) + 1
        head = workspace.state.entry()
        last = next(filter(None, map(seals.parse, reversed(lines))), None)
        if last is not None:
            _check_kept(workspace, last)
            young = now - datetime.fromisoformat(last.time) < SEAL_EVERY
            if head is None or last.seq == head.seq or (young and not at_once):
                return None
        if head is None:
            return None
        name, time = workspace.project.name, now.isoformat()
        fresh = Seal(name, head.seq, head.digest, time, seals.after(lines))
        return fresh.signed(workspace.sign)

    added = workspace.seals.add(make)
    if added is not None:  # after it: a kill in between must not look like a seal that is gone
        workspace.state.amend(_SEALED, lambda was: _later(was, made, added.seq))
    return added


def _later(was: str | None, made: int, seq: int) -> str:
    before = json.loads(was or '{"seals":0,"entry":0}')
    return json.dumps({"seals": max(before["seals"], made), "entry": max(before["entry"], seq)})


def known(workspace: Workspace) -> Known:
    """What the state and the keys know of the ledger and its seals."""
    sealed = json.loads(workspace.state.recall(_SEALED) or "{}")
    since = workspace.keys.known.since()
    return Known(
        seals=int(sealed.get("seals", 0)),
        sealed=int(sealed.get("entry", 0)),
        signed=int(workspace.state.recall(FIRST_SIGNED) or 0),
        keyed="" if since is None else since.isoformat(),
    )


def _check_kept(workspace: Workspace, last: Seal) -> None:
    found = workspace.state.entry(last.seq)
    if last.project == workspace.project.name and found and found.digest == last.digest:
        return
    kept = "another entry of that number" if found else "no entry of that number"
    if last.project != workspace.project.name:
        kept = f"the ledger of {workspace.project.name!r}"
    raise StateError(
        f"entry {last.seq} of {last.project!r} was sealed at {last.time}, and here is {kept}",
        where=str(workspace.seals.path),
        fix="run 'setpoint audit --verify'; restore state.db from a backup, or give a state folder "
        "that was started anew a SETPOINT_SEALS of its own",
    )


def audit(
    workspace: Workspace, seal_lines: Sequence[bytes] | None = None, unsigned_until: int = 0
) -> Audit:
    """Verify the ledger's chain, signatures and seals.

    Args:
        workspace: The project.
        seal_lines: Another copy of the seals; none: those that are kept here.
        unsigned_until: Entries up to here may be unsigned: they are older than signatures.
    """
    # Before the ledger is read: what is sealed meanwhile would look as if it were missing.
    besides = known(workspace)
    if seal_lines is None:
        lines: Sequence[bytes] = workspace.seals.lines()
    else:  # a copy may be older than the last seals
        lines, besides = seal_lines, replace(besides, seals=0)
    found = workspace.state.audit_ledger(lines, unsigned_until, besides)
    first = workspace.state.entry(1)
    if lines or besides.seals or first is None or not _is_old(workspace, first.time):
        return found
    caveat = "nothing is sealed: an end that is cut off would not show"
    return replace(found, caveats=(*found.caveats, caveat))


def _is_old(workspace: Workspace, time: str) -> bool:
    try:
        return workspace.clock.now() - datetime.fromisoformat(time) >= SEAL_EVERY
    except (StateError, ValueError, TypeError):  # no time was reached, or it was altered
        return True


def vouched(workspace: Workspace) -> Audit:
    """The same audit, for whoever answers from the ledger or documents it.

    Unsigned entries at the beginning are of before entries were signed if signed ones follow: a
    caveat, and no break. A ledger without one signature is none of that time where the project
    has keys or seals: somebody took the signatures away.

    Args:
        workspace: The project.
    """
    besides, lines = known(workspace), workspace.seals.lines()
    found = workspace.state.audit_ledger(lines, sys.maxsize, besides)
    unsigned = found.entries - found.signed
    if not unsigned or found.altered:
        return found
    if not found.signed and (lines or workspace.keys.known.ids()):
        reason = "unsigned, as are all after it, and this project has keys: its signatures were "
        taken = Break(1, f"{reason}taken away, or nothing was written since there are keys")
        return replace(found, breaks=(taken, *found.breaks))
    caveat = f"entries 1 to {unsigned} are unsigned: who could write the file can have written them"
    return replace(found, caveats=(*found.caveats, caveat))


def check(workspace: Workspace, *, void: bool = False) -> Audit:
    """Refuse to rely on a ledger that does not hold; what was found if it does.

    Args:
        workspace: The project.
        void: Take entries too that a key signed after it was revoked. They stay for good, so who
            only tells what the ledger says goes on, and says this with it.

    Raises:
        StateError: Chain, signatures or seals do not hold; names the first place.
    """
    found = vouched(workspace)
    breaks = found.altered if void else found.breaks
    if breaks:
        first, *others = breaks
        also = f"; and {len(others)} more" if others else ""
        raise StateError(
            f"the ledger is {first}{also}",
            where=str(workspace.state.path),
            fix="'setpoint audit --verify' lists it; answer from a backup that verifies",
        )
    return found
