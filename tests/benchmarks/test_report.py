"""The page of figures is what its files say."""

from __future__ import annotations

from pathlib import Path

from benchmarks import report

PAGE = Path(__file__).parents[2] / "benchmarks" / "results.md"


def test_the_page_is_made_of_the_figures_beside_it() -> None:
    assert PAGE.read_text("utf-8") == report.render(report.read())
