"""A service loads a bundle that somebody it trusts signed, and no other."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from setpoint.adapters.processes import free_port
from setpoint.adapters.signing import Keys
from setpoint.domain.bundle import read_bundle
from setpoint.domain.signatures import SIGNATURE, Sign, check_bundle
from setpoint.errors import BundleError
from tests.serving.test_bundle_format import write
from tests.serving.tiny import Service, command, make_bundle


def _signs(keys: Keys) -> Sign:
    key = keys.make()
    return lambda message: keys.sign(key, message)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


def _unsigned(folder: Path, keys: Keys) -> None:
    (folder / SIGNATURE).unlink()


def _by_a_stranger(folder: Path, keys: Keys) -> None:
    stranger = Keys(folder.parent / "stranger")
    write(folder.parent / "theirs", sign=_signs(stranger))
    (folder / SIGNATURE).write_bytes((folder.parent / "theirs" / SIGNATURE).read_bytes())


def _of_another_bundle(folder: Path, keys: Keys) -> None:
    write(folder.parent / "other", commit="d" * 40, sign=_signs(keys))
    (folder / SIGNATURE).write_bytes((folder.parent / "other" / SIGNATURE).read_bytes())


def _flipped(folder: Path, keys: Keys) -> None:
    plain = json.loads((folder / SIGNATURE).read_text("utf-8"))
    plain["signature"] = f"{int(plain['signature'][0], 16) ^ 1:x}{plain['signature'][1:]}"
    (folder / SIGNATURE).write_text(json.dumps(plain), "utf-8")


def _no_signature_at_all(folder: Path, keys: Keys) -> None:
    (folder / SIGNATURE).write_text("{}", "utf-8")


ATTACKS = {
    "the bundle is not signed": _unsigned,
    "is not trusted here": _by_a_stranger,
    "did not sign the bundle": _of_another_bundle,
    "signature does not hold": _flipped,
    "is no signature": _no_signature_at_all,
}


def _checked(folder: Path, keys: Keys) -> None:
    bundle = read_bundle(folder)
    check_bundle(bundle.digest, bundle.signature, keys.trusted.check, str(folder))


@pytest.mark.parametrize("says", ATTACKS)
def test_a_bundle_that_nobody_trusted_signed_is_refused(
    tmp_path: Path, keys: Keys, says: str
) -> None:
    write(tmp_path / "b", sign=_signs(keys))
    _checked(tmp_path / "b", keys)
    attack: Callable[[Path, Keys], None] = ATTACKS[says]
    attack(tmp_path / "b", keys)
    with pytest.raises(BundleError, match=says):
        _checked(tmp_path / "b", keys)


def test_every_flipped_byte_of_a_signed_bundle_is_refused(tmp_path: Path, keys: Keys) -> None:
    write(tmp_path / "b", sign=_signs(keys))
    for file in sorted((tmp_path / "b").iterdir()):
        data = file.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(BundleError):
                _checked(tmp_path / "b", keys)
        file.write_bytes(data)
    _checked(tmp_path / "b", keys)


def test_a_bundle_of_before_signatures_is_read(tmp_path: Path) -> None:
    write(tmp_path / "b")
    assert read_bundle(tmp_path / "b").signature is None


def test_a_signature_changes_nothing_of_the_bundles_identity(tmp_path: Path, keys: Keys) -> None:
    assert write(tmp_path / "a").digest == write(tmp_path / "b", sign=_signs(keys)).digest


def test_the_service_starts_on_a_signed_bundle_and_says_who_signed(
    tmp_path: Path, keys: Keys
) -> None:
    bundle = make_bundle(tmp_path / "tiny", sign=_signs(keys))
    trusted = ("--trusted", str(tmp_path / "keys" / "trusted"))
    service = Service(bundle, tmp_path / "store.db", "7", trusted).wait_ready()
    service.process.terminate()
    said = [json.loads(line) for line in service.process.communicate()[1].splitlines()]
    [start] = [line for line in said if line["event"] == "start"]
    assert start["signed_by"] == keys.trusted.ids()[0]


@pytest.mark.parametrize("by_environment", [False, True])
def test_the_service_does_not_start_on_one_that_is_not(
    tmp_path: Path, keys: Keys, by_environment: bool
) -> None:
    write(tmp_path / "b", sign=_signs(keys))
    _by_a_stranger(tmp_path / "b", keys)
    folder = str(tmp_path / "keys" / "trusted")
    options = () if by_environment else ("--trusted", folder)
    started = subprocess.run(
        command(tmp_path / "b", tmp_path / "store.db", free_port("127.0.0.1"), "7", *options),
        env={**os.environ, **({"SETPOINT_TRUSTED": folder} if by_environment else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert started.returncode == 1
    assert "signature does not hold" in started.stderr
    assert not (tmp_path / "store.db").exists()


def test_a_signed_bundle_of_another_version_is_not_served_as_this_one(
    tmp_path: Path, keys: Keys
) -> None:
    make_bundle(tmp_path / "b", version="6", sign=_signs(keys))
    folder = str(tmp_path / "keys" / "trusted")
    store, port = tmp_path / "store.db", free_port("127.0.0.1")
    started = subprocess.run(
        command(tmp_path / "b", store, port, "7", "--trusted", folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert started.returncode == 1
    assert "signed as 6, and 7 was to be served" in started.stderr
    assert not store.exists()
