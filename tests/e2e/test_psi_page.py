"""The PSI calculator, typed into in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from setpoint.domain.shares import INTERPRETATION, shares_psi
from setpoint.report import write_psi_page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; infra/ci/install-tools.sh has it"),
]
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
PASTE = """([selector, text]) => {
  const data = new DataTransfer();
  data.setData("text", text);
  const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true});
  document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page, opened; its errors and fetches fail the test."""
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.goto(write_psi_page(tmp_path / "psi.html").as_uri(), wait_until="load")
    yield opened
    opened.close()
    assert wrong == []


def type_in(page: Page, expected: Sequence[object], actual: Sequence[object]) -> None:
    """Make the page have as many bins and type each number into its cell."""
    while page.locator("#rows tr").count() > len(expected):
        page.get_by_role("button", name="remove bin 1", exact=True).click()
    while page.locator("#rows tr").count() < len(expected):
        page.click("#add")
    for side, values in (("expected", expected), ("actual", actual)):
        for i, value in enumerate(values, 1):
            page.get_by_label(f"{side} {i}", exact=True).fill(str(value))


def figure(page: Page) -> float:
    return float(page.locator("#psi").get_attribute("data-value") or "nan")


def terms(page: Page) -> list[float]:
    return [float(t) for t in page.locator("#rows tr td:nth-child(4)").all_inner_texts()]


LISTS = [
    ((20, 30, 50), (25, 30, 45)),
    ((10, 20, 30, 40), (25, 25, 25, 25)),
    ((50, 50), (95, 5)),
    ((0, 100), (2, 98)),
    ((0, 40, 60), (0, 45, 55)),
    ((33.3, 33.3, 33.3), (0.2, 0.3, 0.5)),
    ((5,) * 20, (0, 10, 0, 10, *(5,) * 16)),
]


@pytest.mark.parametrize(("expected", "actual"), LISTS, ids=[f"{len(e)} {a}" for e, a in LISTS])
def test_the_figure_of_the_page_is_the_figure_of_the_library(
    page: Page, expected: tuple[float, ...], actual: tuple[float, ...]
) -> None:
    type_in(page, expected, actual)
    found = shares_psi(expected, actual)
    assert figure(page) == pytest.approx(found.psi, rel=1e-12)
    assert terms(page) == [pytest.approx(t, abs=5.1e-5) for t in found.terms]
    assert page.inner_text("#psi") == f"{found.psi:.4f}"
    assert page.inner_text("#band") == found.band
    assert page.inner_text("#reading") == INTERPRETATION[found.band]
    assert page.inner_text("#meanings tr.now td") == found.band
    assert page.locator("#chart rect title").count() == 2 * len(expected)


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        ((50, 50), (50, 40), "actual adds up to 90, not to 100"),
        ((50, 50), (110, -10), "actual: bin 2 has no number from 0 on"),
        ((50, ""), (50, 50), "expected: bin 2 has no number from 0 on"),
    ],
)
def test_lists_that_are_no_distribution_have_no_figure(
    page: Page, expected: tuple[object, ...], actual: tuple[object, ...], told: str
) -> None:
    type_in(page, expected, actual)
    assert page.inner_text("#psi") == "–"
    assert page.inner_text("#reading") == told
    assert page.locator("#chart rect").count() == 0


def test_there_are_never_more_than_twenty_bins_nor_fewer_than_two(page: Page) -> None:
    type_in(page, (5,) * 20, (5,) * 20)
    assert page.locator("#add").is_disabled()
    type_in(page, (50, 50), (50, 50))
    assert page.get_by_role("button", name="remove bin 1", exact=True).is_disabled()


def test_counts_become_percentages_on_demand(page: Page) -> None:
    type_in(page, (20, 30, 50), (250, 300, 450))
    page.click("#actual-scale")
    assert figure(page) == pytest.approx(shares_psi((20, 30, 50), (25, 30, 45)).psi, rel=1e-9)


def test_two_columns_of_a_spreadsheet_are_pasted_over_the_cells(page: Page) -> None:
    type_in(page, (50, 50), (50, 50))
    page.evaluate(PASTE, ["[aria-label='expected 1']", "20\t25\n30\t30\n50 %\t45 %\n"])
    assert page.locator("#rows tr").count() == 3
    assert figure(page) == pytest.approx(shares_psi((20, 30, 50), (25, 30, 45)).psi, rel=1e-12)


def test_the_page_opens_with_the_percentages_it_was_written_for(
    browser: Browser, tmp_path: Path
) -> None:
    file = write_psi_page(tmp_path / "own.html", (0.2, 0.3, 0.5), (0.25, 0.3, 0.45))
    opened = browser.new_page()
    opened.goto(file.as_uri(), wait_until="load")
    assert figure(opened) == pytest.approx(shares_psi((20, 30, 50), (25, 30, 45)).psi, rel=1e-12)
    command = opened.inner_text("#command")
    assert command == "setpoint psi --expected 0.2,0.3,0.5 --actual 0.25,0.3,0.45"
    opened.close()
