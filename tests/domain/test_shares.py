"""PSI of percentages that people type."""

from __future__ import annotations

import math

import pytest

from setpoint.domain.drift import BANDS, FLOOR, psi
from setpoint.domain.profile import build_profile, count
from setpoint.domain.shares import (
    INTERPRETATION,
    MAX_BINS,
    parse_percentages,
    shares_psi,
)
from setpoint.errors import DataError


def test_the_figure_is_the_definition_bin_by_bin() -> None:
    found = shares_psi((20, 30, 50), (25, 30, 45))
    assert found.terms == pytest.approx((0.05 * math.log(1.25), 0.0, -0.05 * math.log(0.9)))
    assert found.psi == pytest.approx(sum(found.terms))
    assert found.band == "safe"


def test_percentages_and_shares_give_the_same_figure() -> None:
    percent, share = shares_psi((20, 80), (60, 40)), shares_psi((0.2, 0.8), (0.6, 0.4))
    assert percent.psi == pytest.approx(share.psi, rel=1e-12)
    assert percent.band == "act"


def test_the_figure_is_that_of_rows_with_these_shares() -> None:
    profile = build_profile({"x": ["a"] * 200 + ["b"] * 300 + ["c"] * 500})
    window = count(profile, {"x": ["a"] * 250 + ["b"] * 300 + ["c"] * 450})
    rows = psi(profile.columns[0], window.cells["x"])
    assert shares_psi((50, 30, 20), (45, 30, 25)).psi == pytest.approx(rows, rel=1e-12)


def test_an_empty_bin_weighs_as_much_as_the_floor_says() -> None:
    found = shares_psi((0, 100), (2, 98))
    assert found.terms[0] == pytest.approx((0.02 - FLOOR) * math.log(0.02 / FLOOR))


def test_lists_that_come_rounded_are_scaled() -> None:
    found = shares_psi((33.3, 33.3, 33.3), (33.3, 33.3, 33.3))
    assert math.fsum(found.expected) == pytest.approx(1.0, abs=1e-15)
    assert found.psi == 0.0


def test_no_order_of_bins_and_no_exchange_of_lists_changes_the_figure() -> None:
    one = shares_psi((10, 20, 70), (30, 30, 40)).psi
    assert shares_psi((70, 10, 20), (40, 30, 30)).psi == pytest.approx(one, rel=1e-12)
    assert shares_psi((30, 30, 40), (10, 20, 70)).psi == pytest.approx(one, rel=1e-12)


def test_the_words_beside_a_figure_name_the_limits_in_force() -> None:
    assert f"below {BANDS[0]:g}" in INTERPRETATION["safe"]
    assert f"{BANDS[0]:g} to {BANDS[1]:g}" in INTERPRETATION["watch"]
    assert f"above {BANDS[1]:g}" in INTERPRETATION["act"]


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        ((50, 50), (50, 40), "actual: it adds up to 90"),
        ((50, 40), (50, 50), "expected: it adds up to 90"),
        ((0.5, 0.4), (0.5, 0.5), "expected: it adds up to 0.9"),
        ((0, 0), (50, 50), "expected: it adds up to 0"),
        ((50, 50), (110, -10), "actual: bin 2 is -10"),
        ((50, 50), (math.nan, 50), "actual: bin 1 is nan"),
        ((50, math.inf), (50, 50), "expected: bin 2 is inf"),
        ((50, 50), (50, 30, 20), "2 bins are expected and 3 are actual"),
        ((100,), (100,), "it has 1 of the 2 to 20 bins"),
        ((), (), "it has 0 of the 2 to 20 bins"),
        ((100 / 21,) * 21, (100 / 21,) * 21, "it has 21 of the 2 to 20 bins"),
    ],
)
def test_lists_that_are_no_distribution_are_refused(
    expected: tuple[float, ...], actual: tuple[float, ...], told: str
) -> None:
    with pytest.raises(DataError, match=told) as refused:
        shares_psi(expected, actual)
    assert refused.value.fix


def test_twenty_bins_are_taken() -> None:
    assert shares_psi((5,) * MAX_BINS, (5,) * MAX_BINS).psi == 0.0


def test_percentages_are_read_with_signs_and_spaces() -> None:
    assert parse_percentages("20,30.5 , 49.5 %", "--expected") == (20, 30.5, 49.5)


@pytest.mark.parametrize(
    ("text", "wrong"), [("20,thirty", "'thirty'"), ("20,,80", "''"), ("", "''")]
)
def test_what_is_no_number_is_named(text: str, wrong: str) -> None:
    with pytest.raises(DataError, match=f"--actual: {wrong} is no number"):
        parse_percentages(text, "--actual")
