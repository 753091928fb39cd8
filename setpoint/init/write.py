"""Reads a data file, writes its project file, and holds the one against the other before."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from setpoint.adapters.sources import BatchRef, list_batches, read_batch
from setpoint.config import Project, parse_project
from setpoint.config.references import same_but_for_case
from setpoint.domain.conform import conform
from setpoint.domain.schema import TableSpec
from setpoint.domain.validation import ValidationReport, not_in_the_future
from setpoint.errors import DataError, ProjectFileError
from setpoint.init.columns import Look, infinite, look_at
from setpoint.init.roles import Given, Roles, guess_roles
from setpoint.init.text import inputs, render
from setpoint.stages.batches import FUTURE

_LONGEST_TITLE = 40
_SHOWN_RULES = 10


def write_project(
    data: Path,
    out: Path,
    target: str | None = None,
    event_time: str | None = None,
    event_id: str | None = None,
    name: str | None = None,
) -> str:
    """Write a project file for a data file that can be taken in with it.

    Args:
        data: Parquet or CSV file.
        out: The project file; must not exist.
        target: Label column, if not to be guessed.
        event_time: Event time column (or one that orders the rows).
        event_id: Column that identifies a row.
        name: Name of the model; default: the data file's.

    Returns:
        What was found.

    Raises:
        DataError: The file cannot be read, a column cannot have the role given or no role can be
            guessed, or the data cannot be taken in; nothing is written.
        ProjectFileError: ``out`` exists or cannot be written.
    """
    if out.exists():
        raise ProjectFileError("the file exists", where=str(out), fix="name another with --out")
    ref = _file(data)
    rows = _rows(ref)
    csv = not ref.name.lower().endswith(".parquet")
    looks = {n: look_at(n, rows[n], csv=csv) for n in rows.column_names}
    roles = guess_roles(looks, Given(target, event_time, event_id), ref.uri)
    _check_looks(looks, roles, ref.uri)
    address = os.path.relpath(data.absolute(), out.absolute().parent)
    text = render(looks, roles, _title(name or data.stem), address)
    _check_text(text, ref, out)
    _write(out, text)
    return f"{rows.num_rows:,} rows, {_found(roles)}"


def _found(roles: Roles) -> str:
    protected = ", ".join(roles.protected) or "none found"
    return (
        f"target {roles.label.name}, event time {roles.event_time}, id {roles.event_id}, "
        f"protected {protected}"
    )


def _file(data: Path) -> BatchRef:
    fix = "give a Parquet or CSV file"
    if not data.is_file():
        reason = "it is a folder" if data.is_dir() else "there is no such file"
        raise DataError(f"cannot be read: {reason}", where=str(data), fix=fix)
    found = list_batches(str(data))
    if not found:
        raise DataError(
            "names that start with . or _ are not read",
            where=str(data),
            fix="give the file another name",
        )
    return found[0]


def _rows(ref: BatchRef) -> pa.Table:
    """All columns as they came; those of a CSV file are text."""
    try:
        return read_batch(ref, TableSpec((), "", ""))
    except DataError as err:
        raise DataError(
            f"cannot be read: {err.what}", where=ref.uri, fix="give a Parquet or CSV file with rows"
        ) from err


def _title(name: str) -> str:
    title = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")
    return (title if title[:1].isalpha() else f"model-{title}")[:_LONGEST_TITLE]


def _check_looks(looks: dict[str, Look], roles: Roles, where: str) -> None:
    for name, look in looks.items():
        count = 0 if name in roles.ignored else infinite(look)
        if count:
            raise DataError(
                f"column {name}: {count} of {len(look.values)} values are infinite",
                where=where,
                fix="leave them empty in the file, or take the column out",
            )
    alike = same_but_for_case([name for name in looks if name not in roles.ignored])
    if alike:
        raise DataError(
            f"columns {' and '.join(alike)}: their names differ only in case",
            where=where,
            fix="rename one of them",
        )
    if not inputs(looks, roles):
        left = roles.no_input | roles.ignored
        reasons = "; ".join(f"{name}: {why}" for name, why in left.items())
        raise DataError(
            "no column is left that a model can learn from" + (f" ({reasons})" if reasons else ""),
            where=where,
            fix="add columns that are known when a decision is made",
        )


def _check_text(text: str, ref: BatchRef, out: Path) -> None:
    """Take the file in as ingesting does.

    Raises:
        DataError: It cannot be, with the columns and why.
    """
    project = parse_project(text, where=str(out))
    spec = project.events_spec()
    fix = "correct these values in the file, take the column out, or name others with "
    fix += "--target, --time and --id"
    try:
        rows = read_batch(ref, spec, aliases=project.sources())
        zone, ignore = project.data.time_zone, project.data.ignore
        table = conform(rows, spec, ref.uri, ignore=ignore, time_zone=zone)
    except DataError as err:
        raise DataError(f"the data cannot be taken in: {err.what}", where=ref.uri, fix=fix) from err
    failed = _failed(project, table)
    if failed:
        raise DataError(
            "the data cannot be taken in:\n    " + "\n    ".join(failed[:_SHOWN_RULES]),
            where=ref.uri,
            fix=fix,
        )


def _failed(project: Project, table: pa.Table) -> list[str]:
    from setpoint.adapters.expectations import validate

    spec = project.events_spec()
    report: ValidationReport = validate(table, spec, project.name)
    time = spec.column(spec.event_time)
    future = not_in_the_future(time, table[time.name], datetime.now(UTC) + FUTURE)
    results = [*report.failed, *([] if future.passed else [future])]
    return [str(result) for result in results]


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as err:
        raise ProjectFileError(
            f"the project file cannot be written: {err.strerror}",
            where=str(out),
            fix="name a file with --out in a folder that exists and can be written",
        ) from err
