"""Scoring a table offline gives what the service would have answered."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.adapters.sqlite_online import SqliteOnlineStore
from setpoint.domain.bundle import read_bundle
from setpoint.errors import DataError, StateError
from setpoint.ports import DecisionQuery
from setpoint.serving.rows import RowReader
from setpoint.serving.scorer import Scorer
from setpoint.stages.assemble import history, training_rows
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.score import refused_beside, score
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

ENTITIES = "  protected: [sex]\n  entities: {who: who, shop: shop}\n"
COLUMNS = """\
    who: {type: id, personal: true, nullable: true}
    shop: {type: id}
    x: {type"""
FEATURES = """calendar: [hour],
  windows: [{entity: who, over: [1d, 7d], compute: [count, mean], column: x}],
  risks: [{entity: shop, over: [7d], delay: 1d}]}"""
LOOKING_BACK = (
    PROJECT.replace("  protected: [sex]\n", ENTITIES)
    .replace("    x: {type", COLUMNS)
    .replace("calendar: [hour]}", FEATURES)
)


def frame(rows: int, seed: int, start: int = 0, days: float = 0) -> pd.DataFrame:
    """Events with two entities; ``days`` later than those of ``make_frame``."""
    made = make_frame(rows, seed, start)
    rng = np.random.default_rng(seed + 100)
    made["who"] = np.where(rng.random(rows) < 0.05, None, rng.integers(0, 40, rows).astype(str))
    made["shop"] = rng.integers(0, 9, rows).astype(str)
    made["at"] += pd.Timedelta(days=days)
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A project whose features look back, and its first version."""
    workspace = make_workspace(tmp_path_factory.mktemp("looking-back"), LOOKING_BACK)
    deliver(workspace, "1.parquet", frame(1200, 0))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    return workspace, made.version


def online(workspace: Workspace, version: str, rows: list[dict[str, Any]], db: Path) -> list[Any]:
    """Scores and reasons of requests as the service gives them, one at a time, after history."""
    bundle = read_bundle(workspace.bundle(version))
    scorer, reader = Scorer(bundle), RowReader(bundle.table)
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        store = SqliteOnlineStore(connection, bundle.features)
        known = history(workspace)
        store.seed(known.events, known.labels)
        found = []
        for request in rows:
            inputs = store.serve([reader.check(request).event])
            scores, raw = scorer.score(inputs)
            found.append((float(scores[0]), scorer.reasons(inputs, raw)[0]))
    return found


