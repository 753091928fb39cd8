"""Start and stop the embedded platform: Prefect, its worker, the gateway, MLflow, the models."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from setpoint.adapters.envoy import EnvoyRouter
from setpoint.adapters.processes import free_port, port_is_free, require_free_port
from setpoint.adapters.services import (
    ServiceSpec,
    declare,
    supervisor_pid,
    wait_ready,
    withdraw,
)
from setpoint.adapters.supervisor import Supervisor
from setpoint.domain.access import Actor
from setpoint.errors import PlatformError
from setpoint.serving.keys import read_keys
from setpoint.stages.access import check
from setpoint.workspace import Ports, Workspace

CODE = Path(__file__).resolve().parents[1]
PREFECT, WORKER, WARM, GATEWAY, MLFLOW = (
    "prefect-server",
    "worker",
    "warm-engine",
    "gateway",
    "mlflow",
)
START_SECONDS = 180.0
LEASES = "prefect.server.concurrency.lease_storage"
OTHER_PORTS = "end that process, or delete platform.json in the state folder to choose anew"


def up(workspace: Workspace, *, clock: str = "wall", mlflow: bool = True) -> Ports:
    """Start everything, or find it running. What was in service before is in service again.

    Args:
        workspace: The project.
        clock: ``wall`` for live traffic, ``stream`` where a player sets the time.
        mlflow: Whether to start the MLflow UI too.

    Raises:
        PlatformError: A process does not get ready, or a port is taken.
        AccessError: A key may do more than the project file lets the service of its name.
    """
    check_keys(workspace)
    root = workspace.root
    ports = _ports(workspace)
    fresh = supervisor_pid(root) is None
    if fresh:
        Supervisor(root).clear()
        for name, port in asdict(ports).items():
            require_free_port(port, name, fix=OTHER_PORTS)
        workspace.set_platform(
            {
                "ports": asdict(ports),
                "clock": clock,
                "project_file": str(workspace.project_file),
                "started_at": datetime.now(UTC).isoformat(),
            }
        )
        # Runs left by the last life are ended before anybody takes up new ones.
        withdraw(root, WORKER)
        _start_supervisor(root)
    try:
        _start_services(workspace, ports, mlflow=mlflow, fresh=fresh)
    except BaseException:  # an interrupt too: what was not up before must not be left half up
        if fresh:
            down(root)
        raise
    return ports


def check_keys(workspace: Workspace) -> None:
    """Hold the keys file against the project file, where that names services.

    Raises:
        AccessError: A key has a role that ``access.services`` does not give to its name.
        PlatformError: The keys file is malformed.
    """
    file = workspace.environment.key_file
    if file is None or workspace.project.access is None:
        return
    for key in read_keys(file):
        for role in key.roles:
            check(workspace, Actor(key.name, "service"), role, f"a key of {file.name}")


def _start_services(workspace: Workspace, ports: Ports, *, mlflow: bool, fresh: bool) -> None:
    root = workspace.root
    env = environment(workspace, ports)
    declare(root, _prefect_server(ports, env))
    declare(root, _warm_engine(root, env))
    declare(root, EnvoyRouter(root, ports.gateway, ports.admin).service_spec())
    workspace.champion()  # makes MLflow's tables too: two runs at once cannot
    if mlflow:
        declare(root, _mlflow(workspace, ports, env))
    wait_ready(root, PREFECT, START_SECONDS)
    _apply_deployments(root, env, fresh=fresh)
    declare(root, _worker(env))
    wait_ready(root, GATEWAY, START_SECONDS)
    wait_ready(root, WORKER, START_SECONDS)
    if mlflow:
        wait_ready(root, MLFLOW, START_SECONDS)


def down(root: Path, timeout: float = 40.0) -> bool:
    """Stop everything that was started for a state folder.

    Returns:
        Whether anything ran.

    Raises:
        PlatformError: The supervisor does not end.
    """
    pid = supervisor_pid(root)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while supervisor_pid(root) is not None:
        if time.monotonic() > deadline:
            raise PlatformError(
                f"the supervisor (pid {pid}) has not ended after {timeout:g} s",
                where=str(root / "logs" / "supervisor.log"),
                fix=f"look at its log; end it with 'kill -9 {pid}' and run 'setpoint up' again",
            )
        time.sleep(0.1)
    return True


def environment(workspace: Workspace, ports: Ports) -> dict[str, str]:
    """Environment of every process of the platform: never a developer's own Prefect profile."""
    python = Path(sys.executable)
    socket_file = _warm_socket(workspace.root)
    every = workspace.project.train.every
    return {
        "SETPOINT_ROOT": str(workspace.root),
        "SETPOINT_PROJECT": str(workspace.project_file),
        "SETPOINT_CODE": str(CODE),
        "SETPOINT_WARM_SOCKET": str(socket_file),
        "SETPOINT_FLOW_COMMAND": f"{python} -S {CODE / 'deployments' / 'warm_engine.py'}",
        "SETPOINT_WATCH_SECONDS": f"{workspace.project.watch.schedule.total_seconds():g}",
        "SETPOINT_TRAIN_SECONDS": f"{every.total_seconds():g}" if every else "",
        "PREFECT_HOME": str(workspace.root / "prefect"),
        "PREFECT_PROFILES_PATH": str(workspace.root / "prefect" / "profiles.toml"),
        "PREFECT_API_URL": f"http://127.0.0.1:{ports.prefect}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Slots of concurrency limits survive a restart of the server, and so do runs that hold one.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": f"{LEASES}.filesystem",
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        # Submitted sooner, a run takes its deployment's only slot from the one before it.
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        # Training beside serving must not take every core (facts: seconds of latency otherwise).
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _ports(workspace: Workspace) -> Ports:
    if workspace.platform().get("ports"):
        return workspace.ports
    taken: list[int] = []
    for preferred in (8080, 0, 4200, 5000):
        port = preferred if preferred and port_is_free(preferred) else free_port()
        while port in taken:
            port = free_port()
        taken.append(port)
    return Ports(*taken)


def _start_supervisor(root: Path) -> None:
    log = root / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        subprocess.Popen(
            [sys.executable, "-m", "setpoint.adapters.supervisor", str(root)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while supervisor_pid(root) is None:
        if time.monotonic() > deadline:
            raise PlatformError(
                "the supervisor does not start", where=str(log), fix="read that log"
            )
        time.sleep(0.05)


def _apply_deployments(root: Path, env: dict[str, str], *, fresh: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.apply", *(["--fresh"] if fresh else [])],
        cwd=CODE,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    (root / "logs" / "deploy.log").write_text(done.stdout + done.stderr, "utf-8")
    if done.returncode != 0:
        raise PlatformError(
            f"the deployments could not be applied: {(done.stdout + done.stderr)[-600:]}",
            where=str(root / "logs" / "deploy.log"),
            fix="read that log; the Prefect server must be up and prefect.yaml valid",
        )


def _prefect_server(ports: Ports, env: dict[str, str]) -> ServiceSpec:
    return ServiceSpec(
        PREFECT,
        (sys.executable, "-m", "deployments.prefect_server", "server", "start",
         "--host", "127.0.0.1", "--port", str(ports.prefect)),
        env=env,
        cwd=str(CODE),
        ready_url=f"http://127.0.0.1:{ports.prefect}/api/health",
        order=10,
    )  # fmt: skip


def _mlflow(workspace: Workspace, ports: Ports, env: dict[str, str]) -> ServiceSpec:
    return ServiceSpec(
        MLFLOW,
        (sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port",
         str(ports.mlflow), "--backend-store-uri", workspace.registry.uri, "--workers", "1",
         "--serve-artifacts", "--artifacts-destination", str(workspace.root / "mlartifacts")),
        env=env,
        ready_url=f"http://127.0.0.1:{ports.mlflow}/health",
        order=40,
    )  # fmt: skip


def _warm_engine(root: Path, env: dict[str, str]) -> ServiceSpec:
    argv = (sys.executable, "-m", "deployments.warm_engine", str(_warm_socket(root)))
    return ServiceSpec(WARM, argv, env=env, cwd=str(CODE), order=20)


def _worker(env: dict[str, str]) -> ServiceSpec:
    argv = (sys.executable, "-m", "prefect", "worker", "start", "--pool", "setpoint",
            "--type", "process", "--name", "embedded")  # fmt: skip
    return ServiceSpec(WORKER, argv, env=env, cwd=str(CODE), order=30, stop_seconds=20.0)


def _warm_socket(root: Path) -> Path:
    """Where runs are asked for: in a folder of this user alone, as a run brings its environment.

    Raises:
        PlatformError: Somebody else owns that folder.
    """
    # A Unix socket's path is at most about 100 bytes; a state folder may lie deeper.
    folder = Path(tempfile.gettempdir()) / f"setpoint-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PlatformError(
            "the folder is not this user's alone",
            where=str(folder),
            fix="remove it, or set TMPDIR to a folder of your own",
        )
    return folder / f"{hashlib.sha256(str(root).encode()).hexdigest()[:12]}.sock"
