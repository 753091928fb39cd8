"""A past decision is computed again from the record, and what was altered is named."""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from setpoint.adapters.duckdb_features import compute
from setpoint.cli import app
from setpoint.domain.bundle import read_bundle
from setpoint.errors import StateError
from setpoint.ports import Decision
from setpoint.serving.scorer import Scorer
from setpoint.stages.assemble import history
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import publish
from setpoint.stages.replay import Replayed, replay
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import deliver, make_frame, make_workspace
from tests.tampering import copied


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Decision]]:
    """A version, and decisions as its service makes them."""
    workspace = make_workspace(tmp_path_factory.mktemp("replay"))
    deliver(workspace, "1.parquet", make_frame(600))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    bundle = read_bundle(workspace.bundle(made.version))
    known = history(workspace)
    rows = compute(bundle.features, known.events, known.labels).to_pylist()[:40]
    events = {one["id"]: one for one in known.events.to_pylist()}
    scorer = Scorer(bundle)
    decided = []
    for row in rows:
        features = {
            name: None if isinstance(row[name], float) and math.isnan(row[name]) else row[name]
            for name in bundle.features.names
        }
        inputs = [scorer.inputs(features)]
        scores, raw = scorer.score(inputs)
        reasons = scorer.adverse(inputs, scores, raw, [row["id"]])
        one = Decision(
            id=row["id"],
            event_time=events[row["id"]]["at"],
            request={k: v for k, v in events[row["id"]].items() if k != "at"},
            features=features,
            score=float(scores[0]),
            threshold=bundle.decision.threshold,
            action=bundle.decision.actions["positive" if reasons else "negative"],
            reasons=reasons.get(0, []),
            version=made.version,
            bundle_digest=bundle.digest,
        )
        decided.append(one)
    return workspace, decided


def _again(trained: tuple[Workspace, list[Decision]], **changes: object) -> Replayed:
    workspace, decided = trained
    first = max(decided, key=lambda one: one.score)
    workspace.decisions.forget(first.event_time.replace(year=2100))
    workspace.decisions.append([replace(first, **changes)])  # type: ignore[arg-type]
    return replay(workspace, str(changes.get("id", first.id)))


def _wrong(found: Replayed) -> list[str]:
    return [part.name for part in found.parts if part.equal is False]


def test_every_decision_comes_out_bit_for_bit(trained: tuple[Workspace, list[Decision]]) -> None:
    workspace, decided = trained
    workspace.decisions.append(decided)
    found = [replay(workspace, one.id) for one in decided]
    assert all(one.equal for one in found)
    assert {len(one.decision.reasons) > 0 for one in found} == {True, False}
    assert [part.equal for part in found[0].parts] == [True] * 7


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"score": 0.123}, ["score"]),
        ({"action": "approve"}, ["action"]),
        ({"reasons": ["y"]}, ["reasons"]),
        ({"threshold": 0.5}, ["threshold"]),
        ({"score": "high"}, ["score"]),
    ],
)
def test_what_was_altered_is_named(
    trained: tuple[Workspace, list[Decision]], changes: dict[str, object], wrong: list[str]
) -> None:
    found = _again(trained, **changes)
    assert not found.equal and _wrong(found) == wrong


def test_the_last_bit_of_a_score_counts(trained: tuple[Workspace, list[Decision]]) -> None:
    score = max(one.score for one in trained[1])
    assert _wrong(_again(trained, score=math.nextafter(score, 0))) == ["score"]


