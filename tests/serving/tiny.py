"""A tiny project (card payments), its bundle, and a client of the service."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from setpoint.adapters.processes import free_port
from setpoint.domain.bundle import DecisionSpec, Knots, SnapshotRef, write_bundle
from setpoint.domain.features import DelayedRisk, FeatureSpec, WindowFeature
from setpoint.domain.schema import ColumnSpec, TableSpec
from setpoint.domain.signatures import Sign

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
READY_SECONDS = 30

FEATURES = FeatureSpec(
    event_id="payment_id",
    event_time="at",
    entities={"customer": "customer_id"},
    numbers=("amount", "age"),
    categories=("country",),
    calendar=("hour",),
    windows=(WindowFeature("customer", "count", 86_400),),
    risks=(DelayedRisk("customer", 7 * 86_400, 86_400),),
)
TABLE = TableSpec(
    columns=(
        ColumnSpec("payment_id", "id"),
        ColumnSpec("at", "time"),
        ColumnSpec("customer_id", "id", personal=True),
        ColumnSpec("amount", "number", min=0, max=10_000),
        ColumnSpec("age", "integer", min=0, max=120, nullable=True),
        ColumnSpec("country", "category", values=("AT", "CH", "DE")),
        ColumnSpec("online", "boolean"),
        ColumnSpec("fraud", "boolean"),
    ),
    event_id="payment_id",
    event_time="at",
    label="fraud",
)
DECISION = DecisionSpec(
    threshold=0.5,
    actions={"positive": "review", "negative": "approve"},
    knots=Knots((0.0, 0.5, 1.0), (0.0, 0.6, 1.0)),
    baselines={
        "amount": 40.0,
        "age": None,
        "country": "DE",
        "hour": 12.0,
        "customer_count_1d": 1.0,
        "customer_nb_7d": 0.0,
        "customer_risk_7d": 0.0,
    },
    reasons={"amount": "The amount is unusually high"},
)


def make_bundle(folder: Path, version: str = "7", sign: Sign | None = None) -> Path:
    """Train, export and package; large amounts are fraud, in CH more than elsewhere."""
    write_bundle(
        folder,
        _model(),
        FEATURES,
        TABLE,
        DECISION,
        {"rows": 2000},
        project="tiny",
        version=version,
        created_at=EPOCH,
        snapshot=SnapshotRef("3", "a" * 64),
        commit="b" * 40,
        environment_digest="c" * 64,
        seeds={"train": 1},
        parameters={"max_iter": 20},
        sign=sign,
    )
    return folder


def _model() -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    random = np.random.default_rng(1)
    width = len(FEATURES.number_names)
    numbers = random.uniform(0, 24, (2000, width))
    numbers[:, 0] = random.uniform(0, 1000, 2000)
    numbers[::7, 1] = np.nan
    country = random.choice(["AT", "CH", "DE"], 2000)
    label = numbers[:, 0] + 200 * (country == "CH") + random.normal(0, 50, 2000) > 600
    frame = np.concatenate([numbers.astype(object), country[:, None].astype(object)], axis=1)
    encoder = ColumnTransformer(
        [
            ("numbers", "passthrough", list(range(width))),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [width]),
        ]
    )
    boosting = HistGradientBoostingClassifier(max_iter=20, random_state=1)
    pipeline = make_pipeline(encoder, boosting).fit(frame, label)
    inputs = [
        ("numbers", FloatTensorType([None, width])),
        ("categories", StringTensorType([None, 1])),
    ]
    options = {id(pipeline): {"zipmap": False}}
    opset = {"": 17, "ai.onnx.ml": 3}
    model = to_onnx(pipeline, initial_types=inputs, options=options, target_opset=opset)
    return bytes(model.SerializeToString())


def row(number: int, **changes: Any) -> dict[str, Any]:
    """A valid request; ``number`` makes its id and its time."""
    return {
        "payment_id": f"p{number}",
        "at": (EPOCH + timedelta(seconds=number)).isoformat(),
        "customer_id": number % 5,
        "amount": 20.5,
        "age": 30,
        "country": "DE",
        "online": True,
        **changes,
    }


class Service:
    """``python -m setpoint.serving`` on a free port, and a keep-alive client of it."""

    def __init__(self, bundle: Path, store: Path, version: str, options: Sequence[str]) -> None:
        self.bundle = bundle
        self.store = store
        self.port = free_port()
        self.process = subprocess.Popen(
            command(bundle, store, self.port, version, *options), stderr=subprocess.PIPE, text=True
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def wait_ready(self) -> Service:
        """Wait until it answers."""
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.call("GET", "/health/ready")[0] == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"the service did not start: {self.process.communicate()[1]}")

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send JSON (or bytes as they are) and return status and decoded JSON."""
        status, data = self.raw(method, path, body, headers)
        return status, json.loads(data)

    def raw(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """As ``call``, with the body as it came."""
        status, _, data = self.exchange(method, path, body, headers)
        return status, data

    def exchange(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """As ``raw``, with the headers of the answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, path, data, headers or {})
            response = self._connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def decide(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """Ask for a decision."""
        return self.call("POST", "/v1/decisions", body, headers)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample, 0 if it is not there."""
        for line in self.raw("GET", "/metrics")[1].decode().splitlines():
            if line.replace("{", " ").split(" ")[0] == name and all(
                f'{k}="{v}"' in line for k, v in labels.items()
            ):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def stop(self) -> tuple[int, str]:
        """SIGTERM; returns exit code and what it said."""
        self._connection.close()
        self.process.terminate()
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def kill(self) -> None:
        """kill -9, if it still runs."""
        self._connection.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def command(bundle: Path, store: Path, port: int, version: str, *options: str) -> list[str]:
    """The command line of the service."""
    text = f"--host 127.0.0.1 --port {port} --version {version}".split()
    module = [sys.executable, "-m", "setpoint.serving"]
    return [*module, "--bundle", str(bundle), "--store", str(store), *text, *options]
