"""A page about an incident, for people: training rows beside the decisions of its window.

It decides nothing, so it is made when the incident has ended and nothing waits for it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from setpoint.adapters.evidently import drift_report
from setpoint.domain.bundle import read_bundle
from setpoint.domain.incidents import Incident
from setpoint.ports import DecisionQuery
from setpoint.stages.assemble import history, training_rows
from setpoint.workspace import Workspace


def drift_page(workspace: Workspace, incident: Incident) -> Path:
    """Write the page ``reports/INCIDENT.html`` of the state folder; personal columns left out.

    Raises:
        BundleError: The version of the incident has no bundle that can be read.
        DataError: There are no training rows, or no decisions in the window.
    """
    bundle = read_bundle(workspace.bundle(incident.version))
    spec = bundle.features
    columns = workspace.project.data.columns
    names = [n for n in spec.names if n not in columns or not columns[n].personal]
    rows = training_rows(workspace, history(workspace, bundle.manifest.created_at), spec)
    trained = pd.DataFrame(rows.numbers, columns=list(spec.number_names))
    for i, name in enumerate(spec.categories):
        trained[name] = rows.categories[:, i]
    window = workspace.decisions.read(
        DecisionQuery(
            start=incident.opened_at - workspace.project.watch.window,
            end=incident.opened_at,
            version=incident.version,
            features=names,
        )
    )
    served = window.select([f"f_{n}" for n in names]).rename_columns(names).to_pandas()
    page = workspace.root / "reports" / f"{incident.id}.html"
    return drift_report(trained[names], served, page, seed=workspace.project.train.seed)
