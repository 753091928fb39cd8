"""``setpoint psi``: how far a distribution has moved, from two files or lists of percentages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from setpoint.cli.common import PlainTable, app, check_writable, console
from setpoint.errors import DataError

if TYPE_CHECKING:
    from setpoint.domain.drift import PsiFinding
    from setpoint.domain.shares import SharesPsi

STYLES = {"safe": "green", "watch": "yellow", "act": "red", "inconclusive": "yellow"}
WORST_FIRST = ("act", "watch", "inconclusive", "safe")


@app.command()
def psi(
    reference: Annotated[
        Path | None, typer.Argument(help="Parquet or CSV file that is expected: training data.")
    ] = None,
    window: Annotated[Path | None, typer.Argument(help="File that is compared with it.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Only this column; may be given again. Default: all that both have."),
    ] = None,
    expected: Annotated[
        str | None, typer.Option(help="Percentages instead of files, e.g. 20,30,50.")
    ] = None,
    actual: Annotated[str | None, typer.Option(help="Those of the window, bin by bin.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write an interactive page to type percentages into.")
    ] = None,
) -> None:
    """Population stability index of two files or two lists of percentages."""
    _check_choice(reference, window, column, expected, actual, page)
    check_writable(page)
    if reference is not None and window is not None:
        _show_files(reference, window, column or [])
        return
    lists = None
    if expected is not None and actual is not None:
        from setpoint.domain.shares import parse_percentages, shares_psi

        lists = parse_percentages(expected, "--expected"), parse_percentages(actual, "--actual")
        _show_lists(shares_psi(*lists))
    if page is not None:
        from setpoint.report import write_psi_page

        written = write_psi_page(page, *lists) if lists else write_psi_page(page)
        console.print(f"open {written} in a browser", markup=False, soft_wrap=True)


def _check_choice(
    reference: Path | None,
    window: Path | None,
    column: list[str] | None,
    expected: str | None,
    actual: str | None,
    page: Path | None,
) -> None:
    """Refuse what is half given or does not go together.

    Raises:
        DataError: It says so.
    """
    problem = ""
    if (expected is None) != (actual is None):
        problem = f"{'--actual' if actual is None else '--expected'} is missing"
    elif reference is not None and window is None:
        problem = f"nothing is given to compare {reference} with"
    elif reference is not None and expected is not None:
        problem = "two files and percentages are given"
    elif reference is not None and page is not None:
        problem = "the page takes percentages, not files"
    elif reference is None and column:
        problem = "--column is for two files, and none is given"
    elif reference is None and expected is None and page is None:
        problem = "nothing is given to compare"
    if problem:
        raise DataError(
            problem,
            where="setpoint psi",
            fix="give two files (setpoint psi TRAINING WINDOW), or --expected and --actual, or "
            "--page FILE.html",
        )


def _show_files(reference: Path, window: Path, columns: list[str]) -> None:
    from setpoint.cli.comparison import compare

    found = compare(reference, window, columns)
    rows = found.findings[0]
    console.print(
        f"expected: {reference}, {rows.reference:,} rows; actual: {window}, {rows.sample:,} rows",
        markup=False,
        soft_wrap=True,
    )
    ordered = sorted(found.findings, key=lambda f: (WORST_FIRST.index(f.band), -f.psi))
    console.print(_column_table(ordered))
    for name, why in found.left_out.items():
        console.print(f"left out: {name}: {why}", markup=False, soft_wrap=True)


def _column_table(findings: list[PsiFinding]) -> PlainTable:
    from setpoint.domain.shares import INTERPRETATION

    table = PlainTable()
    table.add_column("column", overflow="fold")
    for name in ("PSI", "debiased", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("band", no_wrap=True)
    for name in ("bins", "rows"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("interpretation")
    for f in findings:
        low, high = f.interval
        table.add_row(
            f.column, f"{f.psi:.4f}", f"{f.debiased:.4f}", f"{low:.3f} to {high:.3f}",
            f"[{STYLES[f.band]}]{f.band}[/]", str(f.bins), f"{f.sample:,}",
            INTERPRETATION[f.band],
        )  # fmt: skip
    return table


def _show_lists(found: SharesPsi) -> None:
    from setpoint.domain.shares import INTERPRETATION

    table = PlainTable()
    for name in ("bin", "expected", "actual", "adds to PSI"):
        table.add_column(name, justify="right")
    lines = zip(found.expected, found.actual, found.terms, strict=True)
    for i, (e, a, term) in enumerate(lines, 1):
        table.add_row(str(i), f"{e:.2%}", f"{a:.2%}", f"{term:.4f}")
    table.add_row("in all", "100.00%", "100.00%", f"{found.psi:.4f}", style="bold")
    console.print(table)
    console.print(
        f"[{STYLES[found.band]}]{found.band}[/]  PSI {found.psi:.4f} is "
        f"{INTERPRETATION[found.band]}",
        soft_wrap=True,
    )
    console.print(
        "Percentages do not say how many rows they rest on: without any change PSI is about "
        f"{len(found.terms) - 1} (1/n + 1/m) for n rows beside m.",
        soft_wrap=True,
    )
