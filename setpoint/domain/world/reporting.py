"""From what happened to the table that a caller sees, schema faults included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.domain.world.base import (
    AGE_BANDS,
    CHANNELS,
    CONTACTLESS,
    REGIONS,
    SEXES,
    Mask,
    People,
    Rows,
)
from setpoint.domain.world.config import WorldConfig
from setpoint.domain.world.drift import affected

RENAMED = "tap"
"""What ``schema_category`` calls contactless payments."""
SECOND_MICROSECONDS = 1_000_000


def _numbered(prefix: str, count: int, digits: int) -> pa.Array:
    text = pc.utf8_lpad(pa.array(np.arange(count)).cast(pa.string()), digits, "0")
    return pc.binary_join_element_wise(prefix, text, "")


def _named(names: Sequence[str], codes: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def microseconds(config: WorldConfig, rows: Rows) -> np.ndarray:
    """Event times, microseconds since the epoch, int64."""
    return (int(config.start.timestamp()) + rows.second) * SECOND_MICROSECONDS


def event_table(config: WorldConfig, people: People, rows: Rows) -> pa.Table:
    """The payments as reported: no truth in it.

    Returns:
        ``tx_id, time (timestamp[us, UTC]), customer_id, terminal_id, amount (float64), channel,
        age_band, sex, region``, in time order.
    """
    who = rows.customer % config.customers
    columns = {
        "tx_id": _numbered("t", len(rows.second), 7),
        "time": pa.array(microseconds(config, rows)).cast(pa.timestamp("us", tz="UTC")),
        "customer_id": _numbered("c", 2 * config.customers, 5).take(pa.array(rows.customer)),
        "terminal_id": _numbered("m", config.terminals, 5).take(pa.array(rows.terminal)),
        "amount": pa.array(rows.amount),
        "channel": _named(CHANNELS, rows.channel),
        "age_band": _named(AGE_BANDS, rows.age),
        "sex": _named(SEXES, people.sex[who]),
        "region": _named(REGIONS, people.region[who]),
    }
    return pa.table(_with_fault(config, rows, columns))


def _with_fault(
    config: WorldConfig, rows: Rows, columns: dict[str, pa.Array]
) -> dict[str, pa.Array]:
    drift = config.drift
    if drift is None or not drift.name.startswith("schema_"):
        return columns
    faulty: Mask = affected(config, rows, drift.strength, "faulty rows")
    if drift.name == "schema_cents":
        reported = np.where(faulty, np.round(rows.amount * 100), rows.amount)
        return {**columns, "amount": pa.array(reported)}
    if drift.name == "schema_category":
        codes = np.where(faulty & (rows.channel == CONTACTLESS), len(CHANNELS), rows.channel)
        return {**columns, "channel": _named((*CHANNELS, RENAMED), codes)}
    whole = columns[drift.column]
    kept = pc.if_else(pa.array(faulty), pa.scalar(None, whole.type), whole)
    return {**columns, drift.column: kept}
