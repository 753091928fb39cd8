"""Pictures of a verdict: kept with the run that they are about, and of no more than it names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from setpoint.domain.explanations import even_sample
from setpoint.domain.findings import Verdict
from setpoint.domain.gates.explainability import SHOWN
from setpoint.domain.training import Rows
from setpoint.stages.gates import pictures
from setpoint.stages.gates.pictures import PICTURES, keep_pictures
from setpoint.stages.gates.run import run_gates
from setpoint.stages.ingest import ingest
from setpoint.stages.publish import Candidate, publish
from setpoint.stages.train import Training, assemble, fit
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, deliver, make_frame, make_workspace

SLICED = PROJECT.replace(
    "min_group: 10}", "min_group: 10}, slices: {columns: [kind, sex], min_group: 20}"
)


@dataclass(frozen=True)
class Judged:
    """The small project with a judged candidate."""

    workspace: Workspace
    candidate: Candidate
    training: Training
    verdict: Verdict


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    workspace = make_workspace(tmp_path_factory.mktemp("pictured"), SLICED)
    deliver(workspace, "1.parquet", make_frame())
    snapshot = ingest(workspace)
    training = fit(workspace, *assemble(workspace, None))
    candidate = publish(workspace, training, snapshot, "first")
    verdict = run_gates(workspace, candidate, training, "first")
    return Judged(workspace, candidate, training, verdict)


def test_the_run_of_a_judged_version_has_both_pictures(judged: Judged, tmp_path: Path) -> None:
    made = keep_pictures(
        judged.workspace, judged.candidate, judged.training, judged.verdict, tmp_path
    )
    registry, version = judged.workspace.registry, judged.candidate.version
    assert set(PICTURES) | {"plots/judged.png"} == set(registry.attached(version, "plots"))
    for path, file in zip(PICTURES, made, strict=True):
        assert registry.read_attached(version, path) == file.read_bytes()
        assert file.read_bytes().startswith(b"\x89PNG")


def test_protected_columns_and_declared_slices_have_rows(judged: Judged) -> None:
    shown = pictures._drivers(judged.workspace.project, judged.training)
    assert {row.label for row in shown.rows} == {
        *("all rows", "sex = f", "sex = m", "kind = a", "kind = b")
    }
    assert set(shown.inputs) == set(judged.workspace.project.feature_spec().names)


def _with_sexes(training: Training, values: list[str]) -> Training:
    rows = training.split.judge
    sexes = np.array([values[i % len(values)] for i in range(len(rows))], dtype=object)
    changed = Rows(rows.ids, rows.time, rows.group, rows.numbers, rows.categories, rows.label,
                   {**rows.columns, "sex": sexes}, rows.weight)  # fmt: skip
    return replace(training, split=replace(training.split, judge=changed))


def test_of_a_personal_column_no_group_is_shown_that_no_finding_names(judged: Judged) -> None:
    many = _with_sexes(judged.training, [f"s{i}" for i in range(SHOWN + 3)])
    assert len(even_sample(many.split.judge, pictures.GROUPS * 50)) > 30 * (SHOWN + 3)
    shown = pictures._drivers(judged.workspace.project, many)
    assert shown.unshown == {"sex": 3}
    verdict = run_gates(judged.workspace, judged.candidate, many, "first")
    [told] = [f.reason for f in verdict if f.label == "largest_driver[sex]"]
    drawn = [r.label for r in shown.rows if r.label.startswith("sex")]
    assert len(drawn) == SHOWN
    assert all(f"{label.removeprefix('sex = ')}: " in told for label in drawn)


def test_a_personal_slice_that_is_not_protected_has_no_rows(judged: Judged) -> None:
    project = judged.workspace.project
    open_ = project.model_copy(update={"data": project.data.model_copy(update={"protected": ()})})
    shown = pictures._drivers(open_, judged.training)
    assert not any(row.label.startswith("sex") for row in shown.rows)
