"""The page on which PSI is computed while percentages are typed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from setpoint.domain.drift import BANDS, FLOOR
from setpoint.domain.shares import INTERPRETATION, MAX_BINS, MIN_BINS, TOLERANCE, shares_psi
from setpoint.report.page import script_value, write_page

DECILES = (10.0,) * 10
EXAMPLE = (7.0, 8.0, 8.0, 9.0, 10.0, 10.0, 11.0, 12.0, 12.0, 13.0)


def write_psi_page(
    path: Path, expected: Sequence[float] = DECILES, actual: Sequence[float] = EXAMPLE
) -> Path:
    """Write the page; floor, limits and words are those of the domain.

    Args:
        path: The HTML file.
        expected: Percentages that it opens with.
        actual: The same of the window.

    Raises:
        DataError: ``shares_psi`` refuses the percentages.
    """
    shares_psi(expected, actual)
    constants = {
        "floor": FLOOR,
        "bands": BANDS,
        "minBins": MIN_BINS,
        "maxBins": MAX_BINS,
        "tolerance": TOLERANCE,
        "interpretation": INTERPRETATION,
        "expected": list(expected),
        "actual": list(actual),
    }
    page = files("setpoint.report").joinpath("psi.html").read_text("utf-8")
    body = page.replace("/*constants*/", script_value(constants))
    return write_page(path, "PSI calculator", body)
