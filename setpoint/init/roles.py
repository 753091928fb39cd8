"""What the columns of a data file are for: what was given is checked, the rest is guessed."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.config.references import RESERVED, is_reserved
from setpoint.errors import DataError
from setpoint.init.columns import MAX_CATEGORIES, Look, as_kind, in_order, texts_of
from setpoint.init.labels import Label, found_label, guess_label
from setpoint.init.quoting import listed

IDS = ("id", "tx_id", "transaction_id", "event_id", "customer_id")
ID_NAME = re.compile(r"(^|[_ ])(id|uuid|key)$", re.IGNORECASE)
TIMES = ("timestamp", "time", "event_time", "datetime", "date", "year", "month")
PROTECTED = re.compile(r"^(sex|gender|race|rac1p|ethnicity|religion|nationality)$", re.IGNORECASE)
FOREIGN = re.compile(r"^(prediction|predicted_probability|y_pred|y_pred_proba|score)$")


@dataclass(frozen=True)
class Given:
    """What the caller named: ``None`` is to be guessed."""

    target: str | None = None
    event_time: str | None = None
    event_id: str | None = None

    def options(self) -> dict[str, str]:
        """Option to the column named with it."""
        named = {"--target": self.target, "--time": self.event_time, "--id": self.event_id}
        return {option: column for option, column in named.items() if column is not None}


@dataclass(frozen=True)
class Roles:
    """What the columns are for.

    Attributes:
        label: The label.
        other_labels: Other columns of two values, which could have been meant.
        event_id: Column that identifies a row.
        event_time: Column of the event time; may be the event id, which then orders the rows.
        protected: Columns of protected groups.
        ignored: Columns that are left out, and why.
        no_input: Columns that are declared and are no input, and why.
    """

    label: Label
    other_labels: tuple[str, ...]
    event_id: str
    event_time: str
    protected: tuple[str, ...]
    ignored: dict[str, str]
    no_input: dict[str, str]


def guess_roles(looks: dict[str, Look], given: Given, where: str) -> Roles:
    """What the columns are for.

    Args:
        looks: The columns, in the order of the file.
        given: What the caller named.
        where: Name of the file, for messages.

    Raises:
        DataError: A given column does not exist or cannot have its role, or there is nothing to
            guess from.
    """
    _check_given(looks, given, where)
    ignored = _ignored(looks, given)
    known = {name: look for name, look in looks.items() if name not in ignored}
    guarded = {name for name in known if PROTECTED.match(name)}
    others = {n: look for n, look in known.items() if n not in given.options().values()}
    label, rest = (
        (found_label(known[given.target], where), ())
        if given.target is not None
        else guess_label([look for n, look in others.items() if n not in guarded], where)
    )
    known = {n: look for n, look in known.items() if n != label.name}
    event_id = given.event_id or _guess_id(known, given.event_time, where)
    if given.event_id is not None:
        _check_id(known[event_id], where)
    event_time = given.event_time or _guess_time(known, event_id, where)
    inputs = [look for n, look in known.items() if n not in (event_id, event_time)]
    protected = tuple(look.name for look in inputs if look.name in guarded and _grouped(look))
    no_input = {look.name: _no_input(look, label) for look in inputs if look.name not in protected}
    no_input |= {n: "a protected name" for n in guarded if n in no_input}
    no_input = {name: why for name, why in no_input.items() if why}
    return Roles(label, rest, event_id, event_time, protected, _reserved_label(
        looks, ignored, label.name), no_input)  # fmt: skip


def _check_given(looks: dict[str, Look], given: Given, where: str) -> None:
    options = given.options()
    for option, column in options.items():
        if column not in looks:
            raise DataError(
                f"{option} {column}: there is no such column",
                where=where,
                fix=f"the columns are {', '.join(looks)}",
            )
        unfit = looks[column].unusable
        if is_reserved(column) and not (column in RESERVED and option == "--target"):
            unfit = "the name is reserved; rename the column"
        if unfit:
            raise DataError(f"{option} {column}: {unfit}", where=where, fix="name another column")
    if given.target is not None and given.target in (given.event_id, given.event_time):
        raise DataError(
            f"--target {given.target}: the same column is named as the id or the time",
            where=where,
            fix="name a column of its own",
        )


def _ignored(looks: dict[str, Look], given: Given) -> dict[str, str]:
    """Columns that are no part of an event, and why."""
    ignored = {}
    for name, look in looks.items():
        if look.unusable:
            ignored[name] = look.unusable
        elif not name:
            ignored[name] = "it has no name; often the row number"
        elif name.startswith("_"):
            ignored[name] = "names that start with _ are reserved; rename it to use it"
        elif FOREIGN.match(name) and name not in given.options().values():
            ignored[name] = "it looks like the output of another model"
    return ignored


def _reserved_label(looks: dict[str, Look], ignored: dict[str, str], label: str) -> dict[str, str]:
    """Left-out columns, with those whose names only the label may have."""
    reserved = [name for name in looks if is_reserved(name) and name not in (label, *ignored)]
    return ignored | {name: "the name is reserved; rename it to use it" for name in reserved}


def _ids(look: Look) -> pa.ChunkedArray | None:
    measured = look.kind == "number" and look.whole is None
    none = measured or look.kind in ("", "time")
    return None if none else as_kind(look.name, look.raw, "id")


def _identifies(look: Look) -> bool:
    ids = _ids(look)
    return ids is not None and not ids.null_count and pc.count_distinct(ids).as_py() == len(ids)


def _guess_id(known: dict[str, Look], event_time: str | None, where: str) -> str:
    unique = [name for name, look in known.items() if name != event_time and _identifies(look)]
    telling = [name for name in unique if ID_NAME.search(name)]
    found = named(unique, IDS) or next(iter(telling), None) or next(iter(unique), None)
    if found is None and event_time is not None and _identifies(known[event_time]):
        found = event_time
    if found is None:
        raise DataError(
            "no column identifies a row: none has a text or whole number that never repeats",
            where=where,
            fix="add a column that numbers the rows and name it with --id",
        )
    return found


def _check_id(look: Look, where: str) -> None:
    ids = _ids(look)
    if ids is None:
        why = f"it has {look.values.type} values, which are neither text nor whole numbers"
    elif ids.null_count:
        why = f"{ids.null_count} of {len(ids)} values are missing"
    else:
        again = len(ids) - pc.count_distinct(ids).as_py()
        why = f"{again} of {len(ids)} values repeat another row's" if again else ""
    if why:
        raise DataError(
            f"--id {look.name}: {why}", where=where, fix="name a column whose values never repeat"
        )


def _guess_time(known: dict[str, Look], event_id: str, where: str) -> str:
    times = [n for n, look in known.items() if look.kind == "time" and n != event_id]
    whole = [n for n in times if not known[n].values.null_count] or times
    ordering = [n for n, look in known.items() if look.whole is not None and n != event_id]
    found = named(whole, TIMES) or next(iter(whole), None) or named(ordering, TIMES)
    if found is None and known[event_id].whole is not None:
        return event_id
    if found is None:
        raise DataError(
            "no column of the event time was found, and the id is no number that orders the rows",
            where=where,
            fix="name a column of times, years or numbers that order the rows with --time",
        )
    return found


def named(columns: list[str], names: tuple[str, ...]) -> str | None:
    """The first of the names that a column has, however it is written."""
    lower = {c.lower(): c for c in columns}
    return next((lower[n] for n in names if n in lower), None)


def _grouped(look: Look) -> bool:
    """Whether the values name groups."""
    texts = texts_of(look)
    few = texts is not None and pc.count_distinct(texts).as_py() <= MAX_CATEGORIES
    return look.kind in ("category", "boolean") or few


def _no_input(look: Look, label: Label) -> str:
    return look.no_input or _copy(look, label)


def _copy(look: Look, label: Label) -> str:
    """Why a column tells the label outright; empty if it does not."""
    pairs = pa.table({"a": look.values, "b": label.values}).filter(pc.is_valid(label.values))
    if pc.count_distinct(pairs["a"], mode="all").as_py() != 2:
        return ""
    if pairs.group_by(["a", "b"]).aggregate([]).num_rows != 2:
        return ""
    found = in_order(label.values)
    return f"it tells {listed([label.name])} outright: one value for {found[0]}, one for {found[1]}"
