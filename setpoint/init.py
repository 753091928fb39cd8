"""``setpoint init``: a commented project file from data."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from setpoint.config import parse_project
from setpoint.errors import DataError, ProjectFileError

TARGETS = ("label", "target", "fraud", "is_fraud", "default", "churn", "employed", "repaid", "y")
IDS = ("id", "tx_id", "transaction_id", "event_id", "customer_id")
TIMES = ("timestamp", "time", "event_time", "datetime", "date", "year", "month")
PROTECTED = re.compile(r"^(sex|gender|race|rac1p|ethnicity|religion|nationality)$", re.IGNORECASE)
FOREIGN = re.compile(r"^(prediction|predicted_probability|y_pred|y_pred_proba|score)$")
MAX_CATEGORIES = 30


@dataclass(frozen=True)
class Guess:
    """What the columns seem to be for."""

    event_id: str
    event_time: str
    target: str
    protected: tuple[str, ...]
    ignored: tuple[str, ...]


def write_project(
    data: Path,
    out: Path,
    target: str | None = None,
    event_time: str | None = None,
    event_id: str | None = None,
    name: str | None = None,
) -> str:
    """Write a project file for a data file, and check that it can be used.

    Args:
        data: Parquet or CSV file.
        out: The project file; must not exist.
        target: Label column, if not to be guessed.
        event_time: Event time column (or one that orders the rows).
        event_id: Column that identifies a row.
        name: Name of the model; default: the data file's.

    Returns:
        One line on what was found.

    Raises:
        DataError: The file cannot be read, is empty, or what a column is for cannot be guessed.
        ProjectFileError: ``out`` exists.
    """
    if out.exists():
        raise ProjectFileError("the file exists", where=str(out), fix="name another with --out")
    frame = read_frame(data)
    guess = guess_columns(frame, data, target, event_time, event_id)
    title = re.sub(r"[^a-z0-9_-]+", "-", (name or data.stem).lower()).strip("-")
    title = title if title[:1].isalpha() else f"model-{title}"
    text = render(frame, guess, title[:40], os.path.relpath(data, out.absolute().parent))
    parse_project(text, where=str(out))
    out.write_text(text, "utf-8")
    return (
        f"{len(frame):,} rows, target {guess.target}, event time {guess.event_time}, "
        f"id {guess.event_id}, protected {', '.join(guess.protected) or 'none found'}"
    )


def read_frame(data: Path) -> pd.DataFrame:
    """Read a data file.

    Raises:
        DataError: It is missing, unreadable or empty.
    """
    try:
        frame = pd.read_parquet(data) if data.suffix == ".parquet" else pd.read_csv(data)
    except (OSError, ValueError, pd.errors.ParserError) as err:
        raise DataError(
            f"cannot be read: {err}", where=str(data), fix="give a Parquet or CSV file"
        ) from err
    if frame.empty:
        raise DataError("the file has no rows", where=str(data), fix="give a file with data")
    return frame


def guess_columns(
    frame: pd.DataFrame,
    data: Path,
    target: str | None,
    event_time: str | None,
    event_id: str | None,
) -> Guess:
    """What the columns are for; what was given is checked, the rest is guessed by name and content.

    Raises:
        DataError: A given column does not exist, or there is nothing to guess from.
    """
    columns = [str(c) for c in frame.columns]
    for option, given in (("--target", target), ("--time", event_time), ("--id", event_id)):
        if given is not None and given not in columns:
            raise DataError(
                f"{option} {given}: there is no such column",
                where=str(data),
                fix=f"the columns are {', '.join(columns)}",
            )
    found_target = target or _named(columns, TARGETS) or _containing(columns, ("default", "fraud"))
    if found_target is None or frame[found_target].nunique() != 2:
        shown = "not found" if found_target is None else f"{found_target} has not two values"
        raise DataError(f"label column {shown}", where=str(data), fix="name it with --target")
    unique = [c for c in columns if frame[c].is_unique and frame[c].notna().all()]
    found_id = event_id or _named(unique, IDS) or next(iter(unique), None)
    if found_id is None:
        raise DataError(
            "no column identifies a row", where=str(data), fix="add one and name it with --id"
        )
    times = [c for c in columns if pd.api.types.is_datetime64_any_dtype(frame[c])]
    found_time = event_time or next(iter(times), None) or _named(columns, TIMES)
    if found_time is None:
        found_time = found_id
        if not pd.api.types.is_integer_dtype(frame[found_id]):
            raise DataError(
                "no column of the event time was found", where=str(data), fix="name it with --time"
            )
    protected = tuple(c for c in columns if PROTECTED.match(c) and c != found_target)
    ignored = tuple(c for c in columns if FOREIGN.match(c))
    return Guess(found_id, found_time, found_target, protected, ignored)


def _named(columns: list[str], names: tuple[str, ...]) -> str | None:
    lower = {c.lower(): c for c in columns}
    return next((lower[n] for n in names if n in lower), None)


def _containing(columns: list[str], parts: tuple[str, ...]) -> str | None:
    return next((c for p in parts for c in columns if p in c.lower()), None)


def column_line(values: pd.Series[Any]) -> str:
    """Declaration of a column from its values: type, bounds, categories, nulls."""
    parts: list[str]
    known = values.dropna()
    if pd.api.types.is_datetime64_any_dtype(values):
        parts = ["type: time"]
    elif pd.api.types.is_bool_dtype(values):
        parts = ["type: boolean"]
    elif pd.api.types.is_numeric_dtype(values):
        known = known[np.isfinite(known)]
        if known.empty:
            known = pd.Series([0.0])
        # Room above and below: bounds stop absurd values, not new ones.
        span = float(known.max() - known.min()) or 1.0
        low, high = float(known.min()) - 10 * span, float(known.max()) + 10 * span
        low = 0.0 if known.min() >= 0 else low
        parts = ["type: number", f"min: {low:g}", f"max: {high:g}"]
    elif known.nunique() <= MAX_CATEGORIES:
        listed = ", ".join(_quoted(v) for v in sorted(known.astype(str).unique()))
        parts = ["type: category", f"values: [{listed}]"]
    else:
        parts = ["type: category"]
    if values.isna().any():
        parts.append("nullable: true")
    return "{" + ", ".join(parts) + "}"


def _no_input(values: pd.Series[Any]) -> str:
    """Why a column is no input of the model as it is; empty if it is one."""
    known = values.dropna()
    if known.empty:
        return "has no values"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "a second time: take a difference of it beforehand"
    numeric = pd.api.types.is_numeric_dtype(values)
    different = 0 if numeric else known.astype(str).nunique()
    if different > max(MAX_CATEGORIES, len(known) // 2):
        return "its texts hardly ever come twice"
    return ""


def _coded(values: pd.Series[Any]) -> bool:
    """Whether whole numbers look like codes of a few categories."""
    known = values.dropna()
    whole = bool(pd.api.types.is_numeric_dtype(values) and np.all(known == np.floor(known)))
    return whole and known.nunique() <= 12


def render(frame: pd.DataFrame, guess: Guess, title: str, events: str) -> str:
    """Text of the project file."""
    special = {guess.event_time: "{type: time}", guess.event_id: "{type: id}"}
    event_time = guess.event_time
    if event_time == guess.event_id:
        # The id orders the rows: it is read a second time, as the event time.
        event_time = "event_order"
    skip = {*guess.ignored}
    lines, inputs = [], []
    positive = _positive(frame[guess.target])
    for name in (str(c) for c in frame.columns):
        if name in skip:
            continue
        if name == guess.target:
            listed = ", ".join(_quoted(_text(v)) for v in sorted(frame[name].dropna().unique()))
            declared = f"{{type: category, values: [{listed}]}}"
        elif name in special:
            declared = special[name]
        elif name in guess.protected or (_coded(frame[name]) and name not in guess.ignored):
            listed = ", ".join(_quoted(_text(v)) for v in sorted(frame[name].dropna().unique()))
            nullable = ", nullable: true" if frame[name].isna().any() else ""
            declared = f"{{type: category, values: [{listed}]{nullable}}}"
        else:
            declared = column_line(frame[name])
        used = name not in special and name != guess.target and name not in guess.protected
        why = _no_input(frame[name]) if used else ""
        lines.append(f"    {_quoted(name)}: {declared}" + (f"  # no input: {why}" if why else ""))
        if used and not why:
            inputs.append(_quoted(name))
    if event_time != guess.event_time:
        lines.append(f'    "{event_time}": {{type: time, source: "{guess.event_id}"}}')
    every, window = _spacing(frame[guess.event_time])
    body = TEMPLATE.format(
        name=title,
        events=events,
        ignore=", ".join(f'"{c}"' for c in guess.ignored),
        event_id=guess.event_id,
        event_time=event_time,
        protected=", ".join(f'"{c}"' for c in guess.protected),
        columns="\n".join(lines),
        target=guess.target,
        positive=positive,
        inputs=", ".join(inputs),
        every=every,
        window=window,
    )
    return body


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return (
        str(int(value))
        if isinstance(value, float | np.floating) and value == int(value)
        else str(value)
    )


def _positive(values: pd.Series[Any]) -> str:
    return _text(sorted(values.dropna().unique())[-1])


def _spacing(values: pd.Series[Any]) -> tuple[str, str]:
    """How often to look, and how much to look at, from how the rows lie in time."""
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
    if pd.api.types.is_datetime64_any_dtype(values):
        days = (values.max() - values.min()).days
        return (f"{max(1, days // 20)}d", f"{max(1, days // 10)}d")
    if values.nunique() < 50 and values.between(1900, 2200).all():
        return "365d", "366d"
    minutes = int(values.max() - values.min())
    return f"{max(1, minutes // 20)}m", f"{max(1, minutes // 10)}m"


TEMPLATE = """\
# Written by setpoint init. Every choice below is a guess from the data: read it once.
version: 1
name: {name}
owner: {{team: unknown, contact: unknown}}   # who answers for the model
risk_tier: limited                          # minimal, limited or high

