"""What the platform is made of: locked with hashes, written down, held against known weaknesses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from setpoint.cli import app
from setpoint.domain.locks import parse_lock

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "infra" / "locks"
RECORDED = Path(__file__).parent / "advisories" / "osv.json"


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda one: one.name)
def test_every_lock_has_one_version_and_hashes_for_each_package(lock: Path) -> None:
    assert len(parse_lock(lock.read_text("utf-8"), lock.name)) > 3


def _advisories(folder: Path, name: str, version: str) -> Path:
    """The recorded file of today, and one record about a version."""
    records = json.loads(RECORDED.read_text("utf-8"))
    records[0]["modified"] = datetime.now(UTC).isoformat()
    affected = {"package": {"ecosystem": "PyPI", "name": name}, "versions": [version]}
    records[1]["affected"] = [affected]
    file = folder / "osv.json"
    file.write_text(json.dumps(records), "utf-8")
    return file


def _audit(file: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit-dependencies", "--advisories", str(file), *words])
    return done.exit_code, done.output


@pytest.mark.parametrize("part", ["environment", "image"])
def test_an_audit_ends_with_0_where_nothing_is_known_and_with_1_naming_what_is(
    tmp_path: Path, part: str
) -> None:
    lock = LOCKS / {"environment": "runtime.txt", "image": "serving.txt"}[part]
    [numpy] = [p for p in parse_lock(lock.read_text("utf-8"), "") if p.name == "numpy"]
    code, said = _audit(_advisories(tmp_path, "NumPy", "0.1"), "--part", part)
    assert code == 0 and "0 known weaknesses" in said
    code, said = _audit(_advisories(tmp_path, "NumPy", numpy.version), "--part", part)
    assert code == 1
    assert f"numpy {numpy.version}: TEST-2026-2, no fixed version" in said


def test_an_audit_that_cannot_look_ends_with_2(tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("", "utf-8")
    old = json.loads(RECORDED.read_text("utf-8"))
    stale = tmp_path / "stale.json"
    stale.write_text(json.dumps([{**one, "modified": "2020-01-01T00:00:00Z"} for one in old]))
    good = _advisories(tmp_path, "other", "1")
    unlocked = tmp_path / "lock.txt"
    unlocked.write_text("numpy>=2\n", "utf-8")
    for file, words in (
        (tmp_path / "nothing.json", ()),
        (empty, ()),
        (stale, ()),
        (good, ("--lock", str(unlocked))),
        (good, ("--lock", str(tmp_path / "nothing.txt"))),
    ):
        code, said = _audit(file, *words)
        assert code == 2 and "could not look" in said, said


@pytest.mark.parametrize("part", ["environment", "image"])
def test_the_bill_of_materials_is_valid_cyclonedx_with_every_package_and_hash(
    tmp_path: Path, part: str
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    out = tmp_path / "bom.json"
    done = CliRunner().invoke(app, ["sbom", str(out), "--part", part])
    assert done.exit_code == 0, done.output
    text = out.read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    lock = LOCKS / {"environment": "runtime.txt", "image": "serving.txt"}[part]
    locked = parse_lock(lock.read_text("utf-8"), "")
    found = {
        (one["name"], one["version"], tuple(sorted(h["content"] for h in files["hashes"])))
        for one in json.loads(text)["components"]
        for files in one["externalReferences"]
    }
    assert found == {(one.name, one.version, tuple(sorted(one.hashes))) for one in locked}
