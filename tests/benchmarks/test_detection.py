"""On real streams with abrupt drift every change is found, sooner than ADWIN finds it."""

from __future__ import annotations

from benchmarks.detection import GIVEN, sine1
from tests.adapters.shared_data import shared_data


def test_on_sine1_every_change_is_found_sooner_than_by_adwin_and_none_is_made_up() -> None:
    found = sine1(shared_data("sine1/sine1_w50_n10.parquet").parent)
    assert found["changes"] == 20 and found["missed"] == 0
    assert found["median_delay"] <= GIVEN["sine1"]["ADWIN"]["median_delay"]
    assert found["false_alarms"] == 0