def test_a_feature_that_its_event_has_not_is_named(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    features = dict(max(trained[1], key=lambda one: one.score).features)
    found = _again(trained, features=features | {"x": -3.5})
    assert "features" in _wrong(found)
    [note] = [part.note for part in found.parts if part.name == "features"]
    assert note.startswith("x ") and "logged -3.5" in note


@pytest.mark.parametrize("value", [None, "much"])
def test_features_that_are_none_are_named_and_no_traceback(
    trained: tuple[Workspace, list[Decision]], value: str | None
) -> None:
    features = dict(max(trained[1], key=lambda one: one.score).features)
    del features["x"]
    found = _again(trained, features=features if value is None else features | {"x": value})
    assert found.differs and _wrong(found) == ["features", "score"]


def test_a_request_that_its_event_was_not_is_named(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    request = dict(max(trained[1], key=lambda one: one.score).request)
    found = _again(trained, request=request | {"x": -3.5})
    assert _wrong(found) == ["request"]
    [note] = [part.note for part in found.parts if part.name == "request"]
    assert note.startswith("x ") and "logged -3.5" in note


def test_a_snapshot_that_was_altered_with_the_log_shows_nothing_of_a_decision(
    trained: tuple[Workspace, list[Decision]], tmp_path: Path
) -> None:
    workspace, decided = trained
    place = copied(workspace, tmp_path)
    first = max(decided, key=lambda one: one.score)
    place.decisions.forget(first.event_time.replace(year=2100))
    place.decisions.append([replace(first, request=first.request | {"kind": "b"})])
    store = place.snapshots("events")
    table = store.read(store.latest().version)  # type: ignore[union-attr]
    kind = ["b" if i == first.id else k for i, k in zip(table["id"].to_pylist(),
            table["kind"].to_pylist(), strict=True)]  # fmt: skip
    forged = table.set_column(table.schema.get_field_index("kind"), "kind", [kind])
    [file] = [f for f in place.root.rglob("*.parquet") if "events" in f.parts]
    pq.write_table(forged.cast(pq.read_schema(file)), file)
    size = file.stat().st_size
    [commit] = [f for f in file.parent.rglob("*.json") if file.name in f.read_text("utf-8")]
    commit.write_text(re.sub(r'"size":\d+', f'"size":{size}', commit.read_text("utf-8")), "utf-8")
    found = replay(place, first.id)
    assert set(_wrong(found)) >= {"request", "features"}
    assert "altered" in " ".join(part.note for part in found.parts)


def test_a_word_of_a_person_that_is_not_in_the_ledger_is_none(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    workspace, decided = trained
    workspace.state.remember(f"overridden:{decided[0].id}", "review")
    assert _again(trained, id=decided[0].id).override is None


def test_an_event_that_no_snapshot_has_is_not_shown_and_is_not_called_equal(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    found = _again(trained, id="elsewhere")
    assert not found.equal and not found.differs
    assert [part.name for part in found.parts if part.equal is None] == ["request", "features"]


def test_a_row_of_the_log_that_is_damaged_is_one_clear_error(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    workspace = trained[0]
    first = _again(trained).decision
    with sqlite3.connect(workspace.live_store) as store:
        store.execute("UPDATE decisions SET features = '{'")
    with pytest.raises(StateError, match=f"the row of decision {first.id} is damaged"):
        replay(workspace, first.id)


def test_a_decision_of_another_bundle_proves_nothing(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    found = _again(trained, bundle_digest="0" * 64)
    assert not found.equal and _wrong(found) == ["model"] and len(found.parts) == 1


def test_an_unknown_decision_is_one_clear_error(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    with pytest.raises(StateError, match="there is no served decision nobody"):
        replay(trained[0], "nobody")


def test_the_command_ends_non_zero_where_it_comes_out_otherwise(
    trained: tuple[Workspace, list[Decision]],
) -> None:
    workspace, decided = trained
    where = ["--project", str(workspace.project_file), "--root", str(workspace.root)]
    best = max(decided, key=lambda one: one.score).id
    cases: list[tuple[dict[str, object], int, str]] = [
        ({}, 0, "bit for bit"),
        ({"score": 0.5}, 1, "differs"),
        ({"id": "elsewhere"}, 3, "as far as the record reaches"),
    ]
    for changes, code, word in cases:
        _again(trained, **changes)
        result = CliRunner().invoke(app, ["replay", str(changes.get("id", best)), *where])
        assert (result.exit_code, word in result.output) == (code, True), result.output
