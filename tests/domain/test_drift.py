import json
import math

import numpy as np
import pyarrow as pa
import pytest

from setpoint.domain.drift import (
    Counts,
    count,
    design_effects,
    drift_verdict,
    psi,
    psi_findings,
)
from setpoint.domain.findings import Outcome
from setpoint.domain.profile import Profile, build_profile
from setpoint.errors import DataError

RNG = np.random.default_rng(20)
NORMAL = RNG.normal(size=50_000)


def judged(reference, window, **options):
    """Verdict on one column called x."""
    profile = build_profile({"x": reference})
    return psi_findings(profile, count(profile, {"x": window}), **options)[0]


def zero_inflated(share, n, seed=0, instead=0.0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < share, instead, rng.lognormal(2, 1, n))


def test_deciles_hold_a_tenth_each_and_are_right_closed():
    profile = build_profile({"x": np.arange(1, 101)})
    column = profile.columns[0]
    assert column.edges == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert column.counts == (10,) * 10 + (0,)
    assert count(profile, {"x": [10.0, 10.5]}).cells["x"][:2].tolist() == [1, 1]


def test_outer_bins_are_open():
    profile = build_profile({"x": np.arange(1, 101)})
    cells = count(profile, {"x": [-math.inf, -5, 1e9, math.inf]}).cells["x"]
    assert (cells[0], cells[9]) == (2, 2)


def test_the_reference_itself_has_no_drift():
    found = judged(NORMAL, NORMAL)
    assert (found.psi, found.band, found.p_value) == (0.0, "safe", 1.0)


def test_half_a_sigma_is_about_a_quarter_of_psi():
    shifted = np.random.default_rng(5).normal(0.5, 1, 20_000)
    found = judged(NORMAL, shifted)
    assert found.psi == pytest.approx(0.24, abs=0.02)
    assert found.interval[0] < 0.24 < found.interval[1]
    assert found.band in ("watch", "act")
    assert found.p_value < 1e-12


def test_a_shift_in_between_is_watched_and_advances_with_its_name():
    found = judged(NORMAL, np.random.default_rng(5).normal(0.4, 1, 20_000))
    assert found.band == "watch"
    assert found.outcome == Outcome.PASSED
    assert found.finding.reason.startswith("watch: PSI")


def test_a_value_heavier_than_a_bin_is_a_cell_of_its_own():
    column = build_profile({"x": zero_inflated(0.6, 10_000)}).columns[0]
    assert column.atoms == (0.0,)
    assert column.bins == 4
    assert sum(column.counts) == 10_000
    assert all(share > 0.09 for share in np.array(column.counts[:-1]) / 10_000)


@pytest.mark.parametrize(
    ("reference", "window", "least"),
    [
        (np.full(5_000, 7.0), np.full(2_000, 8.0), 10.0),
        (zero_inflated(0.6, 20_000), zero_inflated(0.6, 5_000, 1, instead=-1.0), 5.0),
        (zero_inflated(0.95, 20_000), zero_inflated(0.80, 5_000, 1), 0.2),
    ],
    ids=["constant 7 becomes 8", "tied zeros become -1", "95 % zeros become 80 %"],
)
def test_ties_that_move_are_seen(reference, window, least):
    found = judged(reference, window)
    assert found.psi > least
    assert found.band in ("watch", "act")


def test_a_change_from_95_to_90_percent_zeros_has_the_psi_of_two_cells():
    found = judged(
        np.r_[np.zeros(9_500), np.arange(1, 501)], np.r_[np.zeros(1_800), np.arange(1, 201)]
    )
    expected = 0.05 * math.log(2) + 0.05 * math.log(0.95 / 0.9)
    assert found.psi == pytest.approx(expected, rel=0.02)


def test_a_constant_column_that_stays_is_safe_and_one_that_goes_missing_acts():
    constant = np.full(5_000, 7.0)
    assert judged(constant, np.full(1_000, 7.0)).band == "safe"
    assert judged(constant, np.full(1_000, np.nan)).band == "act"


