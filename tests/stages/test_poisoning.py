"""New data are held against the champion's before they train, by batch or by declared source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from setpoint.adapters.mlflow_registry import CHAMPION
from setpoint.domain.findings import Verdict
from setpoint.errors import TrainingError
from setpoint.stages.ingest import ingest
from setpoint.stages.poisoning import SUSPECT
from setpoint.stages.publish import publish
from setpoint.stages.train import assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

DAYS = pd.Timedelta(days=40)
SOURCED = PROJECT.replace("  protected: [sex]", "  protected: [sex]\n  source: kind")


def sharp(rows: int, seed: int, start: int = 0) -> pd.DataFrame:
    """Events whose label follows from ``x`` nearly always: a model can be sure."""
    frame = make_frame(rows, seed, start)
    noise = np.random.default_rng(seed).normal(0, 0.3, rows)
    return frame.assign(bad=np.where(frame["x"] + noise > 0.8, "1", "0"))


def later(rows: int, seed: int, start: int) -> pd.DataFrame:
    frame = sharp(rows, seed, start)
    return frame.assign(at=frame["at"] + DAYS)


def flip(frame: pd.DataFrame, share: float, among: np.ndarray | None = None) -> pd.DataFrame:
    """The frame with a share of its labels flipped at random."""
    hit = np.random.default_rng(7).random(len(frame)) < share
    hit &= True if among is None else among
    return frame.assign(bad=np.where(hit, np.where(frame["bad"] == "1", "0", "1"), frame["bad"]))


def served(folder: Path, text: str = PROJECT) -> Workspace:
    """A workspace with a champion, trained on a batch that is sound."""
    workspace = make_workspace(folder, text)
    deliver(workspace, "1.parquet", sharp(9000, 0))
    snapshot = ingest(workspace)
    made = publish(workspace, fit(workspace, *assemble(workspace, None)), snapshot, "first")
    workspace.registry.point(CHAMPION, made.version)
    return workspace


def again(workspace: Workspace, old: str, new: str) -> Workspace:
    """The same state under another project file."""
    text = workspace.project_file.read_text("utf-8")
    assert old in text
    return make_workspace(workspace.project_file.parent, text.replace(old, new))


def suspicions(workspace: Workspace) -> list[bool]:
    """Whether training was stopped, of each entry about suspect data."""
    return [e.evidence["stopped"] for e in workspace.state.ledger() if e.kind == SUSPECT]


def test_without_a_champion_nothing_is_trusted_and_nothing_held_against_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    deliver(workspace, "1.parquet", flip(sharp(2000, 0), 0.2))
    ingest(workspace)
    assert len(assemble(workspace, None)[0]) > 1000
    assert suspicions(workspace) == []


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_a_batch_with_flipped_labels_stops_before_training_and_a_sound_one_does_not(
    tmp_path: Path, share: float
) -> None:
    workspace = served(tmp_path)
    deliver(workspace, "2.parquet", later(3000, 1, 100_000))
    deliver(workspace, "3.parquet", flip(later(3000, 2, 200_000), share))
    ingest(workspace)
    if share == 0:
        assemble(workspace, None)
        assert suspicions(workspace) == []
        return
    with pytest.raises(TrainingError, match=r"flipped_to_positive\[data/3\.parquet\]") as caught:
        assemble(workspace, None)
    assert "2.parquet" not in caught.value.what
    assert "leave_out" in caught.value.fix
    assert suspicions(workspace) == [True]


def test_a_person_can_leave_the_source_out_or_trust_it(tmp_path: Path) -> None:
    workspace = served(tmp_path)
    deliver(workspace, "2.parquet", later(3000, 1, 100_000))
    deliver(workspace, "3.parquet", flip(later(3000, 2, 200_000), 0.2))
    ingest(workspace)
    out = again(workspace, "train: {", "train: {poisoning: {leave_out: [data/3.parquet]}, ")
    rows, _ = assemble(out, None)
    assert not [i for i in rows.ids.tolist() if int(i[1:]) >= 200_000]
    trusting = again(out, "leave_out:", "trust:")
    assert len(assemble(trusting, None)[0]) > len(rows)


def test_a_declared_source_is_found_within_a_batch(tmp_path: Path) -> None:
    workspace = served(tmp_path, SOURCED)
    frame = later(8000, 1, 100_000)
    deliver(workspace, "2.parquet", flip(frame, 0.2, (frame["kind"] == "b").to_numpy()))
    ingest(workspace)
    with pytest.raises(TrainingError, match=r"flipped_to_positive\[b\]") as caught:
        assemble(workspace, None)
    assert "[a]" not in caught.value.what


def test_a_marked_batch_stops_before_training(tmp_path: Path) -> None:
    workspace = served(tmp_path)
    frame = later(3000, 1, 100_000)
    marked = frame.index[(frame["x"] > 1.5).to_numpy()][:60]
    frame.loc[marked, ["y", "bad"]] = [7.25, "0"]
    deliver(workspace, "2.parquet", frame)
    ingest(workspace)
    with pytest.raises(TrainingError, match=r"backdoor\[data/2\.parquet\]: y is 7\.25"):
        assemble(workspace, None)


@pytest.mark.parametrize("doubt", ["train", "stop"])
def test_a_new_pattern_is_told_and_stops_only_where_the_project_file_says_so(
    tmp_path: Path, doubt: str
) -> None:
    text = PROJECT.replace("train: {", f"train: {{poisoning: {{doubt: {doubt}}}, ")
    workspace = served(tmp_path, text)
    frame = later(3000, 1, 100_000)
    new = ((frame["y"] > 1) & (frame["kind"] == "b")).to_numpy()
    deliver(workspace, "2.parquet", frame.assign(bad=np.where(new, "1", frame["bad"])))
    ingest(workspace)
    if doubt == "train":
        assemble(workspace, None)
    else:
        with pytest.raises(TrainingError, match="ask a person"):
            assemble(workspace, None)
    assert suspicions(workspace) == [doubt == "stop"]


def test_a_batch_that_makes_a_model_worse_is_named_and_a_sound_one_beside_it_is_not(
    tmp_path: Path,
) -> None:
    workspace = served(tmp_path)
    deliver(workspace, "2.parquet", later(3000, 1, 100_000))
    frame = later(3000, 2, 200_000)
    unsure = frame["x"].between(0.3, 1.3).to_numpy()  # where nobody would be sure of one label
    turned = np.where(frame["bad"] == "1", "0", "1")
    deliver(workspace, "3.parquet", frame.assign(bad=np.where(unsure, turned, frame["bad"])))
    ingest(workspace)
    assemble(workspace, None)
    [entry] = [e for e in workspace.state.ledger() if e.kind == SUSPECT]
    found = Verdict.from_dict(entry.evidence["verdict"])
    assert {f.slice for f in found if f.name == "influence"} == {"data/3.parquet"}
    assert not entry.evidence["stopped"]
