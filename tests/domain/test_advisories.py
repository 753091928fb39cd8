"""Known weaknesses: found where a version is affected, and an error where nobody can tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from setpoint.domain.advisories import Weakness, parse_advisories, weaknesses
from setpoint.domain.locks import Locked, parse_lock
from setpoint.errors import DataError

FILE = Path(__file__).parents[1] / "infra" / "advisories" / "osv.json"
RECORDED = FILE.read_text("utf-8")
NOW = datetime(2026, 11, 15, tzinfo=UTC)
MONTH = timedelta(days=30)


def held(name: str, version: str, text: str = RECORDED) -> list[Weakness]:
    """What is known of one package."""
    records = parse_advisories(text, "osv.json", NOW, MONTH)
    return weaknesses([Locked(name, version, ("a" * 64,))], records, "osv.json")


@pytest.mark.parametrize(
    ("name", "version", "fixed"),
    [
        ("example-package", "1.0", "1.4.2"),
        ("example-package", "1.4.1", "1.4.2"),
        ("example-package", "1.10", None),  # above 1.4.2, as a version and not as text
        ("example-package", "0.9", None),
        ("example-package", "1.4.2rc1", "1.4.2"),
        ("example-package", "1.4.2", None),
        ("example-package", "2.0.5", "2.1"),
        ("example-package", "2.1", None),
        ("other", "3.0", ""),
        ("other", "3.0.1", None),
        ("third", "5.1", ""),
        ("third", "5.1.1", None),
        ("unknown", "1.0", None),
    ],
)
def test_a_version_is_affected_where_its_ranges_or_lists_say_so(
    name: str, version: str, fixed: str | None
) -> None:
    found = held(name, version)
    assert [one.fixed for one in found] == ([] if fixed is None else [fixed])


def test_a_weakness_names_package_version_advisory_and_the_fix() -> None:
    [found] = held("example-package", "1.2")
    assert (found.package, found.version, found.advisory) == (
        "example-package",
        "1.2",
        "TEST-2026-1",
    )
    assert (found.aliases, found.fixed) == (("CVE-0000-0001",), "1.4.2")


def _changed(**changes: Any) -> str:
    records = json.loads(RECORDED)
    records[0] |= changes
    return json.dumps(records)


UNREADABLE = {
    "empty": "",
    "cut short": RECORDED[:200],
    "no records": "[]",
    "another kind": '{"advisories": []}',
    "a list of texts": '["TEST"]',
    "no id": json.dumps([{"modified": "2026-11-01T00:00:00Z", "affected": [
        {"package": {"ecosystem": "PyPI", "name": "a"}}]}]),
    "nothing of PyPI": json.dumps([json.loads(RECORDED)[3]]),
    "no time": _changed(modified="lately"),
}  # fmt: skip


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_says_nothing_is_an_error_and_never_clean(text: str) -> None:
    with pytest.raises(DataError):
        held("unknown", "1.0", text)


def test_a_file_that_is_old_says_nothing() -> None:
    parse_advisories(RECORDED, "osv.json", datetime(2026, 12, 1, tzinfo=UTC), MONTH)
    with pytest.raises(DataError, match="newest advisory is of 2026-11-01"):
        parse_advisories(RECORDED, "osv.json", datetime(2026, 12, 2, tzinfo=UTC), MONTH)


@pytest.mark.parametrize(
    "affected",
    [
        {},
        {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]},
        {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "first"}]}]},
    ],
)
def test_an_advisory_that_does_not_say_is_an_error_for_who_has_that_package(
    affected: dict[str, Any],
) -> None:
    text = _changed(affected=[{"package": {"ecosystem": "PyPI", "name": "here"}, **affected}])
    assert held("unknown", "1.0", text) == []
    with pytest.raises(DataError, match=r"TEST-2026-1 is about here 1\.0 cannot be told"):
        held("here", "1.0", text)


LINE = f"Some_Package==1.0 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"


def test_a_lock_is_read_with_names_as_pypi_writes_them_markers_and_hashes() -> None:
    text = (
        "# a comment\n" + LINE + f"x[e]==2 ; python_version < '3.12' \\\n --hash=sha256:{'c' * 64}"
    )
    assert parse_lock(text, "lock") == (
        Locked("some-package", "1.0", ("a" * 64, "b" * 64)),
        Locked("x", "2", ("c" * 64,), "python_version < '3.12'"),
    )


@pytest.mark.parametrize(
    "text",
    ["", "a==1.0", f"a>=1 --hash=sha256:{'a' * 64}", "a==1 --hash=md5:abc", "-r other.txt",
     f"git+https://example.org/a --hash=sha256:{'a' * 64}"],
)  # fmt: skip
def test_what_is_not_locked_with_hashes_is_an_error(text: str) -> None:
    with pytest.raises(DataError):
        parse_lock(text, "lock")
