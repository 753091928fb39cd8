"""The page about what the loop did, in a real browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from setpoint.report.loop import write_loop_report
from tests.report.story import tell
from tests.stages.small import make_workspace

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; infra/ci/install-tools.sh has it"),
]
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
OUTSIDE = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("rect, circle, text, polyline")].filter(part => {
    const box = part.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 ||
      box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(part => svg.getAttribute("aria-label") + ": " + part.outerHTML);
})"""


def test_the_page_is_whole_without_a_network_and_no_chart_leaves_its_frame(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    tell(workspace)
    file = write_loop_report(workspace, tmp_path / "report.html", incident="small-1")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        page = browser.new_page()
        wrong: list[str] = []
        page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.goto(file.as_uri(), wait_until="load")
        heads = page.locator("h1, h2").all_inner_texts()
        charts = page.locator("svg").count()
        outside = page.evaluate(OUTSIDE)
        browser.close()
    assert heads == [
        "small-1: performance, resolved", "The loop", "Performance", "Drift", "Money a day",
        "Traffic by version", "Findings that did not pass", "Ledger",
    ]  # fmt: skip
    assert charts == 6
    assert outside == []
    assert wrong == []
