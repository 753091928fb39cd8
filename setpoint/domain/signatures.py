"""What is signed, and what a signature says; pure, the keys are elsewhere.

Every kind of thing has a prefix of its own, so that a signature of one never passes as one of
another. Ed25519 (RFC 8032) signs the digest of a thing, not its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from setpoint.errors import BundleError

SIGNATURE = "signature.json"
"""File of a bundle's signature, beside its manifest."""

Check = Callable[[str, bytes, str], bool]
"""Whether a key that is trusted (its id) signed a message; the signature in hexadecimal."""


@dataclass(frozen=True)
class Signature:
    """Who signed.

    Attributes:
        key: Id of the key: the first 16 hexadecimal digits of the SHA-256 of its public half.
        signature: Ed25519, 128 hexadecimal digits.
    """

    key: str
    signature: str


Sign = Callable[[bytes], Signature]
"""Signs a message with the key in force."""


def key_id(public: bytes) -> str:
    """Id of a key, 16 hexadecimal digits.

    Args:
        public: The 32 bytes of its public half.
    """
    return hashlib.sha256(public).hexdigest()[:16]


def entry_message(digest: str) -> bytes:
    """What is signed of a ledger entry."""
    return f"setpoint ledger entry\n{digest}".encode()


def bundle_message(digest: str) -> bytes:
    """What is signed of a bundle: its digest, which covers every byte of it but the signature."""
    return f"setpoint bundle\n{digest}".encode()


def snapshot_message(table: str, record: str) -> bytes:
    """What is signed of a snapshot.

    Args:
        table: ``events`` or ``labels``, so that one never passes as the other.
        record: All that its commit says of it, the digest of its content among that.
    """
    return f"setpoint snapshot\n{table}\n{hashlib.sha256(record.encode()).hexdigest()}".encode()


def write_signature(found: Signature) -> bytes:
    """A signature as the content of a file."""
    return json.dumps(asdict(found), sort_keys=True).encode() + b"\n"


def read_signature(data: bytes, where: str) -> Signature:
    """The signature that a file holds.

    Raises:
        BundleError: It holds something else.
    """
    try:
        return parse_signature(data.decode())
    except ValueError as err:
        raise BundleError(
            f"{SIGNATURE} is no signature: {err}", where=where, fix="package the model again"
        ) from err


def parse_signature(text: str) -> Signature:
    """The signature that a text holds.

    Raises:
        ValueError: It holds something else.
    """
    plain = json.loads(text)
    names = {"key", "signature"}
    if not isinstance(plain, dict) or set(plain) != names:
        raise ValueError(f"it has not just {' and '.join(sorted(names))}")
    if not all(isinstance(value, str) for value in plain.values()):
        raise ValueError("a value is no text")
    return Signature(**plain)


def check_bundle(digest: str, found: Signature | None, check: Check, where: str) -> None:
    """Refuse a bundle that no trusted key signed.

    Raises:
        BundleError: Its signature is missing, by a key that is not trusted, or of another bundle.
    """
    if found is None:
        raise BundleError(
            f"the bundle is not signed: there is no {SIGNATURE}",
            where=where,
            fix="train it again with 'setpoint deliver'; a bundle of before signatures is not "
            "released any more",
        )
    if not check(found.key, bundle_message(digest), found.signature):
        raise BundleError(
            f"the bundle's signature does not hold: key {found.key[:16]} is not trusted here, or "
            f"did not sign the bundle of digest {digest}",
            where=where,
            fix="restore the bundle, or the public key that signed it, from a backup; never sign "
            "what came from elsewhere",
        )
