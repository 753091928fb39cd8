"""What is signed of a container image: pure, the engine and the keys are elsewhere.

An image is known by digests that cover all its content. Its id is the SHA-256 of its
configuration, which names the digest of every layer (OCI image specification, "ImageID"). A
registry knows it by the SHA-256 of its manifest, which names configuration and packed layers;
whoever pulls by that digest refuses anything else.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from setpoint.domain.ledger import canonical
from setpoint.domain.signatures import Check, Sign
from setpoint.errors import PlatformError

PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
"""A name that means one content: ``repository@sha256:...``."""
DELIVER = "build it again with 'setpoint deliver'; never sign what came from elsewhere"


@dataclass(frozen=True)
class SignedImage:
    """The image of a version, and who signed that it is.

    Attributes:
        name: ``repository@sha256:...`` of a pushed one, else its tag in the engine.
        id: Digest of its configuration, ``sha256:...``.
        key: Id of the key.
        signature: Ed25519 over the bundle's digest, ``name`` and ``id``, 128 hexadecimal digits.
    """

    name: str
    id: str
    key: str
    signature: str

    def text(self) -> str:
        """As it is kept beside the version's record."""
        return json.dumps(asdict(self), sort_keys=True)


def image_message(bundle: str, name: str, image_id: str) -> bytes:
    """What is signed of an image.

    Args:
        bundle: Digest of the bundle in it, so that a version gets no other version's image.
        name: As in ``SignedImage``.
        image_id: The same.
    """
    return f"setpoint image\n{canonical([bundle, name, image_id])}".encode()


def sign_image(bundle: str, name: str, image_id: str, sign: Sign) -> SignedImage:
    """Sign an image with the key in force; see ``image_message``."""
    by = sign(image_message(bundle, name, image_id))
    return SignedImage(name, image_id, by.key, by.signature)


def checked_image(kept: str | None, bundle: str, check: Check, where: str) -> SignedImage:
    """The image that a version's record names, if a trusted key signed that it is this one.

    Args:
        kept: What the record says; ``None`` if it names no image.
        bundle: Digest of the version's bundle.
        check: Whether a trusted key signed.
        where: The record, for people.

    Raises:
        PlatformError: There is no signed image, the record is altered, or its key is not trusted.
    """
    if kept is None:
        raise PlatformError(
            "the version has no signed image",
            where=where,
            fix=f"set package.image to require, name package.repository, and {DELIVER}",
        )
    found = _parse(kept)
    if found is None:
        raise PlatformError("the record of the image was altered", where=where, fix=DELIVER)
    message = image_message(bundle, found.name, found.id)
    if not check(found.key, message, found.signature):
        raise PlatformError(
            f"the signature of the image {found.name[:200]} does not hold: key {found.key[:16]} "
            "is not trusted here, or did not sign this image of this version",
            where=where,
            fix=f"restore the record, or the public key that signed, from a backup; or {DELIVER}",
        )
    return found


def pinned_name(found: SignedImage, where: str) -> str:
    """The name to start it by on another machine.

    Raises:
        PlatformError: It is in no registry, so that no name means its content.
    """
    if PINNED.fullmatch(found.name):
        return found.name
    raise PlatformError(
        f"the image {found.name} was never pushed: its name may mean any image",
        where=where,
        fix=f"name package.repository in the project file, and {DELIVER}",
    )


def _parse(text: str) -> SignedImage | None:
    try:
        plain = json.loads(text)
        found = SignedImage(**plain)
    except (ValueError, TypeError):
        return None
    sound = all(isinstance(value, str) for value in plain.values())
    return found if sound and found.text() == text else None  # an edit of it is an edit
