"""Pictures of a verdict, kept with the run of the version that was judged."""

from __future__ import annotations

from pathlib import Path

from setpoint.adapters.verdict_plots import drivers_figure, save, verdict_figure
from setpoint.config import Project
from setpoint.domain.findings import Verdict
from setpoint.domain.gates.explainability import SHOWN
from setpoint.domain.groups import crossed
from setpoint.domain.pictures import Drivers, drivers, finding_rows
from setpoint.stages.gates.explainability import explained
from setpoint.stages.publish import PLOTS, Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

VERDICT, DRIVERS = "verdict.png", "drivers.png"
"""Their files, in the folder ``PLOTS`` of the artifacts."""
PICTURES = (f"{PLOTS}/{VERDICT}", f"{PLOTS}/{DRIVERS}")
"""Their paths among the artifacts."""
GROUPS = 12
"""Groups of a column that are shown, and as many small ones."""


def keep_pictures(
    workspace: Workspace, candidate: Candidate, training: Training, verdict: Verdict, folder: Path
) -> list[Path]:
    """Draw a verdict, and what drives the decisions by group; keep both with the version's run.

    A verdict stands without them: they are made when it is recorded.

    Args:
        workspace: The project.
        candidate: What was judged.
        training: How it was trained, with the rows that judged it.
        verdict: What the gates said.
        folder: Where the files are written.

    Returns:
        The files: the verdict, and the drivers.
    """
    who = f"{workspace.project.name}/{candidate.version}"
    title = f"Verdict on {who}: {verdict.outcome}"
    drives = f"What drives the decisions of {who}"
    kept = [
        save(verdict_figure(finding_rows(verdict), title), folder / VERDICT),
        save(drivers_figure(_drivers(workspace.project, training), drives), folder / DRIVERS),
    ]
    workspace.registry.attach(candidate.version, PLOTS, kept)
    return kept


def _drivers(project: Project, training: Training) -> Drivers:
    rows, values, _ = explained(training)
    told = (*project.data.protected, *project.release.segments)
    slices = [name for name in project.gates.slices.columns if not _personal(project, name)]
    columns = {name: crossed(rows.columns, (name,)) for name in dict.fromkeys((*told, *slices))}
    # Of a personal column no group that the findings do not name.
    most = {name: SHOWN if _personal(project, name) else GROUPS for name in columns}
    return drivers(values, project.feature_spec().names, columns, most)


def _personal(project: Project, name: str) -> bool:
    return project.data.columns[name].personal
