"""``setpoint psi`` on files and on percentages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from setpoint.cli.comparison import compare
from setpoint.domain.drift import psi_findings
from setpoint.domain.profile import build_profile, count
from setpoint.errors import DataError

ROWS = 5_000


def frame(shift: float, seed: int, rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    amount = rng.normal(shift, 1, rows)
    return pd.DataFrame(
        {
            "amount": np.where(rng.random(rows) < 0.05, np.nan, amount),
            "visits": rng.integers(0, 4, rows),
            "country": rng.choice(["DE", "FR", "PT"], rows),
            "night": rng.random(rows) < 0.2,
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), "min"),
            "id": [f"e{i}" for i in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("psi")
    for name, data in (("trained", frame(0, 1)), ("same", frame(0, 2)), ("moved", frame(1, 3))):
        data.to_parquet(made / f"{name}.parquet")
        data.to_csv(made / f"{name}.csv", index=False)
    frame(0, 4, 60).to_parquet(made / "few.parquet")
    return made


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from setpoint.cli import main; main()", "psi", *words]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_the_figures_are_those_of_the_profile_of_the_first_file(folder: Path) -> None:
    found = compare(folder / "trained.parquet", folder / "moved.parquet", ["amount"])
    trained, moved = frame(0, 1)["amount"].to_numpy(), frame(1, 3)["amount"].to_numpy()
    profile = build_profile({"amount": trained}, float32=False)
    [same] = psi_findings(profile, count(profile, {"amount": moved}))
    assert found.findings == (same,)


def test_all_shared_columns_are_compared_but_for_times_and_identifiers(folder: Path) -> None:
    found = compare(folder / "trained.parquet", folder / "moved.parquet")
    assert {f.column: f.band for f in found.findings} == {
        "amount": "act", "visits": "safe", "country": "safe", "night": "safe",
    }  # fmt: skip
    assert set(found.left_out) == {"at", "id"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("trained.csv", "moved.csv"),
        ("trained.csv", "moved.parquet"),
        ("trained.parquet", "moved.csv"),
    ],
)
def test_a_csv_file_gives_the_figures_of_the_parquet_file(
    folder: Path, first: str, second: str
) -> None:
    parquet = compare(folder / "trained.parquet", folder / "moved.parquet")
    assert compare(folder / first, folder / second).findings == parquet.findings


def test_the_same_distribution_is_safe_and_a_few_rows_are_inconclusive(folder: Path) -> None:
    same = compare(folder / "trained.parquet", folder / "same.parquet")
    few = compare(folder / "trained.parquet", folder / "few.parquet", ["amount"])
    assert {f.band for f in same.findings} == {"safe"}
    assert [f.band for f in few.findings] == ["inconclusive"]


def test_a_column_that_was_empty_and_fills_up_has_moved(tmp_path: Path) -> None:
    pd.DataFrame({"x": [np.nan] * 900}).to_parquet(tmp_path / "empty.parquet")
    pd.DataFrame({"x": np.linspace(0, 1, 900)}).to_parquet(tmp_path / "full.parquet")
    [found] = compare(tmp_path / "empty.parquet", tmp_path / "full.parquet").findings
    assert found.band == "act"


def test_a_column_of_another_type_in_the_second_file_is_an_error(
    folder: Path, tmp_path: Path
) -> None:
    other = frame(0, 5).assign(amount="much")
    other.to_parquet(tmp_path / "text.parquet")
    other.to_csv(tmp_path / "text.csv", index=False)
    for name in ("text.parquet", "text.csv"):
        with pytest.raises(DataError, match="column amount"):
            compare(folder / "trained.parquet", tmp_path / name)


def test_the_table_has_the_interpretation_beside_each_column(folder: Path) -> None:
    done = run(folder, "trained.parquet", "moved.parquet")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("5,000 rows")
    head = next(i for i, line in enumerate(lines) if line.startswith("column"))
    assert all(
        word in lines[head]
        for word in ("PSI", "debiased", "interval", "band", "bins", "rows", "interpretation")
    )
    assert lines[head + 1].startswith("amount")
    assert " act " in lines[head + 1] and "above 0.25" in lines[head + 1]
    assert "below 0.1" in done.stdout
    assert "left out: at: times" in done.stdout


def test_percentages_are_shown_bin_by_bin_and_in_all(folder: Path) -> None:
    done = run(folder, "--expected", "20,30,50", "--actual", "25,30,45")
    assert done.returncode == 0, done.stderr
    cells = [line.split() for line in done.stdout.splitlines()]
    assert ["1", "20.00%", "25.00%", "0.0112"] in cells
    assert ["in", "all", "100.00%", "100.00%", "0.0164"] in cells
    assert "safe  PSI 0.0164 is below 0.1" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--expected", "20,30", "--actual", "50,50"), "expected: it adds up to 50"),
        (("--expected", "nan,50", "--actual", "50,50"), "bin 1 is nan"),
        (("--expected", "-50,150", "--actual", "50,50"), "bin 1 is -50"),
        (("--expected", "50,50", "--actual", "20,30,50"), "2 bins are expected and 3 are actual"),
        (("--expected", "50,50"), "--actual is missing"),
        ((), "nothing is given to compare"),
        (("trained.csv",), "nothing is given to compare trained.csv with"),
        (("trained.csv", "gone.csv"), "gone.csv: there is no such file"),
        (("trained.csv", "same.csv", "--column", "amuont"), "it has no column 'amuont'"),
        (("trained.csv", "same.csv", "--column", "at"), "column at: times only ever grow"),
        (("trained.csv", "same.csv", "--page", "p.html"), "percentages, not files"),
        (("--page", "nowhere/p.html"), "nothing can be written there"),
    ],
)
def test_what_cannot_be_compared_is_one_error_that_says_what_to_do(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    done = run(folder, *words)
    assert done.returncode == 1
    assert told in done.stderr and "Traceback" not in done.stderr
    assert "  do: " in done.stderr and not done.stdout
