"""A real platform under the card world, and versions of several kinds to release on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path

from benchmarks.release.load import Stream
from setpoint.adapters.mlflow_registry import GATED_AGAINST
from setpoint.adapters.prefect_api import PrefectApi
from setpoint.adapters.process_runtime import ProcessRuntime
from setpoint.adapters.processes import free_port
from setpoint.adapters.services import service_status
from setpoint.demo import Script, first_champion, prepare
from setpoint.domain.rollout import Rollout, Strategy
from setpoint.platform import down, up
from setpoint.stages import ingest, train
from setpoint.stages import publish as publishing
from setpoint.workspace import Ports, Workspace, open_workspace

SCRIPT = Script(seed=4, drift="none", history=45, longest=20)
DELAY = timedelta(days=2)
"""Event time until a label; two of three days that the gateway's rate takes to a second or so."""
DEAR = 0.0
"""Threshold of a version that has everything reviewed."""
FAULTY = str(Path(__file__).parent / "faulty.py")
DISK_MB = 400
CHANGES = {
    "delay: 10d ": f"delay: {DELAY.days}d ",
    "schedule: 6s": "schedule: 1h",
    # Not what is measured here, and few labels are known so soon.
    "floor: 0.28": "floor: 0.05",
    "floor: 0.125": "floor: 0.02",
    "floor: 0.4,": "floor: 0.05,",
}
"""Of the demo's project file."""
RELEASE = """\
release:
  strategy: canary
  shadow_requests: 0
  steps: [5, 25, 50, 100]
  step_requests: 40
  step_timeout: 60s
  warm: 5s
  max_slow_share: 0.3
  max_score_shift: 0.5
  max_action_shift: 1.0
  experiment: {min_outcomes: 300, planned: 2000, every: 6h, longest: 60d}
"""


@dataclass
class Bench:
    """The platform, what it serves, and what can be released on it.

    Attributes:
        workspace: The project.
        stream: Payments without end.
        good, other: Two versions that detect fraud.
        dear: One that has everything reviewed, which costs more than the frauds.
    """

    workspace: Workspace
    stream: Stream
    good: str
    other: str
    dear: str
    _before: Rollout | None = None

    def set_strategy(self, strategy: Strategy, **policy: object) -> None:
        """Write the release policy into the project file: runs read it when they start."""
        text = RELEASE.replace("strategy: canary", f"strategy: {strategy}")
        for name, value in policy.items():
            line = next(one for one in text.splitlines() if one.strip().startswith(f"{name}:"))
            text = text.replace(line, f"  {name}: {value}")
        file = self.workspace.project_file
        head, _, rest = file.read_text("utf-8").partition("release:\n")
        tail = rest[rest.index("\nwatch:") :]
        file.write_text(head + text + tail, "utf-8")

    def begin(self, version: str) -> str:
        """Ask for the release of a version that its gates accepted; returns the run's id."""
        registry = self.workspace.registry
        registry.tag(version, GATED_AGAINST, self.workspace.champion() or "")
        self._before = self.workspace.state.release(version)
        return self.api.run("release/release", {"version": version})

    def wait(self, version: str, *, sweeping: bool = False, seconds: float = 240.0) -> Rollout:
        """Wait until a release is settled.

        Args:
            version: The challenger.
            sweeping: Whether to have the sweep run, as it does on its schedule.
            seconds: How long.
        """
        deadline = time.monotonic() + seconds
        while True:
            known = self.workspace.state.release(version)
            if known is not None and known.settled and known != self._before:
                return known
            if time.monotonic() > deadline:
                raise TimeoutError(f"the release of {version} has not ended: {known}")
            if sweeping:
                with contextlib.suppress(OSError, ValueError):
                    self.api.wait(self.api.run("sweep/sweep", {}), timeout=60)
            time.sleep(0.2)

    def until(self, version: str, there: Callable[[Rollout], bool], seconds: float = 90.0) -> None:
        """Wait until a release is at some place."""
        deadline = time.monotonic() + seconds
        while True:
            known = self.workspace.state.release(version)
            if known is not None and not known.settled and there(known):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the release of {version} does not get there: {known}")
            time.sleep(0.05)

    def start_faulty(self, version: str, fault: str, *more: str) -> None:
        """Start a version with a fault in it; the release finds it started."""
        runtime = ProcessRuntime(
            self.workspace.root,
            self.workspace.live_store,
            command=(sys.executable, FAULTY, fault, *more),
        )
        registry = self.workspace.registry
        runtime.start(version, self.workspace.bundle(version), registry.digest(version))

    def kill(self, service: str, *, group: bool = False) -> int:
        """``kill -9`` a process of the platform, or its whole group; returns its id."""
        pid = service_status(self.workspace.root, service).pid
        if pid is None:
            raise RuntimeError(f"{service} does not run")
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
        return pid

    def until_restarted(self, service: str, killed: int, seconds: float = 30.0) -> None:
        """Wait until another process than the one with the id ``killed`` runs."""
        deadline = time.monotonic() + seconds
        while service_status(self.workspace.root, service).pid in (killed, None):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{service} is not started again")
            time.sleep(0.1)

    @property
    def api(self) -> PrefectApi:
        """The Prefect server's."""
        return PrefectApi(self.workspace.ports.prefect)


@contextlib.contextmanager
def platform(root: Path) -> Iterator[Bench]:
    """Start everything, and stop it again.

    The decisions are on a small disk of their own where this user may mount one, so that it can be
    filled.
    """
    workspace, world = prepare(SCRIPT, root)
    file = workspace.project_file
    text = file.read_text("utf-8")
    for was, now in CHANGES.items():
        text = text.replace(was, now)
    file.write_text(text, "utf-8")
    workspace = open_workspace(file, root)
    # Ports of its own: another platform of this machine may be choosing the usual ones just now.
    names = (one.name for one in fields(Ports))
    workspace.set_platform({"ports": {name: free_port() for name in names}, "clock": "stream"})
    small = root / "small"
    mounted = _mount(small)
    if mounted:
        workspace.live_store.symlink_to(small / "live.db")
    try:
        up(workspace, clock="stream", mlflow=False)
        first_champion(workspace, world, SCRIPT)
        made = [_version(workspace, seed) for seed in (1, 2)]
        dear = _version(workspace, 3, threshold=DEAR)
        yield Bench(workspace, Stream(world, SCRIPT.history, DELAY / 2), made[0], made[1], dear)
    finally:
        down(root)
        if mounted:
            subprocess.run(["umount", "-l", str(small)], check=False)


def _mount(folder: Path) -> bool:
    """A small disk at ``folder``, if this user may have one."""
    folder.mkdir(parents=True)
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(DISK_MB * 1024 * 1024)
    commands = (
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(folder)],
    )
    try:
        return all(subprocess.run(c, check=False, capture_output=True).returncode == 0
                   for c in commands)  # fmt: skip
    except OSError:
        return False


def _version(workspace: Workspace, seed: int, threshold: float | None = None) -> str:
    """Another version, as its gates would have accepted it."""
    project = workspace.project
    other = project.model_copy(update={"train": project.train.model_copy(update={"seed": seed})})
    made = replace(workspace, project=other)
    rows, known = train.assemble(made, None)
    trained = train.fit(made, rows, known)
    if threshold is not None:
        trained = replace(trained, model=replace(trained.model, threshold=threshold))
    candidate = publishing.publish(made, trained, ingest.current(made), "benchmark")
    workspace.registry.tag(candidate.version, "gates", "passed")
    return candidate.version
