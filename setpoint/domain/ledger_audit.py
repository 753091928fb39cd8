"""Whether a ledger is whole, by its chain, its signatures and its seals, and where it is not.

The signature of the last entry stands for all before it, as each entry is bound to the digest and
the signature of the one before. So only it is checked, and those of entries that change keys. If
it does not hold while the chain does, somebody without the key made the chain again: a signature
that holds vouches for all before it, so the first that does not is found by halving.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from setpoint.domain.ledger import REVOKED, ROTATED, Break, Row, follow, key_in_force
from setpoint.domain.seals import Known, Seal, sound_seals
from setpoint.domain.signatures import Check, entry_message

NOTHING = Known()


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        entries: Entries that were followed.
        signed: Those of them that are signed.
        seals: Seals that hold.
        breaks: What does not hold, and where; empty if all does.
        caveats: What holds less than it may seem to; said wherever the ledger is relied on.
    """

    entries: int
    signed: int
    seals: int
    breaks: tuple[Break, ...]
    caveats: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """How much was looked at, in words."""
        return f"{self.entries:,} entries, {self.signed:,} signatures, {self.seals:,} seals"

    @property
    def altered(self) -> tuple[Break, ...]:
        """Breaks by which the ledger is not what was written.

        All but those of a revoked key: what it signed is whole, and only as good as who held it.
        """
        return tuple(one for one in self.breaks if one.of != "key")

    @property
    def told(self) -> str:
        """What was found, in one sentence."""
        if self.altered:
            return f"{self.counts}; not verified: {'; '.join(map(str, self.breaks))}"
        return "; ".join([f"{self.counts} verified", *self.caveats, *map(str, self.breaks)])


def audit(
    rows: Iterable[Row],
    row_at: Callable[[int], Row | None],
    seal_lines: Iterable[bytes],
    project: str,
    check: Check,
    *,
    revoked: Mapping[str, str] | None = None,
    unsigned_until: int = 0,
    known: Known = NOTHING,
) -> Audit:
    """Follow a ledger from its start to its end.

    Args:
        rows: All rows, by number.
        row_at: One row, by its number.
        seal_lines: The lines of the seals, oldest first.
        project: Whose ledger it is.
        check: Whether a trusted key signed a message.
        revoked: Time (ISO) from which a key is void, by its id.
        unsigned_until: Entries up to here may be unsigned: they are older than signatures.
        known: What is known besides; looked up before the lines, as seals are added meanwhile.
    """
    lines = list(seal_lines)
    sealed: dict[int, list[tuple[int, Seal]]] = defaultdict(list)
    breaks = []
    for number, found in sound_seals(lines, project, check):
        if isinstance(found, Break):
            breaks.append(found)
        else:
            sealed[found.seq].append((number, found))
    walk = _Walk(row_at, check, revoked or {}, sealed)
    for row, fault in follow(rows):
        if not walk.take(row, fault):
            break
    walk.end(known)
    if len(lines) < known.seals:
        gone = f"{known.seals - len(lines)} of {known.seals} seals that were made are missing"
        reason = f"{gone}; the last one named entry {known.sealed}"
        breaks.append(Break(len(lines) + 1, reason, "seal"))
    breaks = [*walk.unsigned_breaks(unsigned_until, known), *walk.breaks, *breaks, *walk.voided()]
    return Audit(walk.entries, walk.signed, walk.seals, tuple(breaks))