def test_an_all_null_column_that_stays_is_safe_and_one_that_fills_up_acts():
    empty = np.full(5_000, np.nan)
    assert judged(empty, np.full(1_000, np.nan)).band == "safe"
    assert judged(empty, np.ones(1_000)).band == "act"


def test_five_percent_nan_where_there_was_none_is_psi_of_a_third():
    window = NORMAL[:20_000].copy()
    window[::20] = np.nan
    found = judged(NORMAL, window)
    assert found.psi == pytest.approx(0.31, abs=0.02)
    assert found.band == "act"
    assert (found.null_share, found.reference_null_share) == (0.05, 0.0)


def test_unseen_categories_are_one_cell_and_a_figure_of_their_own():
    reference = np.repeat(["a", "b", "c"], 1_000)
    window = np.r_[np.repeat(["a", "b", "c"], 320), np.array(["new", "newer"] * 20)]
    found = judged(reference, window)
    assert found.unseen_share == pytest.approx(0.04)
    floor = (0.04 - 1e-4) * math.log(0.04 / 1e-4)
    assert found.psi == pytest.approx(floor, rel=0.02)


def test_two_percent_unseen_has_the_figure_of_the_stated_floor():
    window = np.r_[np.repeat(["a", "b"], 980), np.full(40, "new")]
    found = judged(np.repeat(["a", "b"], 5_000), window)
    assert found.psi == pytest.approx(0.0199 * math.log(200), rel=0.01)


def test_rare_categories_are_merged_so_that_each_cell_expects_five():
    names = np.array([f"k{i}" for i in range(200)])
    reference = np.repeat(names, 50)
    found = judged(reference, names)
    assert found.bins == 1
    assert judged(reference, np.repeat(names, 5)).bins == 200


def test_none_nan_and_empty_text_are_the_same_missing_category():
    profile = build_profile({"x": ["a", "a", "", None, float("nan")]})
    assert profile.columns[0].kind == "category"
    assert profile.columns[0].counts == (2, 0, 3)


def test_categories_beyond_the_limit_count_as_other():
    values = np.repeat(["a", "b", "c"], [5, 3, 1])
    column = build_profile({"x": values}, max_categories=2).columns[0]
    assert column.categories == ("a", "b")
    assert column.counts == (5, 3, 1, 0)
    assert column.truncated


def test_the_order_of_rows_does_not_change_the_profile():
    values = np.array(["b", "a", "c", "a", "b"])
    assert build_profile({"x": values}) == build_profile({"x": values[::-1]})


def test_edges_are_compared_in_the_precision_of_serving():
    values = np.repeat(np.array([0.1, 0.2, 0.3]), 1_000)
    profile = build_profile({"x": values})
    served = values.astype(np.float32)
    assert (count(profile, {"x": served}).cells["x"] == profile.columns[0].counts).all()
    exact = build_profile({"x": values}, float32=False)
    assert (count(exact, {"x": served}).cells["x"] != exact.columns[0].counts).any()


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x,
        list,
        lambda x: pa.array(x, from_pandas=True),
        lambda x: pa.array(x).slice(0),
        lambda x: pa.chunked_array([pa.array(x[:33], from_pandas=True), pa.array(x[33:])]),
        lambda x: pa.chunked_array([pa.array(x).slice(0, 50), pa.array(x).slice(50)]),
        lambda x: pa.array(x.astype(np.float32)),
    ],
    ids=["numpy", "list", "nulls", "nan", "chunks", "slices", "float32"],
)
def test_a_window_counts_the_same_however_it_is_held(convert):
    values = np.random.default_rng(3).normal(size=1_000)
    values[::7] = np.nan
    profile = build_profile({"x": values})
    assert (count(profile, {"x": convert(values)}).cells["x"] == profile.columns[0].counts).all()


def test_arrow_categories_count_like_lists():
    values = ["a", "b", None, "a", "zz"]
    profile = build_profile({"x": ["a", "b", "a"]})
    plain = count(profile, {"x": values}).cells["x"].tolist()
    assert plain == [2, 1, 1, 1]
    for held in (
        pa.array(values),
        pa.array(values).dictionary_encode(),
        pa.chunked_array([values]),
    ):
        assert count(profile, {"x": held}).cells["x"].tolist() == plain


