"""How long is a question about the past, and how much of it comes out the same?

``measure_questions`` asks each question as the command that a person types, over a log of a million
decisions. ``measure_replays`` computes decisions again, ``measure_rebuilds`` trains versions again,
each from the record alone. ``benchmarks.governance`` runs them.
"""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.decisions import NAMES, START, VERSION, fill
from benchmarks.long_ledger import lengthen
from setpoint.adapters.duckdb_features import compute
from setpoint.adapters.sqlite_decisions import COLUMNS
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.findings import Outcome, Verdict
from setpoint.ports import Decision
from setpoint.serving.scorer import Scorer
from setpoint.stages import release
from setpoint.stages.assemble import history
from setpoint.stages.gates.run import JUDGING, record_verdict, run_gates
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.rebuild import rebuild
from setpoint.stages.replay import replay
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.fakes import FakeRouter, FakeRuntime
from tests.stages.small import deliver, make_frame, make_workspace

ROWS, ENTRIES = 1_000_000, 1_000_000
SEED_ROWS = 20_000
"""Decisions that are written one by one; the rest are copies of them under other ids and times."""
VERSIONS = ("v1", "v2")


def measure_questions(rows: int = ROWS, entries: int = ENTRIES) -> dict[str, Any]:
    """Seconds for each question, as a process of its own, over ``rows`` decisions.

    Each is asked twice: beside the ledger that two releases leave, and beside a long one, all of
    which is audited before it is believed.

    Args:
        rows: Decisions in the log; a multiple of ``SEED_ROWS``.
        entries: Of the long ledger.
    """
    with TemporaryDirectory() as place:
        workspace = _place(Path(place))
        for number, version in enumerate(VERSIONS):
            deliver(workspace, f"{number}.parquet", make_frame(1200, number, start=number * 5000))
            _into_service(workspace, _train(workspace, "benchmark"), version)
        _fill(workspace.live_store, rows)
        asked = {
            "at": ["account", "at", START.isoformat(), "--json"],
            "at_now": ["account", "at", workspace.clock.now().isoformat(), "--json"],
            "version": ["account", "version", "v2", "--json"],
            "compare": ["account", "compare", *VERSIONS, "--json"],
        }
        seconds = {name: _ask(workspace, words) for name, words in asked.items()}
        lengthen(workspace.state, workspace.keys, entries)
        long = {name: _ask(workspace, words) for name, words in asked.items()}
        size = workspace.live_store.stat().st_size
    return {
        "decisions": rows,
        "log_bytes": size,
        "features": len(NAMES),
        "seconds": {name: round(took, 2) for name, took in seconds.items()},
        "slowest": round(max(seconds.values()), 2),
        "long_ledger_entries": entries,
        "long_ledger_seconds": {name: round(took, 2) for name, took in long.items()},
        "long_ledger_slowest": round(max(long.values()), 2),
    }


def measure_replays(n: int = 100) -> dict[str, Any]:
    """How many of ``n`` decisions come out bit for bit, features included."""
    with TemporaryDirectory() as place:
        workspace = _place(Path(place))
        deliver(workspace, "1.parquet", make_frame(1200))
        decided = _decisions(workspace, _train(workspace, "benchmark").version, n)
        workspace.decisions.append(decided)
        began = time.monotonic()
        found = [replay(workspace, one.id) for one in decided]
        took = time.monotonic() - began
    equal = sum(one.equal for one in found)
    return {"equal": equal, "total": len(found), "seconds_each": took / max(len(found), 1)}


def measure_rebuilds(n: int = 3) -> dict[str, Any]:
    """How many of ``n`` versions come out byte for byte, after data came that they had not seen."""
    with TemporaryDirectory() as place:
        workspace = _place(Path(place))
        versions = []
        for number in range(n):
            deliver(workspace, f"{number}.parquet", make_frame(900, number, start=number * 5000))
            versions.append(_train(workspace, "benchmark").version)
        deliver(workspace, f"{n}.parquet", make_frame(900, n, start=n * 5000))
        ingest(workspace)
        found = [rebuild(workspace, version) for version in versions]
    equal = sum(one.equal for one in found)
    each = sum(one.seconds for one in found) / max(len(found), 1)
    return {"equal": equal, "total": len(found), "seconds_each": each}


