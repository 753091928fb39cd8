"""Pages that a person opens, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, sync_playwright

from setpoint.adapters.evidently import drift_report
from setpoint.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; infra/ci/install-tools.sh has it"),
]
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
FIGURES = {
    "healed": True, "retrainings": 1, "requests": 1200, "answered": 1200, "lost": 0,
    "wrong_version": 0, "detection_rate": {"before": 0.6, "during": 0.1, "after": 0.9},
    "cost": {"before": 100.0, "during": 900.0, "after": 80.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield opened
        opened.close()


def read(browser: Browser, file: Path) -> tuple[str, list[str], list[str]]:
    """Text of a page, what it fetched from outside, and its errors."""
    page = browser.new_page()
    fetched: list[str] = []
    errors: list[str] = []
    page.on("request", lambda r: fetched.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.goto(file.as_uri(), wait_until="load")
    page.wait_for_timeout(1500)
    text = page.inner_text("body")
    page.close()
    return text, fetched, errors


def test_the_report_of_a_run_shows_its_figures_and_fetches_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    series = (np.arange(60, 90), np.linspace(0.6, 0.9, 30))
    marks = {"drift": 65.0, "alarm": 80.0, "healed": 85.0}
    file = write_report(tmp_path / "report.html", FIGURES, series, marks, [])
    text, fetched, errors = read(browser, file)
    assert all(told in text for told in ("Healed", "1,200", "0 lost", "900.00", "1 retraining"))
    assert (fetched, errors) == ([], [])


def test_the_page_of_an_incident_names_its_columns_and_fetches_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    trained = pd.DataFrame({"amount": rng.normal(size=400), "night_share": rng.random(400)})
    file = drift_report(trained, trained.assign(amount=trained["amount"] + 3), tmp_path / "p.html")
    text, fetched, errors = read(browser, file)
    assert "amount" in text
    assert "night_share" in text
    assert (fetched, errors) == ([], [])
