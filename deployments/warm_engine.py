"""Starts flow runs in milliseconds: a process that has imported everything and forks.

Importing Prefect and the flows costs seconds of CPU, and a process worker pays it for each run.
The *server* here pays it once; the *launcher*, which the work pool runs as the command of every
flow run, asks it to fork. Each run is still a process of its own. Where no server answers, the
launcher becomes ``python -m prefect.engine`` itself, which is what it would have been.

The launcher imports only what CPython has loaded anyway plus ``socket``; keep it so.
"""

import os
import signal
import socket
import sys
import time
from typing import NoReturn

SOCKET = "SETPOINT_WARM_SOCKET"


def launch() -> None:
    """Run one flow run: the command of the work pool."""
    link = _connect(os.environ.get(SOCKET, ""))
    if link is None:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    environment = "\0".join(f"{k}={v}" for k, v in os.environ.items()).encode()
    message = os.getcwd().encode() + b"\0\0" + environment
    socket.send_fds(link, [len(message).to_bytes(8, "big")], [1, 2])
    link.sendall(message)
    pid = int.from_bytes(_receive(link, 8), "big")

    def forward(number: int, _frame: object) -> None:
        os.kill(pid, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    status = _receive(link, 8)
    # No status means that the server was killed; the run is then another's to recover.
    sys.exit(int.from_bytes(status, "big") if status else 1)


def _connect(address: str, patience: float = 20.0) -> socket.socket | None:
    """Reach the server; while it is starting, waiting is cheaper than importing twice."""
    deadline = time.monotonic() + (patience if address else 0.0)
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(address)
            return link
        except OSError:
            link.close()
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.2)


def serve(address: str) -> None:
    """Import the flows, then fork a child for each launcher until killed."""
    import importlib
    import pkgutil

    import prefect.flow_engine  # noqa: F401  the import is the point

    import flows

    for module in pkgutil.iter_modules(flows.__path__):
        importlib.import_module(f"flows.{module.name}")
    for name in (
        "sklearn.ensemble",
        "mlflow",
        "onnxruntime",
        "duckdb",
        "deltalake",
        "optuna",
        "shap",
        "skl2onnx",
        "fairlearn.metrics",
        "great_expectations",
    ):
        importlib.import_module(name)
    if os.path.exists(address):
        os.unlink(address)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _supervise(link)
        link.close()


def _supervise(link: socket.socket) -> None:
    """In a child: fork the run, tell its pid, wait for it, tell its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, fds, _, _ = socket.recv_fds(link, 8, 2)
    message = _receive(link, int.from_bytes(head, "big"))
    folder, _, environment = message.partition(b"\0\0")
    pid = os.fork()
    if pid == 0:
        link.close()
        for source, target in zip(fds, (1, 2), strict=True):
            os.dup2(source, target)
        os.chdir(folder)
        pairs = (item.partition("=") for item in environment.decode().split("\0"))
        os.environ.clear()
        os.environ.update({key: value for key, _, value in pairs})
        _run_engine()
    link.sendall(pid.to_bytes(8, "big"))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    link.sendall((code if code >= 0 else 128 - code).to_bytes(8, "big"))
    os._exit(0)


def _run_engine() -> NoReturn:
    """Become the engine, and end as a process does: exit handlers flush logs and events.

    Past these the libraries' own would run, and end threads that a fork does not have: an abort.
    """
    import atexit
    import runpy
    import threading
    import traceback

    sys.argv = ["prefect.engine"]
    code = 0
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # the last frame of a process: told, and answered for by its status
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _receive(link: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = link.recv(size - len(parts))
        if not part:
            return b""
        parts += part
    return parts


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        launch()
