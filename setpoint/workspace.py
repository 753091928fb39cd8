"""Where everything of one project is: the state folder, and the adapters over it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setpoint.adapters.files import write_atomically
from setpoint.adapters.mlflow_registry import CHAMPION, IMAGE, Registry
from setpoint.adapters.seal_file import SealFile
from setpoint.adapters.signing import TRUSTED, Keys
from setpoint.adapters.sqlite_state import StateStore
from setpoint.config import Environment, Project, read_environment, read_project
from setpoint.domain.images import SignedImage, checked_image, pinned_name
from setpoint.domain.signatures import Signature
from setpoint.errors import PlatformError, StateError
from setpoint.ports import Clock, DecisionLog, ModelRuntime, TrafficRouter

if TYPE_CHECKING:
    from setpoint.adapters.delta import DeltaSnapshots
    from setpoint.adapters.delta_state import Signing
    from setpoint.adapters.s3 import S3Options


class WallClock:
    """The machine's time: for live traffic."""

    def now(self) -> datetime:
        """The present, UTC."""
        return datetime.now(UTC)


class StreamClock:
    """The time that a player of traffic has reached: for replays faster than real time."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def now(self) -> datetime:
        """The event time reached.

        Raises:
            StateError: Nothing was played yet.
        """
        text = self._state.recall("stream_clock")
        if text is None:
            raise StateError(
                "the stream has no time yet",
                where=str(self._state.path),
                fix="start the player of the stream before flows that ask for the time",
            )
        return datetime.fromisoformat(text)

    def advance(self, to: datetime) -> None:
        """Move on; never back."""
        known = self._state.recall("stream_clock")
        if known is None or datetime.fromisoformat(known) < to:
            self._state.remember("stream_clock", to.isoformat())


@dataclass(frozen=True)
class Ports:
    """TCP ports of the platform on loopback."""

    gateway: int
    admin: int
    prefect: int
    mlflow: int


@dataclass(frozen=True)
class Workspace:
    """One project and its state folder.

    Attributes:
        project: The project file, checked.
        project_file: Where it was read from; relative data addresses start in its folder.
        root: The state folder.
        environment: What was read from the environment.
        replay: Whether time is that of a replay, whatever the platform was started with.
    """

    project: Project
    project_file: Path
    root: Path
    environment: Environment
    replay: bool = False

    @cached_property
    def project_bytes(self) -> bytes:
        """The project file as it was when the project was read from it.

        What is recorded of a training is this, even if somebody writes the file meanwhile.
        """
        return self.project_file.read_bytes()

    @cached_property
    def state(self) -> StateStore:
        """Incidents, releases, ledger."""
        return StateStore(self.root / "state.db", self.project.name, self.keys)

    @cached_property
    def keys(self) -> Keys:
        """Keys that sign the ledger, bundles and snapshots."""
        return Keys((self.environment.signing_keys or self.root / "keys").absolute())

    def sign(self, message: bytes) -> Signature:
        """Sign with the key in force."""
        return self.keys.sign(self.state.signing_key(), message)

    @property
    def seals(self) -> SealFile:
        """Seals of the ledger."""
        return SealFile(self.environment.seals or self.root / "seals")

    @cached_property
    def registry(self) -> Registry:
        """MLflow."""
        uri = self.environment.tracking_uri or f"sqlite:///{(self.root / 'mlflow.db').absolute()}"
        return Registry(uri, self.root / "mlartifacts", self.project.name)

    def champion(self) -> str | None:
        """The version in service; ``None`` if there never was one.

        Raises:
            StateError: There was one and the registry does not know it any more.
        """
        found = self.registry.version_of(CHAMPION)
        known = self.state.last_promoted() if found is None else None
        if known is not None:
            raise StateError(
                f"the registry names no champion, but {known.challenger} was promoted",
                where=f"MLflow at {self.registry.uri}",
                fix=f"restore MLflow, or set the alias {CHAMPION} of model {self.registry.name}",
            )
        return found

    @property
    def live_store(self) -> Path:
        """SQLite file of decisions and recent events."""
        return self.root / "live.db"

    @cached_property
    def decisions(self) -> DecisionLog:
        """The decision log.

        Raises:
            StateError: It cannot be opened.
        """
        if self.environment.decisions:
            from setpoint.adapters.postgres_decisions import PostgresDecisionLog

            return PostgresDecisionLog(self.environment.decisions)
        from setpoint.adapters.sqlite_decisions import SqliteDecisionLog

        return SqliteDecisionLog(self.live_store)

    def snapshots(self, table: str) -> DeltaSnapshots:
        """Snapshots of ``events`` or ``labels``."""
        from setpoint.adapters.delta import DeltaSnapshots

        home = self.project.data.snapshots or str((self.root / "snapshots").absolute())
        uri = f"{self.address(home).rstrip('/')}/{table}"
        options = self.s3.delta_options() if uri.startswith("s3://") else None
        return DeltaSnapshots(uri, options, self._signing())

    def _signing(self) -> Signing:
        from setpoint.adapters.delta_state import Signing

        return Signing(
            self.sign,
            self.keys.trusted.check,
            begun=lambda table: self.state.recall(f"signed:{table}") is not None,
            begin=lambda table: self.state.remember(f"signed:{table}", "yes"),
        )

    @property
    def s3(self) -> S3Options:
        """How S3 is reached."""
        from setpoint.adapters.s3 import S3Options

        env = self.environment
        return S3Options(env.s3_endpoint, env.s3_region, env.s3_access_key, env.s3_secret_key)

    @property
    def quarantine(self) -> Path:
        """Where failing batches are kept whole."""
        return self.root / "quarantine"

    def bundle(self, version: str) -> Path:
        """Folder of a version's bundle."""
        return self.root / "bundles" / version

    def image(self, version: str) -> SignedImage:
        """The image of a version, its signature checked.

        Raises:
            PlatformError: It has none, or no trusted key signed it for this version.
            StateError: It was registered without the digest of its bundle.
        """
        kept, bundle = self.registry.tags(version).get(IMAGE), self.registry.digest(version)
        return checked_image(kept, bundle, self.keys.trusted.check, self._image_record(version))

    def pinned_image(self, version: str) -> str:
        """Name by digest of a version's image, its signature checked.

        Raises:
            PlatformError, StateError: As for ``image``; or it was never pushed.
        """
        return pinned_name(self.image(version), self._image_record(version))

    def _image_record(self, version: str) -> str:
        return f"tag {IMAGE} of {version} of model {self.registry.name} in MLflow"

    def address(self, uri: str) -> str:
        """A data address; a relative one starts in the project file's folder."""
        if "://" in uri or Path(uri).is_absolute():
            return uri
        home = self.environment.data_root or self.project_file.parent
        return str(home.absolute() / uri)

    # the running platform

    @property
    def platform_file(self) -> Path:
        """What the platform was started with."""
        return self.root / "platform.json"

    def platform(self) -> dict[str, Any]:
        """Ports, clock and start of the platform; empty if it was never up.

        Raises:
            StateError: The file is damaged.
        """
        try:
            return dict(json.loads(self.platform_file.read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as err:
            raise StateError(
                f"the platform's state is damaged: {err}",
                where=str(self.platform_file),
                fix="run 'setpoint down', delete that file and run 'setpoint up' again",
            ) from err

    def set_platform(self, content: dict[str, Any]) -> None:
        """Write what the platform was started with."""
        write_atomically(self.platform_file, json.dumps(content, indent=1).encode())

    @property
    def ports(self) -> Ports:
        """Ports of the running platform.

        Raises:
            StateError: It was never up, or the file is damaged.
        """
        found = self.platform().get("ports")
        if found is None:
            raise StateError(
                "the platform is not up", where=str(self.root), fix="run 'setpoint up' first"
            )
        try:
            return Ports(**found)
        except TypeError as err:
            raise StateError(
                f"the platform's ports are damaged: {err}",
                where=str(self.platform_file),
                fix="run 'setpoint down', delete that file and run 'setpoint up' again",
            ) from err

    @property
    def clock(self) -> Clock:
        """The clock that the platform was started with."""
        streamed = self.replay or self.platform().get("clock", "wall") == "stream"
        return StreamClock(self.state) if streamed else WallClock()

    @cached_property
    def runtime(self) -> ModelRuntime:
        """Runs model versions: as processes, or as Deployments of a Kubernetes cluster.

        Raises:
            PlatformError: The cluster's file is wrong, or it is not said where images are.
        """
        if self.environment.cluster is not None:
            from setpoint.adapters.kubernetes_manifests import read_cluster
            from setpoint.adapters.kubernetes_runtime import KubernetesRuntime

            if self.project.package.repository is None:
                raise PlatformError(
                    "package.repository is not set",
                    where=str(self.project_file),
                    fix="name where a cluster finds the images, without a tag",
                )
            cluster = read_cluster(self.environment.cluster)
            trusted = self.keys.folder / TRUSTED
            return KubernetesRuntime(cluster, self.project.name, self.pinned_image, trusted)
        from setpoint.adapters.process_runtime import ProcessRuntime

        env = self.environment
        return ProcessRuntime(
            self.root,
            self.live_store,
            decisions=env.decisions,
            keys=env.key_file,
            trusted=self.keys.folder / TRUSTED,
        )

    @cached_property
    def router(self) -> TrafficRouter:
        """The gateway: Envoy on this machine, or the cluster's.

        Raises:
            PlatformError: The cluster's file is wrong.
        """
        if self.environment.cluster is not None:
            from setpoint.adapters.kubernetes_manifests import read_cluster
            from setpoint.adapters.kubernetes_router import KubernetesRouter

            return KubernetesRouter(read_cluster(self.environment.cluster), self.project.name)
        from setpoint.adapters.envoy import EnvoyRouter

        return EnvoyRouter(self.root, self.ports.gateway, self.ports.admin)


def remembered_project(root: Path) -> Path:
    """The project file that the platform of a state folder was started with.

    Raises:
        StateError: The state folder does not say, or the file that says it is damaged.
    """
    file = root / "platform.json"
    try:
        return Path(json.loads(file.read_text("utf-8"))["project_file"])
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise StateError(
            f"it does not say which project it belongs to ({type(err).__name__})",
            where=str(file),
            fix="name the project file with --project",
        ) from err


def open_workspace(project_file: Path | None = None, root: Path | None = None) -> Workspace:
    """Open the workspace that the arguments, or else the environment, name.

    Raises:
        ProjectFileError: The project file is missing or wrong.
        StateError: The state folder cannot be made, or belongs to another project.
    """
    environment = read_environment()
    file = project_file or environment.project_file
    folder = (root or environment.root).absolute()
    project, content = read_project(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StateError(
            f"the state folder cannot be made: {err.strerror}",
            where=str(folder),
            fix="name a folder with --root that exists or can be made",
        ) from err
    _claim(folder, project.name)
    workspace = Workspace(project, file.absolute(), folder, environment)
    workspace.__dict__["project_bytes"] = content  # where the cached property keeps it
    return workspace


def _claim(folder: Path, name: str) -> None:
    marker = folder / "project"
    if not marker.exists():
        write_atomically(marker, name.encode())
        return
    found = marker.read_text("utf-8", errors="replace").strip()
    if found != name:
        raise StateError(
            f"the state folder belongs to project {found or '(half-written)'!r}, not to {name!r}",
            where=str(folder),
            fix="name another folder with --root, or delete this one",
        )
