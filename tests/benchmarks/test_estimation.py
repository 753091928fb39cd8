"""The published table of performance estimated without labels is met on the same data."""

from __future__ import annotations

from benchmarks.estimation import SHIFTED, car_loan
from tests.adapters.shared_data import shared_data


def test_on_car_loan_estimates_are_near_what_was_realized_and_alert_where_the_shift_is() -> None:
    found = car_loan(shared_data("car_loan/synthetic_car_loan_reference.parquet").parent)
    assert found["scores_of_the_file_calibrated"] == "failed"
    assert found["trust"] == "passed"
    assert found["alerts"] == list(SHIFTED)
    assert found["largest_gap_to_realized"] <= 0.005
    assert found["largest_gap_to_published"] <= 1e-5
