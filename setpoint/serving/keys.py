"""API keys: who may do what, and how often. Keys are known by their SHA-256 alone.

``python -m setpoint.serving.keys NAME --roles score label --per-minute 600`` makes one.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import math
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from setpoint.errors import PlatformError
from setpoint.serving.problems import Refusal

Role = Literal["score", "label", "audit", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
MOST_PER_MINUTE = 10_000_000
MOST_DIGITS = 15
SEND = "send the header authorization: Bearer KEY"
CHALLENGE = ("www-authenticate", "Bearer")


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key of the keys file.

    Attributes:
        name: Whose it is, for people; unique.
        sha256: SHA-256 of the key, 64 lower-case hexadecimal digits; unique.
        roles: What it may do; no role contains another.
        per_minute: How many requests it may send a minute.
        score_digits: Decimal places of the scores it is answered; all if ``None``. What is
            logged has all.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=MOST_PER_MINUTE)]
    score_digits: Annotated[int, msgspec.Meta(ge=0, le=MOST_DIGITS)] | None = None


class Denied(Refusal):
    """A request that its key, or the lack of one, does not allow.

    Args:
        rule: ``key`` or ``role``.
        what: What is wrong.
        key: Name of the key; empty where it is not known.
        fix: What is allowed.
        status: HTTP status.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        rule: str,
        what: str,
        *,
        key: str = "",
        fix: str,
        status: int,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(rule, what, fix=fix, status=status, headers=headers)
        self.key = key


class Bucket:
    """A token bucket: ``per_minute`` requests at once, refilled evenly over a minute.

    Args:
        per_minute: Its size.
        now: Seconds on any clock that never goes back.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self._size = float(per_minute)
        self._rate = per_minute / 60.0
        self._tokens = self._size
        self._at = now

    def take(self, now: float) -> float:
        """Take a token.

        Returns:
            0 if there was one, else the seconds until there is.
        """
        # a clock that went back gives nothing and takes nothing
        passed = max(now - self._at, 0.0)
        self._tokens = min(self._tokens + passed * self._rate, self._size)
        self._at = max(now, self._at)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate


class Keyring:
    """Admits requests by key, role and rate.

    Args:
        keys: The keys known.
        clock: Seconds that never go back.
    """

    def __init__(self, keys: Sequence[Key], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self._keys = [(bytes.fromhex(key.sha256), key, Bucket(key.per_minute, now)) for key in keys]

    def admit(self, authorization: str | None, role: Role) -> Key:
        """Let a request pass and count it.

        Args:
            authorization: Header ``authorization``.
            role: What the request needs.

        Returns:
            The key it came with.

        Raises:
            Refusal: No key or an unknown one (401), a key without the role (403), or too many
                requests (429, with ``retry-after``). The first two cost the key nothing.
        """
        key, bucket = self._find(authorization)
        if role not in key.roles:
            raise Denied(
                "role",
                f"the key {key.name} has not the role {role}",
                key=key.name,
                fix=f"use a key with the role {role}",
                status=403,
            )
        seconds = bucket.take(self._clock())
        if seconds > 0:
            wait = max(math.ceil(seconds), 1)
            raise Refusal(
                "rate",
                f"the key {key.name} may send {key.per_minute} requests a minute",
                fix=f"wait {wait} s",
                status=429,
                headers=[("retry-after", str(wait))],
            )
        return key

    def _find(self, authorization: str | None) -> tuple[Key, Bucket]:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unknown("the request has no key")
        digest = hashlib.sha256(token.strip().encode("utf-8", "replace")).digest()
        found = None
        for known, key, bucket in self._keys:  # all of them, so that time tells nothing
            if hmac.compare_digest(known, digest):
                found = (key, bucket)
        if found is None:
            raise _unknown("the key is not known")
        return found


def _unknown(what: str) -> Denied:
    return Denied("key", what, fix=SEND, status=401, headers=[CHALLENGE])


def read_keys(path: Path) -> list[Key]:
    """The keys of a keys file: a JSON list of ``{name, sha256, roles, per_minute}``.

    Raises:
        PlatformError: It cannot be read, or is malformed.
    """
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=list[Key])
    except OSError as error:
        raise _malformed(path, f"it cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(path, str(error)) from error
    if not keys:
        raise _malformed(path, "it has no key, so nobody could ask for anything")
    for what, found in (("name", [k.name for k in keys]), ("sha256", [k.sha256 for k in keys])):
        twice = sorted({one for one in found if found.count(one) > 1})
        if twice:
            raise _malformed(path, f"two keys have the {what} {twice[0]}")
    return keys


def _malformed(path: Path, what: str) -> PlatformError:
    return PlatformError(
        f"the keys file is not usable: {what}",
        where=str(path),
        fix='write a JSON list of {"name", "sha256", "roles", "per_minute"}; roles are '
        f"{', '.join(ROLES)}; make a key with: python -m setpoint.serving.keys --help",
    )


def new_key(
    name: str, roles: Sequence[Role], per_minute: int, score_digits: int | None = None
) -> tuple[str, Key]:
    """A new random key of 256 bits.

    Returns:
        The key itself, which is kept nowhere, and its entry in the keys file.
    """
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    return token, Key(name, digest, tuple(roles), per_minute, score_digits)


def main() -> int:
    """Print a new key on standard error, and its entry on standard output.

    Returns:
        Exit code: 0.
    """
    parser = argparse.ArgumentParser(prog="python -m setpoint.serving.keys")
    parser.add_argument("name", help="whose key it is")
    parser.add_argument("--roles", nargs="+", choices=ROLES, required=True)
    parser.add_argument("--per-minute", type=int, required=True, help="requests a minute")
    parser.add_argument(
        "--score-digits", type=int, choices=range(MOST_DIGITS + 1), help="decimal places it is told"
    )
    given = vars(parser.parse_args())
    token, key = new_key(**given)
    print(f"the key, shown this once: {token}", file=sys.stderr)
    print(msgspec.json.encode(key).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
