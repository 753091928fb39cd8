"""Performance estimated without labels: a published table met, and what it costs.

``python -m benchmarks.estimation`` reads the car-loan data (``car_loan`` in the folder that
``SETPOINT_SHARED_DATA`` names, else in ``../shared/data`` beside the project), estimates the ROC
AUC of each chunk of 5,000 rows from the scores in the file (calibrated on the reference first: they
are not, and the check of trust says so), and sets it beside the realized one
and beside the table of NannyML's tutorial. It writes ``benchmarks/results/estimation.json``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from setpoint.domain.estimation import calibration, estimate, judge_estimate, limits
from setpoint.domain.metrics import roc_auc

Floats = NDArray[np.float64]

RESULT = Path(__file__).parent / "results" / "estimation.json"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
CHUNK = 5_000
ERROR_RATE = 0.001
"""Chance that a chunk without change alarms, both sides together."""
PUBLISHED = (
    0.970744, 0.971011, 0.971407, 0.971091, 0.971123,
    0.961090, 0.961825, 0.961073, 0.962533, 0.961316,
)  # fmt: skip
"""Estimates of NannyML's tutorial, chunk by chunk."""
SHIFTED = range(5, 10)
"""Chunks of which the tutorial alerts: the covariate shift begins with chunk 5."""


def car_loan(folder: Path) -> dict[str, Any]:
    """The table, and how far estimates are from what was realized."""
    reference = pq.read_table(folder / "synthetic_car_loan_reference.parquet")
    window = pq.read_table(folder / "synthetic_car_loan_analysis.parquet")
    target = pq.read_table(folder / "synthetic_car_loan_analysis_target.parquet")
    by_id = dict(zip(target["id"].to_pylist(), target["repaid"].to_pylist(), strict=True))
    truth = np.array([by_id[one] for one in window["id"].to_pylist()])
    p0, y0 = reference["y_pred_proba"].to_numpy(), reference["repaid"].to_numpy()
    p1 = window["y_pred_proba"].to_numpy()
    given, p1 = p1, _fit(p0, y0)(p1)
    uncalibrated = calibration(p0, y0)
    p0 = _cross_fitted(p0, y0)
    base = [_auc(p0[at : at + CHUNK]) for at in range(0, len(p0), CHUNK)]
    inside, trust = limits(base, ERROR_RATE), calibration(p0, y0)
    rows = []
    for chunk, at in enumerate(range(0, len(p1), CHUNK)):
        p, y = p1[at : at + CHUNK], truth[at : at + CHUNK]
        value, realized = _auc(p), roc_auc(y, given[at : at + CHUNK])
        finding = judge_estimate("roc_auc", value, len(p), inside, ERROR_RATE, trust)
        rows.append(
            {
                "chunk": chunk,
                "estimated": round(value, 6),
                "published": PUBLISHED[chunk],
                "realized": round(realized, 6),
                "off_by": round(abs(value - realized), 6),
                "alert": finding.outcome == "failed",
                "calibrated": str(calibration(p, y, 0.001).outcome),
            }
        )
    return {
        "largest_gap_to_realized": max(row["off_by"] for row in rows),
        "largest_gap_to_published": round(
            max(abs(row["estimated"] - row["published"]) for row in rows), 6
        ),
        "alerts": [row["chunk"] for row in rows if row["alert"]],
        "alerts_published": list(SHIFTED),
        "scores_of_the_file_calibrated": str(uncalibrated.outcome),
        "trust": str(trust.outcome),
        "trust_reasons": [one.reason for one in trust.findings],
        "limits": [round(one, 6) for one in inside],
        "error_rate": ERROR_RATE,
        "chunks": rows,
    }


def _fit(p: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """Isotonic calibration, as the pipeline fits it and as the tutorial does."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    return lambda q: np.asarray(fitted.predict(q), np.float64)


def _cross_fitted(p: Floats, y: Floats) -> Floats:
    """The reference calibrated by its other half, so that its own noise is not learned."""
    half = np.arange(len(p)) % 2 == 0
    found = np.empty(len(p))
    for one in (half, ~half):
        found[one] = _fit(p[~one], y[~one])(p[one])
    return found


def cost(rows: int = 1_000_000, rounds: int = 5) -> float:
    """CPU seconds for all estimates of one window, median."""
    p = np.random.default_rng(0).beta(0.6, 3.0, rows)
    acted = p > 0.3
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        estimate(p, acted)
        taken.append(time.process_time() - began)
    return round(float(np.median(taken)), 3)


def _auc(p: Floats) -> float:
    return estimate(p, p > 0.5).roc_auc


def main() -> None:
    """Measure and write the figures."""
    folder = Path(os.environ.get("SETPOINT_SHARED_DATA", BESIDE)) / "car_loan"
    if not folder.is_dir():
        raise SystemExit(f"no data at {folder}: set SETPOINT_SHARED_DATA to the folder it is in")
    result = {"cpu_seconds_million_rows": cost(), **car_loan(folder)}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
