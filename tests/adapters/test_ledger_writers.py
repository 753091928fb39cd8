"""Processes that write one ledger at once, and are killed, leave one that holds."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.adapters.test_ledger_tampering import NOW, Ledger

_WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.adapters.test_ledger_tampering import Ledger
ledger, name = Ledger(Path(sys.argv[1])), sys.argv[2]
number = 0
while True:
    number += 1
    entry = ledger.state.record(datetime(2026, 1, 1, tzinfo=UTC), "promoted", name, {"n": number})
    print(entry.seq, entry.digest, flush=True)
    if number % 7 == 0:
        ledger.seal()
    if number % 11 == 0:
        try:
            ledger.state.rotate_key(datetime(2026, 1, 1, tzinfo=UTC), name)
        except Exception as err:  # told, so that the test fails of it
            print("error", err, file=sys.stderr)
"""


def test_writers_at_once_that_are_killed_leave_a_ledger_that_holds(tmp_path: Path) -> None:
    rng = random.Random(5)
    acknowledged: dict[int, str] = {}
    said = tmp_path / "said"
    for run in range(3):
        # Files, not pipes: what was read ahead of a pipe is lost, and a line cut in two.
        files = [said.with_suffix(f".{run}.{number}") for number in range(3)]
        writers = []
        for file in files:
            with file.open("w") as out:
                words = [sys.executable, "-c", _WRITER, str(tmp_path / "ledger"), file.suffix]
                writers.append(subprocess.Popen(words, stdout=out, stderr=subprocess.PIPE))
        while not all(file.stat().st_size for file in files):
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.01)
        time.sleep(rng.uniform(0.1, 0.6))
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        assert [writer.communicate()[1] for writer in writers] == [b""] * 3
        for line in "\n".join(file.read_text("utf-8") for file in files).splitlines():
            seq, _, digest = line.partition(" ")
            if len(digest) == 64:
                acknowledged[int(seq)] = digest
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.breaks() == []
    held = {entry.seq: entry.digest for entry in ledger.state.ledger()}
    assert acknowledged.items() <= held.items() and len(acknowledged) > 10
    assert len({entry.key for entry in ledger.state.ledger()}) > 1
    assert ledger.state.record(NOW, "promoted", "cards/v1", {}).seq == max(held) + 1
