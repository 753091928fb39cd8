"""Ed25519 keys in a folder: private halves that sign, public halves that are trusted.

====================== ==============================================================
``ID.pem``             a private key, mode 0600; only the one in force is kept
``trusted/ID.pem``     the public half of every key that was ever in force
``revoked/ID.pem``     public halves that nothing new is accepted by
====================== ==============================================================

The service needs ``trusted`` alone. Which key is in force says the ledger, not this folder.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from setpoint.adapters.files import write_atomically
from setpoint.domain.signatures import Signature, key_id
from setpoint.errors import StateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

TRUSTED = "trusted"
REVOKED = "revoked"


class Trusted:
    """Public keys of folders; keys that come later are found when they are asked for.

    Args:
        folders: Where ``ID.pem`` files are.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._known: dict[str, Ed25519PublicKey] = {}

    def check(self, key: str, message: bytes, signature: str) -> bool:
        """Whether the key of that id is trusted and signed the message.

        Raises:
            StateError: The key's file cannot be read, or holds another key.
        """
        from cryptography.exceptions import InvalidSignature

        public = self._public(key)
        if public is None:
            return False
        try:
            made = bytes.fromhex(signature)
            public.verify(made, message)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return made.hex() == signature  # in one way of writing it: an edit of it is an edit

    def ids(self) -> list[str]:
        """Ids of all of them, sorted."""
        return sorted({path.stem for folder in self._folders for path in folder.glob("*.pem")})

    def since(self) -> datetime | None:
        """When the file of the oldest was written, wall time; ``None`` if there is none."""
        times = [p.stat().st_mtime for folder in self._folders for p in folder.glob("*.pem")]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    def _public(self, key: str) -> Ed25519PublicKey | None:
        if key not in self._known:
            # Ids come from files that others may have written: no path is made of one.
            if not isinstance(key, str) or key not in self.ids():
                return None
            path = next(f / f"{key}.pem" for f in self._folders if (f / f"{key}.pem").exists())
            self._known[key] = _read_public(path)
        return self._known[key]


class Keys:
    """The keys of one project.

    Args:
        folder: Where they are; made at first need.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trusted = Trusted(folder / TRUSTED)
        # Revoked keys still tell who signed the ledger before they were.
        self.known = Trusted(folder / TRUSTED, folder / REVOKED)
        self._private: dict[str, Ed25519PrivateKey] = {}

    def first(self) -> str:
        """Id of the key that a ledger begins with: one that was put here, else a fresh one."""
        found = sorted(path.stem for path in self.folder.glob("*.pem"))
        return found[0] if found else self.make()

    def make(self) -> str:
        """Make a key and trust it; its id.

        Raises:
            StateError: The folder cannot be written.
        """
        from cryptography.hazmat.primitives import serialization as s
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        public = private.public_key()
        key = key_id(public.public_bytes_raw())
        pem = private.private_bytes(
            s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
        )  # as SSH host keys are: who reads the file of this user signs as this user
        try:
            # Trusted first: a kill in between leaves no key that signs what nobody can check.
            write_atomically(
                self.folder / TRUSTED / f"{key}.pem",
                public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo),
            )
            _write_secret(self.folder / f"{key}.pem", pem)
        except OSError as err:
            raise StateError(
                f"a signing key cannot be written: {err.strerror}",
                where=str(self.folder),
                fix="let this user write there, or name another folder with SETPOINT_SIGNING_KEYS",
            ) from err
        self._private[key] = private
        return key

    def sign(self, key: str, message: bytes) -> Signature:
        """Sign with a key.

        Raises:
            StateError: Its private half is not here, or readable by everybody.
        """
        if key not in self._private:
            self._private[key] = self._read_private(key)
        return Signature(key, self._private[key].sign(message).hex())

    def keep_only(self, key: str) -> None:
        """Drop the private halves of all other keys: they sign nothing any more."""
        for path in self.folder.glob("*.pem"):
            if path.stem != key:
                path.unlink(missing_ok=True)
                self._private.pop(path.stem, None)

    def revoke(self, key: str) -> None:
        """Trust a key no longer; doing it again changes nothing."""
        path = self.folder / TRUSTED / f"{key}.pem"
        if path.exists():
            (self.folder / REVOKED).mkdir(exist_ok=True)
            path.rename(self.folder / REVOKED / path.name)
        self.trusted = Trusted(self.folder / TRUSTED)

    def _read_private(self, key: str) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self.folder / f"{key}.pem"
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o007:
                raise StateError(
                    "every user of this machine may use the signing key",
                    where=str(path),
                    fix=f"chmod 600 {path}, and 'setpoint keys rotate' if anybody may have read it",
                )
            found = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError) as err:
            raise StateError(
                f"the private half of key {key} is needed to sign and cannot be read: {err}",
                where=str(path),
                fix="restore the folder of keys from a backup, or name it with "
                "SETPOINT_SIGNING_KEYS; without it nothing is written to the ledger",
            ) from err
        if not isinstance(found, Ed25519PrivateKey) or _id_of(found.public_key()) != key:
            raise StateError(
                "the file holds another key than its name says",
                where=str(path),
                fix="restore the folder of keys from a backup",
            )
        return found


def _id_of(public: Ed25519PublicKey) -> str:
    return key_id(public.public_bytes_raw())


def _read_public(path: Path) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        found = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as err:
        raise StateError(
            f"a trusted key cannot be read: {err}",
            where=str(path),
            fix="restore the file from a backup",
        ) from err
    # The name is what signatures are looked up by: another key under it would pass as that one.
    if not isinstance(found, Ed25519PublicKey) or _id_of(found) != path.stem:
        raise StateError(
            "the file holds another key than its name says",
            where=str(path),
            fix="restore the file from a backup; somebody may have put another key in its place",
        )
    return found


def _write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner ever could read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # what it signs must not be durable before it is
    finally:
        os.close(folder)
