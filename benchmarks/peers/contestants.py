"""The servers compared: how each is started, asked and read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.environment import python_of
from benchmarks.peers.model import Model
from setpoint.adapters.processes import free_port

SERVERS = Path(__file__).parent / "servers"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Contestant:
    """A server.

    Attributes:
        name: As in the results.
        command: Command line, from the model, the port and an empty folder for its state.
        path: Where a row is posted.
        body: JSON of one row, from the model, its number, and whether it is a probe.
        read: Probability of the positive class in an answer.
        environment: Lock that it is installed from; empty for ours.
        variables: Environment variables beside the common ones.
        through_envoy: Whether requests go through Envoy.
    """

    name: str
    command: Callable[[Model, int, Path], Sequence[str]]
    path: str
    body: Callable[[Model, int, bool], Any]
    read: Callable[[Any], float]
    environment: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    through_envoy: bool = False

    def request(self, model: Model, number: int, probe: bool = False) -> bytes:
        """A whole HTTP request."""
        body = self.body(model, number, probe)
        data = json.dumps(body, separators=(",", ":")).encode()
        head = f"POST {self.path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        if not self.environment:  # what the gateway sticks to
            head += f"x-entity: {body['customer_id']}\r\n"
        return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data


def ours(
    name: str, durability: str, module: str = "setpoint.serving", envoy: bool = False
) -> Contestant:
    """The scoring service of this project."""

    def command(model: Model, port: int, folder: Path) -> list[str]:
        start = [sys.executable, "-m", module, "--bundle", str(model.bundle)]
        start += ["--store", str(folder / "store.db"), "--host", HOST, "--port", str(port)]
        return [*start, "--version", "1", "--durability", durability]

    return Contestant(
        name,
        command,
        "/v1/decisions",
        lambda model, number, probe: model.event(number, probe),
        lambda answer: float(answer["score"]),
        through_envoy=envoy,
    )


NO_LOG = "benchmarks.peers.no_log"
OURS = (
    ours("direct", "full"),
    ours("envoy", "full", envoy=True),
    ours("direct_normal", "normal"),
    ours("direct_no_log", "normal", NO_LOG),
    ours("envoy_no_log", "normal", NO_LOG, envoy=True),
)
"""``full`` survives a power cut, ``normal`` a killed process, ``no_log`` keeps no decision."""


def _mlflow(model: Model, port: int, folder: Path) -> list[str]:
    program = python_of("peers").with_name("mlflow")
    serve = [str(program), "models", "serve", "-m", str(model.folder / "mlflow")]
    return [*serve, "-p", str(port), "-h", HOST, "--env-manager", "local", "--workers", "1"]


def _bentoml(model: Model, port: int, folder: Path) -> list[str]:
    program = python_of("peers").with_name("bentoml")
    serve = [str(program), "serve", "bento_sklearn:Scorer", "--working-dir", str(SERVERS)]
    return [*serve, "--host", HOST, "--port", str(port)]


def _litserve(model: Model, port: int, folder: Path) -> list[str]:
    return [str(python_of("peers")), str(SERVERS / "litserve_onnx.py")]


def _fastapi(model: Model, port: int, folder: Path) -> list[str]:
    serve = [str(python_of("peers")), "-m", "uvicorn", "fastapi_sklearn:app"]
    serve += ["--app-dir", str(SERVERS), "--host", HOST, "--port", str(port)]
    return [*serve, "--no-access-log", "--log-level", "warning"]


def _mlserver(model: Model, port: int, folder: Path) -> list[str]:
    settings = {
        "host": HOST,
        "http_port": port,
        "grpc_port": free_port(HOST, [port]),
        "metrics_endpoint": None,
        "parallel_workers": 0,  # scores in the server's own process: no hop to a worker
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    runtime = {"name": "model", "implementation": "mlserver_onnx.OnnxRuntime"}
    (folder / "model-settings.json").write_text(json.dumps(runtime), "utf-8")
    return [str(python_of("peers-mlserver").with_name("mlserver")), "start", str(folder)]


def _lists(model: Model, number: int, probe: bool) -> Any:
    numbers, categories = model.values(number)
    return {"numbers": numbers, "categories": categories}


def _split(model: Model, number: int, probe: bool) -> Any:
    numbers, categories = model.values(number)
    frame = {"columns": model.columns, "data": [[*numbers, *categories]]}
    return {"dataframe_split": frame}


def _records(model: Model, number: int, probe: bool) -> Any:
    numbers, categories = model.values(number)
    return {"rows": [dict(zip(model.columns, [*numbers, *categories], strict=True))]}


def _tensors(model: Model, number: int, probe: bool) -> Any:
    numbers, categories = model.values(number)
    shown = (("numbers", "FP32", numbers), ("categories", "BYTES", categories))
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [1, len(values)], "data": values}
            for name, kind, values in shown
        ]
    }


PEERS = (
    Contestant(
        "mlflow",
        _mlflow,
        "/invocations",
        _split,
        lambda answer: float(answer["predictions"][0][1]),
        environment="peers",
    ),
    Contestant(
        "fastapi",
        _fastapi,
        "/predict",
        _lists,
        lambda answer: float(answer["probability"]),
        environment="peers",
    ),
    Contestant(
        "bentoml",
        _bentoml,
        "/predict",
        _records,
        lambda answer: float(answer[0]),
        environment="peers",
    ),
    Contestant(
        "mlserver",
        _mlserver,
        "/v2/models/model/infer",
        _tensors,
        lambda answer: float(answer["outputs"][0]["data"][0]),
        environment="peers-mlserver",
        variables={"PYTHONPATH": str(SERVERS)},
    ),
    Contestant(
        "litserve",
        _litserve,
        "/predict",
        _lists,
        lambda answer: float(answer["probability"]),
        environment="peers",
    ),
    Contestant(
        "litserve_batched",
        _litserve,
        "/predict",
        _lists,
        lambda answer: float(answer["probability"]),
        environment="peers",
        variables={"BATCH": "32"},
    ),
)
"""mlflow, FastAPI and BentoML run the scikit-learn pipeline, MLServer and LitServe its ONNX."""
