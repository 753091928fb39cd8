"""Pictures of a verdict, read back from what matplotlib was told to draw."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from setpoint.adapters.verdict_plots import LOOKS, drivers_figure, save, verdict_figure
from setpoint.domain.outcome import NOT_DECLARED, Finding, Outcome, Verdict, not_measured
from setpoint.domain.pictures import ALL, MIDDLE, DriverRow, Drivers, finding_rows

FLOOR = Finding("recall", Outcome.PASSED, 0.6, 0.5, "floor", 1200, 0.05, "holds", (0.55, 0.7))
VERDICT = Verdict(
    (
        FLOOR,
        replace(FLOOR, name="precision", outcome=Outcome.FAILED, value=0.3, interval=(0.2, 0.4),
                reason="broken: bounds 0.2 to 0.4"),
        replace(FLOOR, name="size", interval=None, direction="ceiling", setpoint=0.9),
        not_measured("evasion", "the gate could not look"),
        not_measured("opinion", "12 rows, 30 needed", outcome=Outcome.INCONCLUSIVE),
    ),
    (("advisories", "no file is named"),),
)  # fmt: skip
HOSTILE = "$\\frac{$ \n" + "very long " * 30


def _drawn(verdict: Verdict) -> Axes:
    [axes] = verdict_figure(finding_rows(verdict), "Verdict").axes
    return axes


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_each_finding_with_numbers_is_a_bar_a_dot_and_a_tick_of_its_own() -> None:
    axes = _drawn(VERDICT)
    rows = {row.label: row for row in finding_rows(VERDICT)}
    bars = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() == 5]
    assert bars == [rows[name].interval for name in ("precision", "recall")]
    ticks = [line for line in axes.lines if tuple(line.get_xdata()) == (MIDDLE, MIDDLE)]
    assert len(ticks) == 3
    dots = [(line.get_xdata()[0], line.get_marker()) for line in axes.lines
            if line.get_marker() not in ("None", "", "_")]  # fmt: skip
    assert [dot for dot in dots if dot[0] != 0.0] == [
        (rows["precision"].value, "X"), (rows["recall"].value, "o"), (rows["size"].value, "o"),
    ]  # fmt: skip


def test_numbers_stand_beside_the_axis_and_reasons_where_something_did_not_pass() -> None:
    told = _texts(_drawn(VERDICT))
    assert {"0.6", "0.55 to 0.7", "≥ 0.5", "≤ 0.9", "1,200", "0.05"} <= set(told)
    assert "failed: broken: bounds 0.2 to 0.4" in told
    assert "error: the gate could not look" in told
    assert "inconclusive: 12 rows, 30 needed" in told
    assert "not declared: no file is named" in told
    assert "holds" not in told  # what passed has its numbers


def test_no_two_rows_share_a_line() -> None:
    axes = _drawn(VERDICT)
    names = [t.get_position()[1] for t in axes.texts if t.get_text() in
             {"recall", "precision", "size", "evasion", "opinion", "advisories"}]  # fmt: skip
    reasons = [t.get_position()[1] for t in axes.texts if t.get_text().startswith("failed: ")]
    assert len({round(y) for y in (*names, *reasons)}) == 7


def test_outcomes_differ_by_form_and_by_lightness_or_hue() -> None:
    assert set(LOOKS) == {*Outcome, NOT_DECLARED}
    assert len({form for _, form in LOOKS.values()}) == len(LOOKS)
    colors = np.array([to_rgb(color) for color, _ in LOOKS.values()])
    # Blue against yellow is what every common kind of colour blindness leaves.
    passed, failed = colors[0], colors[list(LOOKS).index(Outcome.FAILED)]
    assert passed[2] > passed[0] and failed[0] > failed[2]


def test_names_that_are_no_formula_are_drawn_as_they_are(tmp_path: Path) -> None:
    finding = replace(FLOOR, name="share", slice=HOSTILE, outcome=Outcome.FAILED, reason=HOSTILE)
    path = save(verdict_figure(finding_rows(Verdict((finding,))), HOSTILE), tmp_path / "v.png")
    rows = (DriverRow(ALL, 50, (0.7, 0.3), True), DriverRow(f"kind = {HOSTILE}", 3, None, True))
    shown = Drivers((HOSTILE, "$_$x$"), rows, {"$\\x$": 4})
    other = save(drivers_figure(shown, HOSTILE), tmp_path / "d.png")
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (path, other))


@pytest.mark.parametrize("verdict", [Verdict(), Verdict((not_measured("scores", "none"),))])
def test_a_verdict_without_numbers_is_drawn_too(verdict: Verdict, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(verdict_figure(finding_rows(verdict), "Verdict"), tmp_path / "v.png")


def test_cells_hold_the_shares_and_a_small_group_is_marked() -> None:
    rows = (
        DriverRow(ALL, 90, (0.751, 0.247, 0.002), True),
        DriverRow("sex = f", 80, (0.5, 0.5, 0.0), True),
        DriverRow("sex = m", 10, None),
    )
    [axes] = drivers_figure(Drivers(("x", "y", "z"), rows, {"sex": 2}), "Drivers").axes
    assert [t.get_text() for t in axes.get_yticklabels()] == [
        *("all rows (90)", "sex = f (80)", "sex = m (10)")
    ]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["x", "y", "z"]
    cells = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert cells[0].tolist() == [0.751, 0.247, 0.002] and np.isnan(cells[2]).all()
    assert _texts(axes) == ["75", "25", "50", "50", "too few rows, not judged"]
    assert "not shown: 2 more of sex" in axes.get_xlabel()


def test_what_could_not_be_explained_is_drawn_as_such(tmp_path: Path) -> None:
    rows = (DriverRow(ALL, 0, None, True),)
    save(drivers_figure(Drivers(("x",), rows, {}), "Drivers"), tmp_path / "d.png")
