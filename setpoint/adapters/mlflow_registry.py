"""MLflow: what each training was made of, and which version carries which alias."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from setpoint.errors import StateError

# Telemetry and progress bars are decided when mlflow is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

# Which of its two user interfaces MLflow opens with.
TABULAR = {"mlflow.experimentKind": "custom_model_development"}

GATED_AGAINST, NOBODY = "gated_against", "nobody"
"""Tag of a version: the champion that its gates compared it with."""

IMAGE = "image"
"""Tag of a version: its container image and the signature of that, as JSON."""

CHAMPION, CHALLENGER, CANDIDATE = "champion", "challenger", "candidate"


@dataclass(frozen=True)
class Run:
    """The record of one training.

    Attributes:
        id: Of the MLflow run.
        parameters: What was chosen, as text.
        metrics: What was measured.
        started: Wall time, UTC.
        ended: The same; ``None`` while it runs.
    """

    id: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    started: datetime
    ended: datetime | None


class Registry:
    """Runs and model versions of one project.

    A version's files are its bundle, kept in the workspace and named by the tag ``bundle``;
    MLflow holds the record and the aliases.

    Args:
        uri: Tracking address, e.g. ``sqlite:///mlflow.db`` or a server's.
        artifacts: Folder for artifacts when the address is a database.
        name: Name of the registered model and of the experiment.
    """

    def __init__(self, uri: str, artifacts: Path, name: str) -> None:
        self.uri, self.artifacts, self.name = uri, artifacts, name

    def _client(self) -> Any:
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        # Never mlflow.set_tracking_uri: it writes the environment, which other projects read.
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def log_run(
        self,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        files: Mapping[str, Path],
        name: str | None = None,
    ) -> str:
        """Record one training.

        Args:
            parameters: What was chosen.
            metrics: What was measured; numbers only.
            tags: Digests, commit, environment, seeds.
            files: Artifact folder to file.
            name: What people call the run.

        Returns:
            Id of the MLflow run.
        """
        client = self._client()
        experiment = client.get_experiment_by_name(self.name)
        if experiment is None:
            location = self.artifacts.absolute().as_uri() if self.uri.startswith("sqlite") else None
            experiment_id = client.create_experiment(
                self.name, artifact_location=location, tags=TABULAR
            )
        else:
            experiment_id = experiment.experiment_id
        run = client.create_run(experiment_id, tags=dict(tags), run_name=name)
        run_id = str(run.info.run_id)
        for key, value in parameters.items():
            client.log_param(run_id, key, value)
        for key, number in metrics.items():
            client.log_metric(run_id, key, number)
        for folder, path in files.items():
            client.log_artifact(run_id, str(path), folder)
        client.set_terminated(run_id)
        return run_id

    def register(self, run_id: str, bundle: Path, tags: Mapping[str, str]) -> str:
        """Make a model version of a run.

        Returns:
            The version: ``v1``, ``v2`` ...
        """
        from mlflow.exceptions import MlflowException

        client = self._client()
        try:
            client.create_registered_model(self.name)
        except MlflowException as err:
            if err.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = client.create_model_version(
            self.name,
            source=f"runs:/{run_id}/bundle",
            run_id=run_id,
            tags={**tags, "bundle": str(bundle)},
        )
        return f"v{made.version}"

    def point(self, alias: str, version: str | None) -> None:
        """Let an alias name a version; ``None`` takes the alias away."""
        client = self._client()
        if version is None:
            client.delete_registered_model_alias(self.name, alias)
        else:
            client.set_registered_model_alias(self.name, alias, version.removeprefix("v"))

    def version_of(self, alias: str) -> str | None:
        """The version that an alias names, if any."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client().get_model_version_by_alias(self.name, alias)
        except MlflowException as err:
            if err.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return f"v{found.version}"

    def tags(self, version: str) -> dict[str, str]:
        """Tags of a version."""
        found = self._client().get_model_version(self.name, version.removeprefix("v"))
        return dict(found.tags)

    def metrics(self, version: str) -> dict[str, float]:
        """What was measured when a version was trained, by name.

        Raises:
            StateError: It is of no run.
        """
        return dict(self._client().get_run(self._run_of(version)).data.metrics)

    def artifact(self, version: str, folder: str) -> tuple[str, bytes]:
        """Name and content of the file that a version's training logged in a folder.

        Raises:
            StateError: There is none, or it cannot be read.
        """
        from mlflow.exceptions import MlflowException

        client, run_id = self._client(), self._run_of(version)
        try:
            found = [one.path for one in client.list_artifacts(run_id, folder) if not one.is_dir]
            with tempfile.TemporaryDirectory() as place:
                for path in found[:1]:
                    copy = Path(client.download_artifacts(run_id, path, place))
                    return copy.name, copy.read_bytes()
        except (MlflowException, OSError) as err:
            raise StateError(
                f"the record of {version} cannot be read: {err}",
                where=f"artifact {folder} of run {run_id} in MLflow",
                fix="restore MLflow's artifacts from a backup",
            ) from err
        raise StateError(
            f"the record of {version} has no {folder}",
            where=f"run {run_id} in MLflow",
            fix="train again: it was trained before that was recorded, or its artifacts are gone",
        )

    def _run_of(self, version: str) -> str:
        found = self._client().get_model_version(self.name, version.removeprefix("v"))
        if not found.run_id:
            raise StateError(
                f"{version} is of no recorded training",
                where=f"model {self.name} in MLflow",
                fix="train again: a version without a record cannot be accounted for",
            )
        return str(found.run_id)

    def digest(self, version: str) -> str:
        """Digest of a version's bundle, as it was when it was registered.

        Raises:
            StateError: It was registered without: its publication was killed half-way.
        """
        found = self.tags(version).get("bundle_digest")
        if not found:
            raise StateError(
                f"{version} has no digest of its bundle",
                where=f"model {self.name} in MLflow",
                fix="train again; a version that was half published is never released",
            )
        return found

    def tag(self, version: str, key: str, value: str) -> None:
        """Set one tag of a version."""
        self._client().set_model_version_tag(self.name, version.removeprefix("v"), key, value)

    def versions(self) -> list[str]:
        """All versions, oldest first."""
        found = self._client().search_model_versions(f"name = '{self.name}'")
        return sorted((f"v{v.version}" for v in found), key=lambda v: int(v[1:]))

    def run(self, version: str) -> Run:
        """The record of the training that a version was made of."""
        found = self._client().get_run(self._run_of(version))
        info = found.info
        return Run(
            str(info.run_id),
            dict(found.data.params),
            dict(found.data.metrics),
            _moment(info.start_time),
            None if info.end_time is None else _moment(info.end_time),
        )

    def attach(self, version: str, folder: str, files: Sequence[Path]) -> None:
        """Keep files as artifacts of a version's run; those of the same name are replaced."""
        client, run_id = self._client(), self._run_of(version)
        for path in files:
            client.log_artifact(run_id, str(path), folder)

    def attached(self, version: str, folder: str) -> list[str]:
        """Paths of the artifacts that a folder of a version's run holds, sorted."""
        found = self._client().list_artifacts(self._run_of(version), folder)
        return sorted(str(f.path) for f in found)

    def read_attached(self, version: str, path: str) -> bytes:
        """Content of one artifact of a version's run."""
        import mlflow

        with tempfile.TemporaryDirectory() as folder:
            file = mlflow.artifacts.download_artifacts(
                run_id=self._run_of(version),
                artifact_path=path,
                dst_path=folder,
                tracking_uri=self.uri,
            )
            return Path(file).read_bytes()


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