def test_integers_and_booleans_are_numbers():
    profile = build_profile({"i": np.arange(100), "b": np.arange(100) % 2 == 0})
    assert [column.kind for column in profile.columns] == ["number", "number"]
    assert profile.columns[1].atoms == (0.0, 1.0)
    assert count(profile, {"i": pa.array(range(100))}).cells["i"].tolist()[:2] == [10, 10]
    assert count(profile, {"b": pa.array([True, None])}).cells["b"].tolist() == [0, 0, 1, 1]


def test_blocks_and_files_add_up():
    values = np.random.default_rng(4).normal(size=150_000)
    profile = build_profile({"x": values, "c": np.where(values > 0, "up", "down")})
    whole = count(profile, {"x": values, "c": np.where(values > 0, "up", "down")})
    parts = [
        count(profile, {"x": v, "c": np.where(v > 0, "up", "down")})
        for v in np.array_split(values, 7)
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total.to_dict() == whole.to_dict()
    assert whole.rows("x") == 150_000


def test_profile_and_counts_survive_json():
    profile = build_profile(
        {"x": zero_inflated(0.5, 500), "c": ["a", "b"] * 250, "n": [None] * 500}
    )
    again = Profile.from_dict(json.loads(json.dumps(profile.to_dict(), allow_nan=False)))
    assert again == profile
    counts = count(profile, {"x": [0.0, 3.0], "c": ["a", "q"]})
    read = Counts.from_dict(json.loads(json.dumps(counts.to_dict())))
    assert read.to_dict() == counts.to_dict()


def test_infinite_values_make_no_infinite_edges():
    profile = build_profile({"x": np.r_[np.full(500, np.inf), np.full(500, -np.inf), np.arange(9)]})
    json.dumps(profile.to_dict(), allow_nan=False)
    assert sum(profile.columns[0].counts) == 1_009


def test_a_missing_column_is_an_error_and_never_safe():
    profile = build_profile({"x": NORMAL, "y": NORMAL})
    found = psi_findings(profile, count(profile, {"x": NORMAL}))
    assert [f.band for f in found] == ["safe", "error"]
    assert drift_verdict(found).outcome == Outcome.ERROR


def test_an_empty_window_is_inconclusive():
    assert judged(NORMAL, np.array([])).band == "inconclusive"


@pytest.mark.parametrize("rows", [20, 100, 150])
def test_a_window_too_small_is_inconclusive_whatever_it_shows(rows):
    found = judged(NORMAL, np.random.default_rng(0).normal(size=rows), alpha=0.001)
    assert found.band == "inconclusive"
    assert found.crit > 0.1


def test_about_280_rows_are_needed_for_50_columns():
    profile = build_profile({f"x{i}": NORMAL[:20_000] for i in range(50)})
    window = {f"x{i}": NORMAL[:300] for i in range(50)}
    assert all(f.band == "safe" for f in psi_findings(profile, count(profile, window)))
    window = {f"x{i}": NORMAL[:250] for i in range(50)}
    assert all(f.band == "inconclusive" for f in psi_findings(profile, count(profile, window)))


def test_a_gross_change_acts_even_in_a_small_window():
    assert judged(NORMAL, np.full(50, 99.0)).band == "act"


@pytest.mark.parametrize("rows", [100, 300, 1_000])
def test_no_drift_raises_no_more_alarms_than_stated(rows):
    rng = np.random.default_rng(rows)
    windows, columns, alpha = 300, 20, 0.05
    profile = build_profile({f"x{i}": NORMAL for i in range(columns)})
    alarms = 0
    for _ in range(windows):
        window = {f"x{i}": rng.normal(size=rows) for i in range(columns)}
        found = psi_findings(profile, count(profile, window), alpha, bands=(1e-9, 1e-9))
        alarms += any(f.band == "act" for f in found)
    assert alarms / windows <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / windows)


