"""A version trained again from its record alone, in a clean process: the same bytes, or why not.

``rebuild`` gathers the record, has it trained again by this module run as a program, and compares
the files of the bundle. The program gets snapshot versions, project file, parameters and times from
the record; nothing of today's data reaches it, for what came after ``data_until`` is left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setpoint.adapters.clean_process import run_module
from setpoint.adapters.onnx_export import to_onnx
from setpoint.config import clean_variables, parse_project, read_environment
from setpoint.domain.bundle import MODEL, Knots, Manifest, read_bundle, request_table
from setpoint.domain.plain import canonical_json, from_plain, parse_json, to_plain
from setpoint.domain.record import (
    RECORD,
    UNCOVERED,
    Conditions,
    RowsDigest,
    TrainingRecord,
    conditions_differ,
    exploration_digest,
    project_differs,
    rows_differ,
    split_digests,
)
from setpoint.domain.table_digest import table_digest
from setpoint.domain.training import Parameters
from setpoint.errors import SetpointError, StateError
from setpoint.stages.assemble import as_known, snapshot, training_rows
from setpoint.stages.identity import conditions
from setpoint.stages.ingest import data_digest
from setpoint.stages.poisoning import without
from setpoint.stages.publish import decision_spec
from setpoint.stages.train import fit_again
from setpoint.workspace import Workspace

SECONDS = 3600.0
"""How long a rebuild may take."""
COMPARED = (MODEL, "decision.json", "features.json", "schema.json")
"""Files of a bundle that decide; the reference profile decides nothing."""


@dataclass(frozen=True)
class Recorded:
    """All that a version's record says of its training.

    Attributes:
        manifest: Of its bundle.
        record: What the manifest does not say.
        project: Text of its project file.
        altered: How that is not the project file of the training; empty where nothing shows it.
    """

    manifest: Manifest
    record: TrainingRecord
    project: str
    altered: str = ""


@dataclass(frozen=True)
class Remade:
    """What the clean process made.

    Attributes:
        files: SHA-256 of each of ``COMPARED``, hex.
        snapshot: Digest of the training data as they are stored.
        exploration: Digest of the weights of rows that stand for others.
        rows: Of each part of the split.
        conditions: What it ran on.
    """

    files: dict[str, str]
    snapshot: str
    exploration: str
    rows: dict[str, RowsDigest]
    conditions: Conditions


@dataclass(frozen=True)
class Rebuilt:
    """A rebuild beside the version.

    Attributes:
        version: Which.
        expected: SHA-256 by file, as the bundle has it.
        found: The same of the rebuild; empty where nothing was trained from an altered record.
        causes: What makes training differ that did: project file, data, rows, code, packages,
            machine.
        rows: Rows that train and tune.
        seconds: Wall time of the clean process.
        sound: Whether project file and data are those that the record names.
    """

    version: str
    expected: dict[str, str]
    found: dict[str, str]
    causes: tuple[str, ...]
    rows: int
    seconds: float
    sound: bool = True

    @property
    def differing(self) -> list[str]:
        """Files that are not the same."""
        return [name for name, digest in self.expected.items() if self.found.get(name) != digest]

    @property
    def equal(self) -> bool:
        """Whether every file is the same, from the data that the record names."""
        return self.sound and not self.differing

    @property
    def reason(self) -> str:
        """One sentence."""
        why = "; ".join(self.causes)
        if self.equal:
            also = f" (and yet: {why})" if why else ""
            return f"{MODEL} has the same digest {self.expected[MODEL][:16]}{also}"
        if not self.found:
            return f"not trained again: {why}"
        what = f"differs in {', '.join(self.differing)}" if self.differing else "from other data"
        return f"{what}: {why or 'nothing that is recorded tells why'}"


def read_record(workspace: Workspace, version: str) -> Recorded:
    """The record of a version, verified as far as it is digested.

    Raises:
        BundleError: Its bundle is gone or altered.
        StateError: There is no such version; its record is gone, altered, or contradicts itself.
    """
    known = workspace.registry.versions()
    if version not in known:
        raise StateError(
            f"there is no version {version}",
            where=f"model {workspace.registry.name} in MLflow",
            fix=f"versions are {', '.join(known) or 'none yet'}",
        )
    tags = workspace.registry.tags(version)
    bundle = read_bundle(workspace.bundle(version), workspace.registry.digest(version))
    _, content = workspace.registry.artifact(version, "record")
    _, project = workspace.registry.artifact(version, "project")
    manifest = bundle.manifest
    told = {
        "record": (tags.get("record"), hashlib.sha256(content).hexdigest()),
        "snapshot": (tags.get("snapshot"), manifest.snapshot.digest),
        "commit": (tags.get("commit"), manifest.commit),
        "environment": (tags.get("environment"), manifest.environment_digest),
        "seed": (tags.get("seed"), str(manifest.seeds.get("model"))),
        "seed of the parameters": (tags.get("seed"), str(manifest.parameters.get("seed"))),
    }
    wrong = [
        f"{name} {one}, elsewhere {other}" for name, (one, other) in told.items() if one != other
    ]
    if wrong:
        raise StateError(
            f"the record of {version} contradicts itself: {'; '.join(wrong)}",
            where=f"model {workspace.registry.name} in MLflow, and bundle {version}",
            fix="it was altered after training: restore both from a backup, or train again",
        )
    record = from_plain(TrainingRecord, parse_json(content, RECORD), RECORD)
    altered = project_differs(record, project)
    return Recorded(manifest, record, project.decode(errors="replace"), altered)


def rebuild(workspace: Workspace, version: str, seconds: float = SECONDS) -> Rebuilt:
    """Train a version again from its record in a clean process, and compare.

    From a project file that was altered nothing is trained: the answer is that it is not equal.

    Args:
        workspace: The project.
        version: Which.
        seconds: How long it may take.

    Raises:
        BundleError: Its bundle is gone or altered.
        StateError: Its record is gone, altered, or contradicts itself.
        PlatformError: It could not be trained again; says why.
    """
    recorded = read_record(workspace, version)
    expected = {name: recorded.manifest.files[name] for name in COMPARED}
    if recorded.altered:
        rows = sum(part.rows for part in recorded.record.rows.values())
        return Rebuilt(version, expected, {}, (recorded.altered,), rows, 0.0, sound=False)
    task = {
        "project_file": str(workspace.project_file),
        "snapshots": workspace.project.data.snapshots,
        "root": str(workspace.root.absolute()),
        "recorded": to_plain(recorded),
    }
    began = time.monotonic()
    variables = clean_variables(workspace.environment)
    answer = run_module("setpoint.stages.rebuild", json.dumps(task), variables, seconds)
    took = time.monotonic() - began
    remade = from_plain(Remade, json.loads(answer.splitlines()[-1]), "rebuild")
    rows = sum(part.rows for part in remade.rows.values())
    sound = remade.snapshot == recorded.manifest.snapshot.digest
    return Rebuilt(version, expected, remade.files, _causes(recorded, remade), rows, took, sound)


def _causes(recorded: Recorded, remade: Remade) -> tuple[str, ...]:
    was = recorded.record
    data = recorded.manifest.snapshot.digest
    told = [] if was.project else [UNCOVERED]
    if remade.snapshot != data:
        told.append(f"data: the snapshot has digest {remade.snapshot[:16]}, recorded {data[:16]}")
    if remade.exploration != was.exploration:
        told.append("exploration: the decision log gives other weights than were recorded")
    told += rows_differ(was.rows, remade.rows)
    return (*told, *conditions_differ(was.conditions, remade.conditions))


def remake(workspace: Workspace, recorded: Recorded) -> Remade:
    """Train again in this process what a record says, without a search.

    Args:
        workspace: Where the snapshots and the decision log are; its project is the recorded one.
        recorded: The record.

    Raises:
        DataError: There is no such snapshot.
        TrainingError: The rows do not allow it.
    """
    record, project = recorded.record, workspace.project
    events, labels = snapshot(workspace, (record.events, record.labels))
    digest = data_digest(table_digest(events), table_digest(labels))
    known = as_known(workspace, events, labels, record.data_until, record.broken)
    rows = without(workspace, training_rows(workspace, known))
    parameters = Parameters(**recorded.manifest.parameters)
    model, split = fit_again(workspace, rows, parameters, record.judged_since)
    spec = project.feature_spec()
    contents = {
        MODEL: to_onnx(model.pipeline, len(spec.number_names), len(spec.categories)),
        "decision.json": _json(
            decision_spec(
                project,
                split.fit,
                model.threshold,
                Knots(model.calibration.x, model.calibration.y),
            )
        ),
        "features.json": _json(spec),
        "schema.json": _json(request_table(project.request_spec())),
    }
    return Remade(
        files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        snapshot=digest,
        exploration=exploration_digest(split),
        rows=split_digests(split),
        conditions=conditions(),
    )


def _json(value: Any) -> bytes:
    return canonical_json(to_plain(value), "rebuild")


def recorded_workspace(task: dict[str, Any], recorded: Recorded) -> Workspace:
    """The workspace as a record's project file declares it, with the snapshots where they are."""
    project = parse_project(recorded.project, where="the recorded project file")
    data = project.data.model_copy(update={"snapshots": task["snapshots"]})
    project = project.model_copy(update={"data": data})
    environment = read_environment()
    return Workspace(project, Path(task["project_file"]), Path(task["root"]), environment)


def main() -> None:
    """Read a task from standard input, train again, write what came out as one line of JSON."""
    task = json.loads(sys.stdin.read())
    recorded = from_plain(Recorded, task["recorded"], "record")
    try:
        made = remake(recorded_workspace(task, recorded), recorded)
    except SetpointError as err:
        sys.exit(f"{type(err).__name__}: {err}")
    sys.stdout.write(json.dumps(to_plain(made)) + "\n")


if __name__ == "__main__":
    main()
