"""Requests are counted at the client while versions are released, killed and broken.

The table at full size is ``make bench-release``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.release.__main__ import run
from benchmarks.release.scenarios import SCENARIOS

pytestmark = pytest.mark.e2e
RATE = 60.0


def test_no_request_is_lost_or_answered_wrongly_and_a_bad_version_is_out_within_5_seconds(
    tmp_path: Path,
) -> None:
    small = [one for one in SCENARIOS if one.small]
    rows = run(small, RATE, settle=1.0, root=tmp_path / "state")
    assert [(row.scenario, row.note) for row in rows if row.astray] == []
    assert all(row.requests > RATE for row in rows)
    assert [(row.scenario, row.lost, row.wrong_version) for row in rows] == [
        (one.name, 0, 0) for one in small
    ]
    assert all(row.seconds_to_zero is None or row.seconds_to_zero <= 5 for row in rows)
    assert sum(row.seconds_to_zero is not None for row in rows) >= 2
