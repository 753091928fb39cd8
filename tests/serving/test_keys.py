"""Keys: who may do what and how often, decided without a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import PlatformError
from setpoint.serving import keys as module
from setpoint.serving.keys import Bucket, Key, Keyring, Role, new_key, read_keys
from setpoint.serving.problems import Refusal


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(name: str = "shop", roles: tuple[Role, ...] = ("score",), per_minute: int = 60) -> Key:
    """A key whose token is ``token of NAME``."""
    digest = hashlib.sha256(f"token of {name}".encode()).hexdigest()
    return Key(name, digest, roles, per_minute)


def bearer(name: str = "shop") -> str:
    """The header of that key."""
    return f"Bearer token of {name}"


def refusal(ring: Keyring, authorization: str | None, role: Role = "score") -> Refusal:
    """How a request is refused."""
    with pytest.raises(Refusal) as caught:
        ring.admit(authorization, role)
    return caught.value


def test_a_known_key_with_the_role_passes() -> None:
    ring = Keyring([key("shop"), key("bank", ("label", "score"))])
    assert ring.admit(bearer("shop"), "score").name == "shop"
    assert ring.admit("bearer  token of bank ", "label").name == "bank"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "token of shop", "Basic token of shop", "Bearertoken of shop"],
)
def test_without_a_key_it_is_401_with_a_challenge(authorization: str | None) -> None:
    refused = refusal(Keyring([key()]), authorization)
    assert (refused.status, refused.rule) == (401, "key")
    assert ("www-authenticate", "Bearer") in refused.headers


@pytest.mark.parametrize("token", ["token of bank", "token of sho", "Token of shop", "\ud800", "é"])
def test_an_unknown_key_is_401_and_is_not_repeated(token: str) -> None:
    refused = refusal(Keyring([key()]), f"Bearer {token}")
    assert refused.status == 401
    assert token not in str(refused)


def test_the_hash_of_a_key_is_no_key() -> None:
    assert refusal(Keyring([key()]), f"Bearer {key().sha256}").status == 401


def test_every_known_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = module.hmac.compare_digest

    def compare(known: bytes, found: bytes) -> bool:
        compared.append(known)
        return real(known, found)

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    ring = Keyring([key("a"), key("b"), key("c")])
    ring.admit(bearer("a"), "score")
    assert len(compared) == 3


@pytest.mark.parametrize("roles", [("label",), ("admin",), ("label", "admin")])
def test_a_key_without_the_role_is_403(roles: tuple[Role, ...]) -> None:
    refused = refusal(Keyring([key("shop", roles)]), bearer())
    assert (refused.status, refused.rule) == (403, "role")


def test_over_the_limit_it_is_429_until_the_time_that_is_told() -> None:
    clock = Clock()
    ring = Keyring([key(per_minute=6)], clock)
    for _ in range(6):
        ring.admit(bearer(), "score")
    refused = refusal(ring, bearer())
    assert (refused.status, refused.rule) == (429, "rate")
    assert list(refused.headers) == [("retry-after", "10")]
    clock.now += 9.5
    assert list(refusal(ring, bearer()).headers) == [("retry-after", "1")]
    clock.now += 0.5
    ring.admit(bearer(), "score")
    assert refusal(ring, bearer()).status == 429


def test_one_key_at_its_limit_harms_no_other_and_refusals_cost_nothing() -> None:
    clock = Clock()
    ring = Keyring([key("shop", per_minute=1), key("bank", per_minute=1)], clock)
    for _ in range(5):
        assert refusal(ring, bearer("shop"), "label").status == 403
    ring.admit(bearer("shop"), "score")
    for _ in range(5):
        assert refusal(ring, bearer("shop")).status == 429
    ring.admit(bearer("bank"), "score")


@given(
    st.integers(1, 600),
    st.lists(st.floats(-5, 100, allow_nan=False), min_size=1, max_size=200),
)
def test_a_bucket_gives_its_size_and_its_rate_and_no_more(
    per_minute: int, steps: list[float]
) -> None:
    now, taken, latest = 0.0, 0, 0.0
    bucket = Bucket(per_minute, now)
    for step in steps:
        now += step  # also back: such a clock gives nothing
        latest = max(latest, now)
        wait = bucket.take(now)
        taken += wait == 0
        assert 0 <= wait <= 60 / per_minute + 1e-6
    assert taken <= per_minute + latest * per_minute / 60 + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(0.0) > 0
    assert bucket.take(100.0) > 0


def test_a_bucket_has_a_token_after_the_wait_that_it_told() -> None:
    bucket = Bucket(7, 0.0)
    waits = [bucket.take(0.0) for _ in range(8)]
    assert waits[:7] == [0] * 7
    assert bucket.take(waits[7] + 1e-9) == 0


def test_a_new_key_is_256_random_bits_and_only_its_hash_is_kept() -> None:
    token, made = new_key("shop", ["score"], 60)
    other, _ = new_key("shop", ["score"], 60)
    assert token != other
    assert len(token) == 43  # 256 bits, six a character
    assert token not in msgspec.json.encode(made).decode()
    assert Keyring([made]).admit(f"Bearer {token}", "score") == made


def test_the_command_makes_a_key_that_the_service_knows(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "setpoint.serving.keys", "shop", "--roles", "score", "label"]
    line += ["--per-minute", "600"]
    ended = subprocess.run(line, capture_output=True, text=True, check=True)
    (tmp_path / "keys.json").write_text(f"[{ended.stdout}]")
    [made] = read_keys(tmp_path / "keys.json")
    assert (made.name, made.roles, made.per_minute) == ("shop", ("score", "label"), 600)
    token = ended.stderr.split()[-1]
    assert Keyring([made]).admit(f"Bearer {token}", "label") == made


ENTRY: dict[str, Any] = {"name": "a", "sha256": "a" * 64, "roles": ["score"], "per_minute": 1}
OTHER = {**ENTRY, "name": "b", "sha256": "b" * 64}

MALFORMED: dict[str, tuple[Any, str]] = {
    "not JSON": (b"{", "malformed|truncated|JSON|Expected|end"),
    "not UTF-8": (b'[{"name": "\xff"}]', "UTF-8|utf-8"),
    "nested without end": (b"[" * 100_000, "keys file"),
    "an object": ({"shop": ENTRY}, "array"),
    "no key": ([], "no key"),
    "a missing field": ([{"name": "a"}], "sha256"),
    "an unknown field": ([{**ENTRY, "token": "secret"}], "token"),
    "an empty name": ([{**ENTRY, "name": ""}], r"\$\[0\]\.name"),
    "a short hash": ([{**ENTRY, "sha256": "a" * 63}], r"\$\[0\]\.sha256"),
    "a hash with capitals": ([{**ENTRY, "sha256": "A" * 64}], r"\$\[0\]\.sha256"),
    "a hash with a line break": ([{**ENTRY, "sha256": "a" * 64 + "\n"}], r"\$\[0\]\.sha256"),
    "an unknown role": ([{**ENTRY, "roles": ["root"]}], "root"),
    "no role": ([{**ENTRY, "roles": []}], r"\$\[0\]\.roles"),
    "a role as text": ([{**ENTRY, "roles": "score"}], r"\$\[0\]\.roles"),
    "no limit": ([{**ENTRY, "per_minute": 0}], r"\$\[0\]\.per_minute"),
    "a limit as text": ([{**ENTRY, "per_minute": "1"}], r"\$\[0\]\.per_minute"),
    "the second entry": ([ENTRY, {**OTHER, "per_minute": -1}], r"\$\[1\]\.per_minute"),
    "one name twice": ([ENTRY, {**OTHER, "name": "a"}], "two keys have the name a"),
    "one key twice": ([ENTRY, {**OTHER, "sha256": "a" * 64}], "two keys have the sha256"),
}


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_file_is_one_clear_error(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(PlatformError, match=message) as caught:
        read_keys(path)
    assert caught.value.where == str(path)
    assert "per_minute" in caught.value.fix


def test_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot be read"):
        read_keys(tmp_path / "nothing.json")
