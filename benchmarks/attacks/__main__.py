"""Plays all attacks and writes the figures.

``python -m benchmarks.attacks [--seeds N] [--only PART ...]``. With ``--only`` the other parts keep
the figures that the file has.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.attacks.fresh import fresh
from benchmarks.attacks.model import copying, evasion, tampering, unsafe_artifact
from benchmarks.attacks.poison import backdoor, false_alarms, label_flips
from benchmarks.attacks.requests import floods, refused
from benchmarks.attacks.worlds import Attack, project

RESULT = Path(__file__).parents[1] / "results" / "attacks.json"

ATTACKS: tuple[Attack, ...] = (
    evasion,
    label_flips,
    backdoor,
    tampering,
    unsafe_artifact,
    copying,
    floods,
)


def switched(seeds: int) -> dict[str, object]:
    """Attacks whose mitigation can be off and on."""
    rows = [row for attack in ATTACKS for row in attack(seeds)]
    return {
        "attacks_played": len(ATTACKS),
        "evasion_off": rows[0]["off"],
        "evasion_on": rows[0]["on"],
        "attacks": rows,
    }


def sound(seeds: int) -> dict[str, object]:
    """What the check says of sources without poison."""
    alarms = false_alarms(seeds)
    return {
        "sound_sources": sum(row["sources"] for row in alarms.values()),
        "sound_sources_stopped": sum(row["stop training"] for row in alarms.values()),
        "stated_false_alarms": project().train.poisoning.error_rate,
        "worlds": seeds,
        "sources_by_what_happened": alarms,
    }


PARTS: dict[str, Callable[[int], dict[str, object]]] = {
    "switched": switched,
    "sound": sound,
    "fresh": fresh,
    "refused": refused,
}


def main() -> None:
    """Play what is asked for and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="worlds that each is played on")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    given = parser.parse_args()
    whole = set(given.only) == set(PARTS)
    kept = {} if whole or not RESULT.exists() else json.loads(RESULT.read_text("utf-8"))
    before = kept.pop("cpu_seconds", {})
    seconds = dict(before) if isinstance(before, dict) else {}
    for name in given.only:
        began = time.process_time()
        kept |= PARTS[name](given.seeds)
        seconds[name] = round(time.process_time() - began, 1)
    result = kept | {"cpu_seconds": seconds}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
