"""Seals: the head of the ledger, signed and kept elsewhere, so that a cut-off end shows.

A seal is a line of a file. It names the digest of the line before, so that a line taken out of
the middle shows too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

from setpoint.domain.ledger import GENESIS, Break, canonical
from setpoint.domain.signatures import Check, Sign


@dataclass(frozen=True)
class Seal:
    """The head of a ledger at a time.

    Attributes:
        project: Whose ledger.
        seq: Number of its last entry.
        digest: Digest of that entry.
        time: When it was sealed, ISO 8601, UTC.
        previous: SHA-256 of the line before, hex.
        key: Id of the key that signed.
        signature: Signature over all of the above, hex.
    """

    project: str
    seq: int
    digest: str
    time: str
    previous: str
    key: str = ""
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        parts = [self.project, self.seq, self.digest, self.time, self.previous]
        return b"setpoint seal\n" + canonical(parts).encode()

    def signed(self, sign: Sign) -> Seal:
        """The same, signed."""
        by = sign(self.message)
        return replace(self, key=by.key, signature=by.signature)

    def line(self) -> bytes:
        """As it is kept, without the line's end."""
        return canonical(asdict(self)).encode()


@dataclass(frozen=True)
class Known:
    """What is known of a ledger besides itself and its seals; zero or empty where nothing is.

    Attributes:
        seals: Seals that were made.
        sealed: Number of the last entry that was sealed.
        signed: Number of the first entry that was signed.
        keyed: When the first key was made, ISO 8601, wall time.
    """

    seals: int = 0
    sealed: int = 0
    signed: int = 0
    keyed: str = ""


def after(lines: Sequence[bytes]) -> str:
    """What a seal names that follows these lines."""
    return hashlib.sha256(lines[-1]).hexdigest() if lines else GENESIS


def parse(line: bytes) -> Seal | None:
    """The seal that a line holds, ``None`` if it holds none."""
    try:
        plain = json.loads(line)
        seal = Seal(**plain)
    except (ValueError, TypeError):
        return None
    kinds = {"int": int, "str": str}
    sound = all(type(plain.get(f.name, "")) is kinds[str(f.type)] for f in fields(Seal))
    return seal if sound else None


def sound_seals(
    lines: Iterable[bytes], project: str, check: Check
) -> Iterator[tuple[int, Seal | Break]]:
    """Each seal that holds by itself, or what is wrong with it, with its line's number from 1.

    A line that is no seal, as a power failure may leave one, is passed over if the seal after it
    names it: whoever sealed saw it.
    """
    previous, torn = GENESIS, 0
    for number, line in enumerate(lines, 1):
        seal = parse(line)
        follows = seal is not None and seal.previous == previous
        if torn and not follows:
            yield torn, Break(torn, "is damaged: it is no seal", "seal")
        torn = 0 if seal is not None else number
        previous = hashlib.sha256(line).hexdigest()
        if seal is None:
            continue
        if not check(seal.key, seal.message, seal.signature):
            reason = f"was changed, or signed by a key that is not trusted ({seal.key[:16]})"
            yield number, Break(number, reason, "seal")
        elif not follows:
            yield number, Break(number, "does not follow from the line before it", "seal")
        elif seal.project != project:
            yield number, Break(number, f"is of the project {seal.project!r}", "seal")
        else:
            yield number, seal
    if torn:
        yield torn, Break(torn, "is damaged: it is no seal", "seal")
