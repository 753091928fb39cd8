"""Plays all attacks and writes the figures."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.attacks.model import copying, evasion, tampering, unsafe_artifact
from benchmarks.attacks.poison import backdoor, false_alarms, label_flips
from benchmarks.attacks.worlds import Attack, project

RESULT = Path(__file__).parents[1] / "results" / "attacks.json"

ATTACKS: tuple[Attack, ...] = (
    evasion,
    label_flips,
    backdoor,
    tampering,
    unsafe_artifact,
    copying,
)


def main() -> None:
    """Play all and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="worlds that each is played on")
    seeds = parser.parse_args().seeds
    began = time.process_time()
    rows = [row for attack in ATTACKS for row in attack(seeds)]
    alarms = false_alarms(seeds)
    sound = list(alarms.values())
    result = {
        "attacks_played": len(ATTACKS),
        "evasion_off": rows[0]["off"],
        "evasion_on": rows[0]["on"],
        "sound_sources": sum(row["sources"] for row in sound),
        "sound_sources_stopped": sum(row["stop training"] for row in sound),
        "stated_false_alarms": project().train.poisoning.error_rate,
        "worlds": seeds,
        "cpu_seconds": round(time.process_time() - began, 1),
        "attacks": rows,
        "sources_by_what_happened": alarms,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
