"""Two data files compared column by column: the first as training data, the second as a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from setpoint.adapters.sources import BatchRef, read_batch
from setpoint.domain.conform import conform
from setpoint.domain.drift import PsiFinding, psi_findings
from setpoint.domain.profile import build_profile, count
from setpoint.domain.schema import ColumnKind, ColumnSpec, TableSpec
from setpoint.errors import DataError
from setpoint.init.columns import look_at


@dataclass(frozen=True)
class Comparison:
    """How two files differ.

    Attributes:
        findings: One a column.
        left_out: Why, by column, for those of both files that have no PSI.
    """

    findings: tuple[PsiFinding, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class _Input:
    kind: ColumnKind
    values: pa.ChunkedArray
    unfit: str = ""
    """Why it has no PSI."""
    doubtful: str = ""
    """Why it has none unless it is asked for."""


def compare(
    reference: Path, window: Path, columns: Sequence[str] = (), error_rate: float = 0.05
) -> Comparison:
    """PSI of the columns of two Parquet or CSV files.

    Numbers are numbers even where they are few: a value that many rows have is a cell of its own.

    Args:
        reference: File whose bins and shares are expected.
        window: File that is judged.
        columns: Which columns; if empty all that both have, but for times and identifiers.
        error_rate: Chance that any column is called watch or act without drift.

    Raises:
        DataError: A file cannot be read, a column is missing, is of another type in the second
            file, or holds what has no PSI.
    """
    first = read_batch(_file(reference), _spec({}))
    names = list(dict.fromkeys(columns)) or first.column_names
    _check_there(names, first.column_names, reference)
    csv = not reference.name.lower().endswith(".parquet")
    inputs = {name: _input(name, first[name], csv=csv) for name in names}
    unfit = {n: i.unfit or (not columns and i.doubtful) or "" for n, i in inputs.items()}
    for name in columns:
        if unfit[name]:
            raise DataError(unfit[name], where=f"column {name}", fix="compare other columns")
    kinds = {name: one.kind for name, one in inputs.items() if not unfit[name]}
    second = read_batch(_file(window), _spec(kinds))
    there = second.column_names
    _check_there(columns, there, window)
    kinds = {name: kind for name, kind in kinds.items() if name in there}
    if not kinds:
        raise DataError(
            f"it has no column that can be compared with {reference}",
            where=str(window),
            fix="give two files that have columns of the same name",
        )
    held = conform(second, _spec(kinds), str(window), ignore=[n for n in there if n not in kinds])
    texts = [name for name, kind in kinds.items() if kind == "category"]
    # exact: neither file goes through a service that casts to float32
    profile = build_profile({n: inputs[n].values for n in kinds}, categories=texts, float32=False)
    counted = count(profile, {name: held[name] for name in kinds})
    left_out = {name: why for name, why in unfit.items() if why and name in there}
    return Comparison(tuple(psi_findings(profile, counted, error_rate)), left_out)


def _file(path: Path) -> BatchRef:
    if not path.is_file():
        raise DataError(
            "there is no such file", where=str(path), fix="name a .parquet, .csv or .csv.gz file"
        )
    return BatchRef(str(path), path.name, path.stat().st_size, "")


def _spec(kinds: Mapping[str, ColumnKind]) -> TableSpec:
    return TableSpec(tuple(ColumnSpec(name, kind) for name, kind in kinds.items()), "", "")


def _check_there(names: Sequence[str], there: Sequence[str], file: Path) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"it has no column {missing[0]!r}",
            where=str(file),
            fix=f"its columns are: {', '.join(there)}",
        )


def _input(name: str, raw: pa.ChunkedArray, *, csv: bool) -> _Input:
    look = look_at(name, raw, csv=csv)
    if look.kind == "":
        return _Input("category", look.values, unfit=look.unusable)
    if look.kind == "time":
        return _Input("time", look.values, unfit="times only ever grow: they have no PSI")
    if look.kind == "category" and look.whole is not None:
        return _Input("number", look.whole)
    empty = look.values.null_count == len(look.values)
    if empty and (pa.types.is_floating(raw.type) or pa.types.is_integer(raw.type)):
        return _Input("number", raw)
    return _Input(
        "category" if look.kind == "id" else look.kind,
        look.values,
        doubtful="" if empty else look.no_input,
    )
