"""How quickly the record answers, and how much of it comes out the same again.

Verifying the ledger here; questions, replays and rebuilds in ``account``. Writes
``results/governance.json``; with names of parts only these, beside the figures that are there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.account import PARTS
from benchmarks.long_ledger import lengthen
from setpoint.adapters.signing import Keys
from setpoint.adapters.sqlite_state import StateStore

RESULT = Path(__file__).parent / "results" / "governance.json"


def measure_ledger(entries: int = 1_000_000) -> dict[str, Any]:
    """Verify a signed ledger: chain, signatures, seals.

    Args:
        entries: How many; each with the evidence of a gate of one finding, all signed.

    Returns:
        ``ledger_entries``, ``ledger_seals``, ``ledger_seconds`` (wall) and
        ``ledger_entries_per_second``.

    Raises:
        AssertionError: It does not hold; then the time says nothing.
    """
    with tempfile.TemporaryDirectory() as name:
        keys = Keys(Path(name) / "keys")
        state = StateStore(Path(name) / "state.db", "cards", keys)
        lines = lengthen(state, keys, entries)
        began = time.perf_counter()
        found = state.audit_ledger(lines)
        seconds = time.perf_counter() - began
    assert found.breaks == () and found.signed == entries and found.seals == len(lines)
    return {
        "ledger_entries": entries,
        "ledger_seals": len(lines),
        "ledger_seconds": round(seconds, 2),
        "ledger_entries_per_second": round(entries / seconds),
    }


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the ledger")
    parser.add_argument("parts", nargs="*", default=["ledger", *PARTS])
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    known = json.loads(given.out.read_text("utf-8")) if given.out.exists() else {}
    result = dict(known)
    for part in given.parts:
        if part == "ledger":
            result |= measure_ledger(given.entries)
        else:
            result |= {f"{part}_{name}": value for name, value in PARTS[part]().items()}
    given.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
