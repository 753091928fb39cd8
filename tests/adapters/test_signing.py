"""Keys sign as themselves and for nothing else, and are lost to nobody by a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from setpoint.adapters.signing import Keys, Trusted
from setpoint.domain.signatures import (
    Signature,
    bundle_message,
    entry_message,
    key_id,
    read_signature,
    snapshot_message,
    write_signature,
)
from setpoint.errors import BundleError, StateError


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def test_a_signature_holds_for_its_message_and_key_alone(keys: Keys) -> None:
    key, other = keys.make(), keys.make()
    made = keys.sign(key, b"one")
    assert made.key == key and keys.trusted.check(key, b"one", made.signature)
    assert not keys.trusted.check(key, b"two", made.signature)
    assert not keys.trusted.check(other, b"one", made.signature)
    flipped = f"{int(made.signature[0], 16) ^ 1:x}{made.signature[1:]}"
    for wrong in (
        flipped,
        made.signature.upper(),
        f"{made.signature} ",
        made.signature[:-2],
        "",
        "no hexadecimal",
        "é" * 128,
    ):
        assert not keys.trusted.check(key, b"one", wrong)


def test_an_id_is_the_digest_of_the_public_key() -> None:
    # RFC 8032, 7.1, test 1: its public key
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert key_id(public) == "21fe31dfa154a261"


def test_a_signature_of_one_kind_never_passes_as_one_of_another() -> None:
    digest = "a" * 64
    said = {entry_message(digest), bundle_message(digest), snapshot_message("events", digest)}
    said |= {snapshot_message("labels", digest), b"setpoint seal\n" + digest.encode()}
    assert len(said) == 5


def test_the_private_half_is_readable_by_its_owner_alone(keys: Keys) -> None:
    key = keys.first()
    assert (keys.folder / f"{key}.pem").stat().st_mode & 0o777 == 0o600
    (keys.folder / f"{key}.pem").chmod(0o644)
    with pytest.raises(StateError, match="every user of this machine"):
        Keys(keys.folder).sign(key, b"one")


def test_the_first_key_is_made_once_and_taken_again(keys: Keys) -> None:
    assert keys.first() == keys.first() == Keys(keys.folder).first()


def test_who_checks_needs_the_public_halves_alone_and_sees_keys_that_come_later(
    keys: Keys,
) -> None:
    trusted = Trusted(keys.folder / "trusted")
    assert trusted.ids() == [] and not trusted.check("a" * 16, b"one", "00")
    key = keys.make()
    signature = keys.sign(key, b"one").signature
    (keys.folder / f"{key}.pem").unlink()
    assert trusted.check(key, b"one", signature)


def test_a_key_put_under_the_name_of_another_is_refused(keys: Keys) -> None:
    key, other = keys.make(), keys.make()
    signature = keys.sign(other, b"one").signature
    folder = keys.folder / "trusted"
    (folder / f"{key}.pem").write_bytes((folder / f"{other}.pem").read_bytes())
    with pytest.raises(StateError, match="another key than its name says"):
        keys.trusted.check(key, b"one", signature)
    (keys.folder / f"{key}.pem").write_bytes((keys.folder / f"{other}.pem").read_bytes())
    with pytest.raises(StateError, match="another key than its name says"):
        Keys(keys.folder).sign(key, b"one")


def test_no_path_is_made_of_an_id_that_a_file_names(keys: Keys, tmp_path: Path) -> None:
    key = keys.make()
    signature = keys.sign(key, b"one").signature
    (tmp_path / f"{key}.pem").write_bytes((keys.folder / "trusted" / f"{key}.pem").read_bytes())
    assert not keys.trusted.check(f"../../{key}", b"one", signature)


def test_a_lost_private_half_says_what_to_restore(keys: Keys) -> None:
    key = keys.make()
    (keys.folder / f"{key}.pem").unlink()
    with pytest.raises(StateError, match=f"private half of key {key}") as caught:
        Keys(keys.folder).sign(key, b"one")
    assert "backup" in caught.value.fix


def test_a_revoked_key_is_known_and_not_trusted(keys: Keys) -> None:
    key = keys.make()
    signature = keys.sign(key, b"one").signature
    for _ in range(2):
        keys.revoke(key)
    assert not keys.trusted.check(key, b"one", signature)
    assert keys.known.check(key, b"one", signature)


@pytest.mark.parametrize("text", ["", "[]", '{"key": "a"}', '{"key": 1, "signature": "b"}', "\xff"])
def test_a_file_that_holds_no_signature_is_refused(text: str) -> None:
    with pytest.raises(BundleError, match="is no signature"):
        read_signature(text.encode("latin-1"), "a bundle")


def test_a_signature_is_read_as_it_was_written() -> None:
    made = Signature("a" * 16, "b" * 128)
    assert read_signature(write_signature(made), "here") == made


_MAKER = """
import sys
from pathlib import Path
from setpoint.adapters.signing import Keys
keys = Keys(Path(sys.argv[1]))
while True:
    print(keys.make(), flush=True)
"""


def test_a_kill_leaves_no_key_that_signs_and_cannot_be_checked(tmp_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", _MAKER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    maker.stdout.readline()
    time.sleep(0.1)
    maker.send_signal(signal.SIGKILL)
    made = maker.communicate()[0].split()
    keys = Keys(tmp_path)
    for key in [path.stem for path in tmp_path.glob("*.pem")]:
        assert keys.trusted.check(key, b"one", keys.sign(key, b"one").signature)
    assert {*made} <= {*keys.trusted.ids()}