@dataclass
class _Walk:
    """Where a walk along the ledger is; changed by each row, as there may be millions."""

    row_at: Callable[[int], Row | None]
    check: Check
    revoked: Mapping[str, str]
    sealed: Mapping[int, list[tuple[int, Seal]]]
    key: str = ""
    last: Row | None = None
    entries: int = 0
    signed: int = 0
    unsigned: int = 0
    keyed: int = 0
    seals: int = 0
    void: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    whole: bool = True
    breaks: list[Break] = field(default_factory=list)

    def take(self, row: Row, fault: str) -> bool:
        """Take the next row; False if the walk ends at it."""
        fault = fault or self._signer_fault(row)
        if fault:
            self.whole = False
            # Changed earlier with the digests made again, only the next one does not follow.
            at = self._forged() or Break(row[0], fault)
            self.breaks.append(at)
            return False
        self.entries += 1
        if row[7]:
            self.signed += 1
            self.key = row[7] if row[2] != ROTATED else key_in_force(row[2], row[4], row[7])
            if row[7] in self.revoked and is_since(row[1], self.revoked[row[7]]):
                count, first, _ = self.void.get(row[7], (0, row[0], 0))
                self.void[row[7]] = (count + 1, first, row[0])
        else:
            self.unsigned += 1
            if row[2] in (ROTATED, REVOKED) and not self.keyed:
                self.keyed = row[0]  # there was a key, so this was signed by it
        if row[0] in self.sealed:
            self._compare(row)
        self.last = row
        return True

    def _signer_fault(self, row: Row) -> str:
        key = row[7]
        if not key:
            return "unsigned, and the entries before it are signed" if self.key or row[8] else ""
        if key == self.key and row[2] != ROTATED:
            return ""
        if self.key and key != self.key:
            return f"foreign signature: by key {str(key)[:16]}, in force was {self.key}"
        # The first signature and each change of key decide who may sign after them.
        return "" if self._holds(row) else self._foreign(row)

    def _holds(self, row: Row) -> bool:
        return self.check(row[7], entry_message(row[6]), row[8])

    def _foreign(self, row: Row) -> str:
        return (
            "changed after it was signed, or a foreign signature: "
            f"key {str(row[7])[:16]} is not trusted here, or did not sign this"
        )

    def _compare(self, row: Row) -> None:
        for number, seal in self.sealed[row[0]]:
            if seal.digest == row[6]:
                self.seals += 1
            else:
                reason = f"is not what was sealed at {seal.time} (line {number} of the seals)"
                self.breaks.append(Break(row[0], reason))

    def _forged(self) -> Break | None:
        """The first of the entries so far whose signature does not hold, ``None`` if all do."""
        if self.last is None or not self.last[7] or self._holds(self.last):
            return None
        low, high = self.unsigned + 1, self.entries
        while low < high:
            middle = (low + high) // 2
            row = self.row_at(middle)
            if row is not None and self._holds(row):
                low = middle + 1
            else:
                high = middle
        return Break(low, self._foreign(self.row_at(low) or self.last))

    def unsigned_breaks(self, until: int, known: Known) -> list[Break]:
        """Unsigned entries after ``until``, and those of a time when entries were signed."""
        signing = [n for n in (known.signed, self.keyed, self._since_key(known)) if n]
        taken = min([n for n in signing if n <= self.unsigned], default=0)
        first = min([n for n in (taken, until + 1) if 0 < n <= self.unsigned], default=0)
        if not first:
            return []
        after = self.unsigned - first
        reason = f"unsigned, as are {after} after it" if after else "unsigned"
        reason += ": who can write the file can have written it"
        if taken:
            reason += f"; entries were signed from {taken} on, so signatures were taken away"
        return [Break(first, reason)]

    def _since_key(self, known: Known) -> int:
        """The first unsigned entry of after there was a key; 0 if the last one is of before."""
        last = self.row_at(self.unsigned) if self.unsigned and known.keyed else None
        if last is None or not is_since(last[1], known.keyed):
            return 0
        rows = ((n, self.row_at(n)) for n in range(1, self.unsigned + 1))
        return next(n for n, row in rows if row is not None and is_since(row[1], known.keyed))

    def voided(self) -> list[Break]:
        """What each revoked key signed after it was void, at the first such entry."""
        found = []
        for key, (count, first, last) in self.void.items():
            reason = f"signed by key {key} after it was revoked (from {self.revoked[key]} on)"
            more = f", as are {count - 1} more, the last entry {last}" if count > 1 else ""
            found.append(Break(first, f"{reason}{more}", "key"))
        return found

    def end(self, known: Known) -> None:
        """Check the last signature, and that nothing sealed is missing after it."""
        if not self.whole:
            return  # what follows a break is not known
        forged = self._forged()
        if forged is not None:
            self.breaks.append(forged)
        missing = [(s, n) for s, found in self.sealed.items() for n, _ in found if s > self.entries]
        if missing:
            seq, number = max(missing)
            reason = f"missing with all up to entry {seq}: line {number} of the seals names it"
            self.breaks.append(Break(self.entries + 1, f"{reason}; the end was cut off"))
        elif known.sealed > self.entries:
            reason = f"missing with all up to entry {known.sealed}, which was sealed"
            self.breaks.append(Break(self.entries + 1, f"{reason}; the end was cut off"))


def is_since(time: str, since: str) -> bool:
    """Whether one time (ISO) is not before another; so it is, where one of them is none."""
    try:
        return datetime.fromisoformat(time) >= datetime.fromisoformat(since)
    except (ValueError, TypeError):
        return True