def _place(folder: Path) -> Workspace:
    workspace = make_workspace(folder)
    workspace.__dict__.update(router=FakeRouter(), runtime=FakeRuntime())
    return workspace


def _train(workspace: Workspace, cause: str) -> Candidate:
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None, snapshot))
    candidate = publish(workspace, training, snapshot, cause)
    verdict = run_gates(workspace, candidate, training, cause, JUDGING)
    record_verdict(workspace, candidate, verdict, cause)
    return candidate


def _into_service(workspace: Workspace, candidate: Candidate, version: str) -> None:
    """Promote a version as a release does, whatever its gates said: the account is measured."""
    rollout = release.begin(workspace, version, "benchmark", "benchmark")
    verdict = Verdict()
    while not rollout.ended:
        rollout = rollout.advance(Outcome.PASSED)
        workspace.state.save_release(rollout)
        release.record_step(workspace, rollout, verdict, {})
    release.settle(workspace, rollout, verdict)


def _fill(store: Path, rows: int) -> None:
    fill(store, SEED_ROWS)
    changed = {
        "id": "id || '-' || ?",
        "event_time": "event_time + ?",
        "version": f"CASE WHEN seq % 3 THEN '{VERSIONS[0]}' ELSE '{VERSIONS[1]}' END",
    }
    names = COLUMNS.split(", ")
    values = ", ".join(changed.get(name, name) for name in names)
    copy = f"INSERT INTO decisions ({COLUMNS}) SELECT {values} FROM decisions WHERE version = ?"
    step = timedelta(milliseconds=100 * SEED_ROWS) // timedelta(microseconds=1)
    with closing(sqlite3.connect(store)) as db:
        for number in range(rows // SEED_ROWS):
            # the order of the marks is that of the columns: id, (version), event time
            db.execute(copy, (number, number * step, VERSION))
        db.execute("DELETE FROM decisions WHERE version = ?", (VERSION,))
        db.commit()
        count = db.execute("SELECT count(*) FROM decisions").fetchone()[0]
    assert count == rows, f"{count} decisions in the log, {rows} wanted"


def _ask(workspace: Workspace, words: list[str]) -> float:
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    began = time.monotonic()
    command = [sys.executable, "-m", "setpoint.cli", *words, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    json.loads(done.stdout)
    return took


def _decisions(workspace: Workspace, version: str, n: int) -> list[Decision]:
    """The newest events as the version's service decides them."""
    bundle = read_bundle(workspace.bundle(version))
    known, scorer = history(workspace), Scorer(bundle)
    rows = compute(bundle.features, known.events, known.labels).to_pylist()[-n:]
    events = {one["id"]: one for one in known.events.to_pylist()}
    return [_decide(bundle, scorer, row, events[row["id"]]) for row in rows]


def _decide(bundle: Bundle, scorer: Scorer, row: dict[str, Any], event: dict[str, Any]) -> Decision:
    features = {name: _plain(row[name]) for name in bundle.features.names}
    inputs = [scorer.inputs(features)]
    scores, raw = scorer.score(inputs)
    reasons = scorer.adverse(inputs, scores, raw, [row["id"]])
    return Decision(
        id=row["id"],
        event_time=event["at"],
        request={name: value for name, value in event.items() if name != "at"},
        features=features,
        score=float(scores[0]),
        threshold=bundle.decision.threshold,
        action=bundle.decision.actions["positive" if reasons else "negative"],
        reasons=reasons.get(0, []),
        version=bundle.manifest.version,
        bundle_digest=bundle.digest,
    )


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "questions": measure_questions,
    "replays": measure_replays,
    "rebuilds": measure_rebuilds,
}
