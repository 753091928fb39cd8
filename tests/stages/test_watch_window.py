"""A window is counted batch by batch as it would be at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.drift import count, psi_findings
from setpoint.domain.profile import Profile, build_profile
from setpoint.ports import DecisionQuery
from setpoint.stages.watch import count_window
from tests.adapters.test_decision_log import START, decision

NAMES = ("amount", "age", "country")


class Watched(SqliteDecisionLog):
    """A log that is read seven rows at a time, and notes what was asked of it."""

    def batches(self, query: DecisionQuery, rows: int = 7) -> Iterator[pa.Table]:
        """As the log's own."""
        self.asked = query
        return super().batches(query, rows)


def _profile() -> Profile:
    amounts = np.arange(1000.0)
    ages = np.where(amounts % 3 == 0, np.nan, amounts % 70)
    countries = np.array(["AT", "CH", "DE", ""], object)[np.arange(1000) % 4]
    columns = {"amount": amounts, "age": ages, "country": countries, "score": amounts / 1000}
    return build_profile(columns, categories=["country"])


def _log(folder: Path, rows: int) -> Watched:
    log = Watched(folder / "log.db", durability="normal")
    for i in range(rows):
        late = i > 20  # nothing of age and country is known in the first batches
        features = {
            "amount": float(i * 13 % 1000),
            "age": float(i % 70) if late and i % 5 else None,
            "country": ["AT", "CH", "", "XX"][i % 4] if late else None,
        }
        log.append([decision(i, features=features, score=i % 100 / 100)])
    return log


def test_counts_of_batches_are_those_of_the_whole_window(tmp_path: Path) -> None:
    log, profile = _log(tmp_path, 100), _profile()
    window = DecisionQuery(start=START + timedelta(minutes=3), version="1")
    counts = count_window(log, window, profile, NAMES)
    table = log.read(DecisionQuery(start=window.start, version="1", features=NAMES))
    columns = {name: table[f"f_{name}"].to_pylist() for name in NAMES}
    whole = count(profile, columns | {"score": table["score"].to_numpy()})
    assert counts.to_dict() == whole.to_dict()
    assert counts.rows("country") == counts.rows("score") == 97


def test_a_drift_check_asks_for_inputs_and_score_alone(tmp_path: Path) -> None:
    log = _log(tmp_path, 3)
    count_window(log, DecisionQuery(request=("country",)), _profile(), NAMES)
    assert (log.asked.columns, log.asked.request) == (("score",), ())
    assert log.asked.features == NAMES


def test_a_window_without_decisions_is_inconclusive(tmp_path: Path) -> None:
    profile = _profile()
    counts = count_window(_log(tmp_path, 0), DecisionQuery(), profile, NAMES)
    assert {finding.band for finding in psi_findings(profile, counts)} == {"inconclusive"}
