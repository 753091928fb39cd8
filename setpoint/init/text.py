"""The project file as text, with a comment on every guess."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from setpoint.init.columns import Look, as_kind, category_line, declared, texts_of
from setpoint.init.quoting import listed, quoted
from setpoint.init.roles import Roles

_MINUTE, _DAY = 60_000_000, 1440
_FIRST_YEAR, _LAST_YEAR, _FEW_YEARS = 1900, 2200, 50
_LISTED_LABELS = 10


def render(looks: dict[str, Look], roles: Roles, title: str, events: str) -> str:
    """Text of the project file.

    Args:
        looks: The columns, in the order of the file.
        roles: What they are for.
        title: Name of the model.
        events: Address of the data.
    """
    event_time = roles.event_time
    if event_time == roles.event_id:
        # The id orders the rows: it is read a second time, as the event time.
        event_time = _free("event_order", looks)
    kept = [look for name, look in looks.items() if name not in roles.ignored]
    lines = [_column(look, roles) for look in kept]
    if event_time != roles.event_time:
        source = quoted(roles.event_id)
        lines.append(f"    {quoted(event_time)}: {{type: time, source: {source}}}")
    every, window = _spacing(looks[roles.event_time])
    return TEMPLATE.format(
        name=quoted(title),
        events=quoted(events),
        ignore=listed(list(roles.ignored)),
        why_ignored="".join(f"\n  # {quoted(n)}: {why}" for n, why in roles.ignored.items()),
        event_id=quoted(roles.event_id),
        event_time=quoted(event_time),
        time_zone=TIME_ZONE if _naive(kept, roles) else "",
        protected=listed(roles.protected),
        columns="\n".join(lines),
        target=quoted(roles.label.name),
        others=_others(roles.other_labels),
        positive=quoted(roles.label.positive),
        inputs=listed(inputs(looks, roles)),
        every=every,
        window=window,
    )


def inputs(looks: dict[str, Look], roles: Roles) -> list[str]:
    """Columns that are inputs of the model."""
    taken = {roles.event_id, roles.event_time, roles.label.name, *roles.protected}
    return [n for n in looks if n not in {*taken, *roles.ignored, *roles.no_input}]


def _free(name: str, looks: dict[str, Look]) -> str:
    while name in looks:
        name += "_"
    return name


def _column(look: Look, roles: Roles) -> str:
    line = declared(look)
    if look.name == roles.event_id:
        line = "{type: id}"
    elif look.name == roles.event_time:
        line = "{type: time}"
    elif look.name == roles.label.name:
        line = roles.label.declared
    elif look.name in roles.protected:
        texts = texts_of(look)
        line = line if texts is None or look.kind == "boolean" else category_line(texts)
    why = roles.no_input.get(look.name)
    return f"    {quoted(look.name)}: {line}" + (f"  # no input: {why}" if why else "")


def _naive(kept: list[Look], roles: Roles) -> bool:
    return any(look.naive for look in kept if look.name != roles.event_id)


def _others(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED_LABELS} more" if len(names) > _LISTED_LABELS else ""
    return f"    # two values as well: {listed(names[:_LISTED_LABELS])}{more}"


def _spacing(look: Look) -> tuple[str, str]:
    """How often to look, and how much to look at, from how the rows lie in time."""
    if look.whole is not None:
        found = pc.min_max(look.whole).as_py()
        years = found["min"] >= _FIRST_YEAR and found["max"] <= _LAST_YEAR
        if years and pc.count_distinct(look.whole).as_py() < _FEW_YEARS:
            return "365d", "366d"
    times = event_times(look)
    span = pc.min_max(times.cast(pa.int64())).as_py() if times is not None else None
    if span is None or span["min"] is None:
        return "1d", "7d"
    minutes = (span["max"] - span["min"]) // _MINUTE
    if look.whole is None and minutes >= _DAY:
        days = minutes // _DAY
        return f"{max(1, days // 20)}d", f"{max(1, days // 10)}d"
    return f"{max(1, minutes // 20)}m", f"{max(1, minutes // 10)}m"


def event_times(look: Look) -> pa.ChunkedArray | None:
    """The values as event times; ``None`` if they are none."""
    values = look.raw if look.whole is None else look.whole
    return look.values if look.kind == "time" else as_kind(look.name, values, "time", "UTC")


TIME_ZONE = """
  time_zone: UTC           # times in the file carry no zone: name the one that they are in"""

TEMPLATE = """\
# Written by setpoint init. Every choice below is a guess from the data: read it once.
version: 1
name: {name}
owner: {{team: unknown, contact: unknown}}   # who answers for the model
risk_tier: limited                          # minimal, limited or high

data:
  events: {events}
  ignore: [{ignore}]        # columns that are in the files and not part of an event{why_ignored}
  event_id: {event_id}
  event_time: {event_time}    # a time, a year, or a number that orders the rows{time_zone}
  entities: {{}}             # e.g. {{customer: customer_id}}; traffic is sticky by the first
  protected: [{protected}]  # the fairness gate judges these; they are no inputs
  columns:
{columns}

target:
  column: {target}{others}
  positive: {positive}
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