data:
  events: "{events}"
  ignore: [{ignore}]        # columns that are in the files and not part of an event
  event_id: "{event_id}"
  event_time: "{event_time}"    # a time, a year, or a number that orders the rows
  entities: {{}}             # e.g. {{customer: customer_id}}; traffic is sticky by the first
  protected: [{protected}]  # the fairness gate judges these; they are no inputs
  columns:
{columns}

target:
  column: "{target}"
  positive: "{positive}"
  delay: 0d                # age at which labels count as complete
  unlabelled: drop         # or negative: older rows without a label count as good

# Money per decision. A number, or {{column: amount}} for a column's value.
costs: {{false_negative: 1, false_positive: 1, true_positive: 0, true_negative: 0}}

features:
  columns: [{inputs}]
  calendar: []             # hour, weekday, weekend, night
  windows: []              # e.g. - {{entity: customer, compute: [count], over: [1d, 7d]}}
  risks: []                # e.g. - {{entity: terminal, over: [7d], delay: 7d}}

# What the model must hold. Leaving a setpoint opens an incident.
setpoints:
  ranking: {{metric: roc_auc, floor: 0.7}}

train: {{trials: 4, judge_recent: 1.0}}
gates: {{error_rate: 0.01, min_sample: 200}}
release: {{steps: [5, 25, 50, 100]}}
watch: {{every: {every}, window: {window}}}
respond: {{performance: retrain, drift: watch, cooldown: 0d, retry_after: 0d}}
"""
