"""On real streams with abrupt drift every change is found, sooner than river's ADWIN finds it."""

from __future__ import annotations

import json

import numpy as np

from benchmarks.detection import RESULT, Found, Stream, _found, figures, ours, sine1
from tests.adapters.shared_data import shared_data


def test_on_sine1_every_change_is_found_sooner_than_by_adwin_and_none_is_made_up() -> None:
    streams = sine1(shared_data("sine1/sine1_w50_n10.parquet").parent)
    found = figures(streams, [ours(one) for one in streams])
    measured = json.loads(RESULT.read_text("utf-8"))["sine1"]
    assert found == measured["Setpoint"]
    assert found["changes"] == 20 and found["missed"] == 0 and found["false_alarms"] == 0
    assert found["median_delay"] <= measured["ADWIN"]["median_delay"]


def test_an_alarm_of_river_counts_by_where_it_falls() -> None:
    rows = np.zeros(10, dtype=bool)
    assert _found(Stream(rows, rows, rows), [3, 10, 19, 24, 29]) == Found(2, 5)
    assert _found(Stream(rows, rows, rows), [3]) == Found(0, None)
