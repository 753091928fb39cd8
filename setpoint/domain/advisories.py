"""Known weaknesses of locked packages, by advisories in OSV's format (ossf.github.io/osv-schema).

What cannot be judged is an error and never clean: a file that is empty, old or of another format,
an advisory about a locked package that says neither versions nor ranges of PyPI's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from packaging.version import InvalidVersion, Version

from setpoint.domain.locks import Locked, normal
from setpoint.errors import DataError

ECOSYSTEM = "PyPI"
EXPORT = "export the advisories of PyPI anew, e.g. OSV's all.zip joined to one JSON list"


@dataclass(frozen=True)
class Weakness:
    """A locked package that an advisory is about.

    Attributes:
        package: Its name.
        version: As locked.
        advisory: Id of the advisory.
        aliases: Its other ids, e.g. a CVE number.
        fixed: The lowest version above that is said to be fixed; empty if none is.
        summary: What it is about.
    """

    package: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    fixed: str
    summary: str


def parse_advisories(
    text: str, where: str, now: datetime, max_age: timedelta
) -> tuple[Mapping[str, Any], ...]:
    """Read advisories: a JSON list of OSV records, or ``{"vulns": [...]}`` as OSV's API answers.

    Args:
        text: The file's content.
        where: Its name, for errors.
        now: The present, aware.
        max_age: How long ago the newest record may have been changed.

    Raises:
        DataError: It is no such file, has no record about PyPI, or is too old to say something.
    """
    try:
        content = json.loads(text)
    except ValueError as err:
        raise DataError(f"it is no JSON: {err}", where=where, fix=EXPORT) from err
    records = content.get("vulns") if isinstance(content, dict) else content
    if not isinstance(records, list):
        raise DataError("it is no list of OSV records", where=where, fix=EXPORT)
    try:
        newest = max((_modified(one) for one in records if any(_affected(one))), default=None)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise DataError(
            f"a record is not in OSV's format: {err!r}", where=where, fix=EXPORT
        ) from err
    if newest is None:
        raise DataError("it has no advisory about a PyPI package", where=where, fix=EXPORT)
    if now - newest > max_age:
        raise DataError(
            f"its newest advisory is of {newest:%Y-%m-%d}, more than {max_age.days} days ago",
            where=where,
            fix=EXPORT,
        )
    return tuple(records)


def weaknesses(
    locked: Iterable[Locked], records: Sequence[Mapping[str, Any]], where: str
) -> list[Weakness]:
    """Which locked packages an advisory is about, by name and id.

    Withdrawn advisories count for nothing. A version is affected if it is listed, or lies in a
    range: from ``introduced`` up to but without ``fixed``, or up to and with ``last_affected``.

    Args:
        locked: Packages.
        records: OSV records.
        where: Name of their file, for errors.

    Raises:
        DataError: Of a locked package it cannot be told whether it is affected.
    """
    versions: dict[str, set[str]] = {}
    for one in locked:
        versions.setdefault(one.name, set()).add(one.version)
    found: dict[tuple[str, str, str], Weakness] = {}
    for record in records:
        if record.get("withdrawn"):
            continue
        for affected in _affected(record):
            name = normal(affected["package"]["name"])
            for version in versions.get(name, ()):
                try:
                    hit, fixed = _judge(affected, Version(version))
                except (InvalidVersion, KeyError, TypeError, AttributeError) as err:
                    raise _unclear(record, name, version, where, repr(err)) from err
                if hit is None:
                    why = "it says neither versions nor ranges"
                    raise _unclear(record, name, version, where, why)
                if hit:
                    aliases = tuple(map(str, record.get("aliases", ())))
                    summary = str(record.get("summary") or record.get("details") or "")[:200]
                    told = Weakness(name, version, record["id"], aliases, fixed, summary)
                    found[name, version, told.advisory] = told
    return [found[key] for key in sorted(found)]


def _unclear(record: Mapping[str, Any], name: str, version: str, where: str, why: str) -> DataError:
    return DataError(
        f"whether {record.get('id')} is about {name} {version} cannot be told: {why}",
        where=where,
        fix="look at that advisory, and correct or withdraw its record",
    )


def _modified(record: Mapping[str, Any]) -> datetime:
    found = datetime.fromisoformat(record["modified"])
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _affected(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    _ = record["id"]  # what has none is no record
    for affected in record.get("affected", ()):
        ecosystem = affected.get("package", {}).get("ecosystem", "")
        if ecosystem.partition(":")[0] == ECOSYSTEM:
            yield affected


def _judge(affected: Mapping[str, Any], version: Version) -> tuple[bool | None, str]:
    """Whether a version is affected, ``None`` if nothing says so; and where it is fixed."""
    listed = affected.get("versions") or ()
    ranges = [one for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM"]
    if not listed and not ranges:
        return None, ""
    hit = any(_same(text, version) for text in listed)
    hit = hit or any(_within(one["events"], version) for one in ranges)
    ends = [Version(e["fixed"]) for one in ranges for e in one["events"] if "fixed" in e]
    above = [end for end in ends if end > version]
    return hit, str(min(above)) if above else ""


def _same(text: str, version: Version) -> bool:
    try:
        return Version(text) == version
    except InvalidVersion:  # a historic version that no lock can have
        return False


def _within(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """OSV's evaluation: the last event at or below the version decides."""
    inside = False
    for event in sorted(events, key=_place):
        kind, text = next(iter(event.items()))
        if kind == "introduced" and (text == "0" or version >= Version(text)):
            inside = True
        elif _ends(kind, text, version):
            inside = False
    return inside


def _ends(kind: str, text: str, version: Version) -> bool:
    if kind == "fixed":
        return version >= Version(text)
    return kind == "last_affected" and version > Version(text)


def _place(event: Mapping[str, str]) -> tuple[Version, int]:
    kind, text = next(iter(event.items()))
    return Version("0.dev0" if text == "0" else text), int(kind == "last_affected")