def test_no_drift_in_categories_with_rare_values_raises_no_more_alarms_than_stated():
    rng = np.random.default_rng(7)
    share = 1 / np.arange(1, 61) ** 1.3
    share /= share.sum()
    names = np.array([f"k{i}" for i in range(60)])
    profile = build_profile({"x": rng.choice(names, 100_000, p=share)})
    alarms = 0
    for _ in range(500):
        counts = count(profile, {"x": rng.choice(names, 400, p=share)})
        alarms += psi_findings(profile, counts, 0.01, bands=(1e-9, 1e-9))[0].band == "act"
    assert alarms / 500 <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 500)


def test_the_debiased_figure_does_not_depend_on_the_size_of_the_window():
    rng = np.random.default_rng(8)
    profile = build_profile({"x": NORMAL})
    for rows in (300, 3_000):
        found = [
            psi_findings(profile, count(profile, {"x": rng.normal(0.5, 1, rows)}))[0]
            for _ in range(200)
        ]
        assert np.mean([f.debiased for f in found]) == pytest.approx(0.24, abs=0.02)


def test_bounds_hold_the_true_psi_as_often_as_stated():
    rng = np.random.default_rng(9)
    profile = build_profile({"x": np.random.default_rng(1).normal(size=200_000)})
    big = count(profile, {"x": np.random.default_rng(2).normal(0.4, 1, 2_000_000)})
    true = psi(profile.columns[0], big.cells["x"])
    misses = np.zeros(2)
    for _ in range(400):
        counts = count(profile, {"x": rng.normal(0.4, 1, 1_000)})
        low, high = psi_findings(profile, counts, 0.05)[0].interval
        misses += [low > true, high < true]
    assert (misses / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)).all()


def test_rows_in_groups_raise_false_alarms_until_the_design_effect_is_measured():
    rng = np.random.default_rng(10)
    profile = build_profile({"x": NORMAL})

    def window():
        return count(profile, {"x": np.repeat(rng.normal(size=500), 10)})

    effects = design_effects(profile, [window() for _ in range(60)])
    assert effects["x"] == pytest.approx(10, rel=0.25)
    fresh = [window() for _ in range(200)]

    def alarms(effect):
        verdicts = [psi_findings(profile, w, 0.01, (1e-9, 1e-9), effect)[0].band for w in fresh]
        return verdicts.count("act") / 200

    assert alarms(1.0) > 0.5
    assert alarms(effects) <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 200)


def test_independent_rows_have_a_design_effect_of_about_one():
    rng = np.random.default_rng(11)
    profile = build_profile({"x": NORMAL})
    windows = [count(profile, {"x": rng.normal(size=1_000)}) for _ in range(60)]
    assert 1.0 <= design_effects(profile, windows)["x"] < 1.3


def test_a_rare_flag_that_doubles_is_invisible_to_psi_but_not_to_the_p_value():
    found = judged(np.arange(100_000) % 100 == 0, np.arange(10_000) % 50 == 0)
    assert found.psi < 0.01
    assert found.band == "safe"
    assert found.p_value < 1e-10


def test_unusable_input_is_refused_by_name():
    with pytest.raises(DataError, match="no rows"):
        build_profile({"x": []})
    with pytest.raises(DataError, match="different lengths"):
        build_profile({"x": [1], "y": [1, 2]})
    with pytest.raises(DataError, match="'z'"):
        build_profile({"x": [1]}, categories=["z"])
    with pytest.raises(DataError, match="column 'x'"):
        build_profile({"x": ["a", "b"]}, categories=[])
    profile = build_profile({"x": NORMAL})
    with pytest.raises(DataError, match="column 'x'"):
        count(profile, {"x": pa.array(["a"])})
    with pytest.raises(DataError, match="3 counts for 11 cells"):
        psi_findings(profile, Counts({"x": np.ones(3, dtype=np.int64)}))
    with pytest.raises(DataError, match="bands"):
        psi_findings(profile, count(profile, {"x": NORMAL}), bands=(0.3, 0.2))
    with pytest.raises(DataError, match="format"):
        Profile.from_dict({"format": 9})
    with pytest.raises(DataError, match="'x'"):
        Profile.from_dict({"format": 1, "columns": [{"name": "x", "kind": "number"}]})
    with pytest.raises(DataError, match="cannot be added"):
        _ = Counts({"x": np.ones(3, dtype=np.int64)}) + Counts({"x": np.ones(4, dtype=np.int64)})