def requests(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON requests."""
    plain = table.drop(columns="bad").astype(object)
    plain["at"] = [at.isoformat() for at in table["at"]]
    return plain.where(plain.notna(), None).to_dict("records")


def test_a_table_gets_the_scores_of_the_service(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    table = frame(400, 1, 5000, days=29.9)  # overlaps the last hours of the history
    table = table[table["at"] > pd.Timestamp("2026-01-31", tz="UTC")]
    table.sample(frac=1, random_state=1).to_parquet(tmp_path / "in.parquet")  # in any order
    done = score(workspace, str(tmp_path / "in.parquet"), tmp_path / "out.parquet", version)
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    by_id = {row["id"]: row for row in found}
    served = online(workspace, version, requests(table), tmp_path / "live.db")
    assert len(found) == len(table) == done.rows and done.refused == 0
    actions = read_bundle(workspace.bundle(version)).decision.actions
    for identity, (value, reasons) in zip(table["id"], served, strict=True):
        row = by_id[identity]
        assert row["score"] == pytest.approx(value, abs=1e-6)
        adverse = row["score"] >= row["threshold"]
        assert row["reasons"] == (reasons if adverse else [])
        assert row["action"] == actions["positive" if adverse else "negative"]
    assert 0 < done.adverse < done.rows


def as_csv(table: pd.DataFrame, path: Path) -> None:
    """Written as text, with numbers and times as people write them."""
    table.to_csv(path, index=False)


def as_csv_gz(table: pd.DataFrame, path: Path) -> None:
    """The same, compressed."""
    table.to_csv(path, index=False, compression="gzip")


def as_delta(table: pd.DataFrame, path: Path) -> None:
    """A Delta Lake table of two commits."""
    from deltalake import write_deltalake

    half = len(table) // 2
    for part in (table[:half], table[half:]):
        rows = pa.Table.from_pandas(part, preserve_index=False)
        rows = rows.set_column(1, "at", rows["at"].cast(pa.timestamp("us", "UTC")))
        write_deltalake(str(path), rows, mode="append")


def as_folder(table: pd.DataFrame, path: Path) -> None:
    """Two files."""
    path.mkdir()
    table[:100].to_parquet(path / "a.parquet")
    table[100:].to_parquet(path / "b.parquet")


@pytest.mark.parametrize(
    ("write", "name"),
    [(as_csv, "in.csv"), (as_csv_gz, "in.csv.gz"), (as_folder, "folder"), (as_delta, "delta")],
)
def test_the_form_of_a_table_changes_no_score(
    trained: tuple[Workspace, str], tmp_path: Path, write: Any, name: str
) -> None:
    workspace, version = trained
    table = frame(200, 2, 7000, days=40)
    table.to_parquet(tmp_path / "in.parquet")
    write(table, tmp_path / name)
    score(workspace, str(tmp_path / "in.parquet"), tmp_path / "a.parquet", version)
    score(workspace, str(tmp_path / name), tmp_path / "b.parquet", version)
    a, b = (pq.read_table(tmp_path / f"{n}.parquet").sort_by("id") for n in "ab")
    assert a.equals(b) and a.num_rows == 200


def test_bad_rows_get_a_reason_and_no_score(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, version = trained
    table = frame(60, 3, 8000, days=40).astype(object)
    table.loc[3, "x"] = 99.0  # out of range
    table.loc[5, "kind"] = "z"
    table.loc[7, "id"] = table.loc[6, "id"]
    table.loc[9, "sex"] = "unheard of"  # personal
    table.loc[11, "shop"] = None
    table.loc[13, "x"] = "many"
    as_csv(table, tmp_path / "in.csv")
    done = score(workspace, str(tmp_path / "in.csv"), tmp_path / "out.parquet", version)
    refused = pq.read_table(refused_beside(tmp_path / "out.parquet")).to_pylist()
    told = {row["row"]: (row["rule"], row["field"]) for row in refused}
    assert told == {
        3: ("range", "x"),
        5: ("category", "kind"),
        7: ("repeated", "id"),
        9: ("category", "sex"),
        11: ("null", "shop"),
        13: ("type", "x"),
    }
    assert all(row["fix"] and row["detail"] for row in refused)
    assert "unheard of" not in str(refused)
    scored = set(pq.read_table(tmp_path / "out.parquet")["id"].to_pylist())
    bad = [3, 5, 9, 11, 13]  # of a repeated id the first row is scored
    assert scored == set(table["id"]) - set(table.loc[bad, "id"])
    assert (done.rows, done.refused) == (60, 6)


def test_a_row_sees_those_before_it_and_none_after(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    table = frame(300, 4, 9000, days=40)
    table.to_parquet(tmp_path / "all.parquet")
    table[:150].to_parquet(tmp_path / "first.parquet")
    score(workspace, str(tmp_path / "all.parquet"), tmp_path / "a.parquet", version)
    score(workspace, str(tmp_path / "first.parquet"), tmp_path / "b.parquet", version)
    a, b = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    assert a.slice(0, 150).equals(b)


def test_an_event_of_the_history_counts_once(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    table = frame(1200, 0)  # the history itself
    table.to_parquet(tmp_path / "in.parquet")
    score(workspace, str(tmp_path / "in.parquet"), tmp_path / "out.parquet", version)
    bundle = read_bundle(workspace.bundle(version))
    rows = training_rows(workspace, history(workspace), bundle.features)
    inputs = list(zip(rows.numbers.tolist(), rows.categories.tolist(), strict=True))
    expected = dict(zip(rows.ids, Scorer(bundle).score(inputs)[0], strict=True))
    found = {r["id"]: r["score"] for r in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert {i: found[i] for i in expected} == pytest.approx(expected, abs=1e-6)


def test_the_same_table_again_gives_the_same_bytes_and_is_in_the_ledger(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    frame(100, 5, 10_000, days=40).to_parquet(tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    left = tmp_path / ".out.parquet.work"  # as a killed run leaves it
    left.mkdir()
    (left / "rows.duckdb").write_bytes(b"half written")
    first = score(workspace, str(tmp_path / "in.parquet"), out, version)
    again = score(workspace, str(tmp_path / "in.parquet"), out, version)
    assert first == again
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.parquet",
        "out.parquet",
        "out.refused.parquet",
    ]
    entry = workspace.state.ledger()[-1]
    assert (entry.kind, entry.subject) == ("scored", f"small/{version}")
    assert entry.evidence["source_digest"] == first.source_digest
    assert entry.evidence["output_digest"] == first.output_digest
    assert (entry.evidence["rows"], entry.evidence["refused"]) == (100, 0)


def test_nothing_goes_into_the_decision_log(trained: tuple[Workspace, str], tmp_path: Path) -> None:
    workspace, version = trained
    frame(20, 6, 11_000, days=40).to_parquet(tmp_path / "in.parquet")
    score(workspace, str(tmp_path / "in.parquet"), tmp_path / "out.parquet", version)
    log = SqliteDecisionLog(workspace.live_store)
    assert log.read(DecisionQuery()).num_rows == 0


def test_what_cannot_be_scored_leaves_the_old_file(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    frame(20, 7).drop(columns="x").to_parquet(tmp_path / "in.parquet")
    with pytest.raises(DataError, match="missing or double: x"):
        score(workspace, str(tmp_path / "in.parquet"), out, version)
    with pytest.raises(DataError, match="no such file"):
        score(workspace, str(tmp_path / "never.parquet"), out, version)
    with pytest.raises(StateError, match="no version is in service"):
        score(workspace, str(tmp_path / "in.parquet"), out)
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


PEAK = """
import sys
from pathlib import Path
from setpoint.stages.score import score
from setpoint.workspace import open_workspace
project, root, source, output, version = sys.argv[1:]
score(open_workspace(Path(project), Path(root)), source, Path(output), version)
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_table(
    trained: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, version = trained
    peaks = []
    for rows in (15_000, 150_000):
        table = frame(rows, 8, 20_000, days=40)
        table["x"] -= 2  # few adverse rows, which cost most
        table["who"] = (np.arange(rows) % (rows // 10)).astype(str)
        table["shop"] = (np.arange(rows) % (rows // 30)).astype(str)
        table.to_parquet(tmp_path / "in.parquet")
        line = [sys.executable, "-c", PEAK, str(workspace.project_file), str(workspace.root)]
        line += [str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), version]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.2 * peaks[0], peaks
