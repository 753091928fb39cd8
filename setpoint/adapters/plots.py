"""Plots kept with each training, by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def training_plots(
    label: npt.NDArray[np.int8], score: npt.NDArray[np.float64], threshold: float, folder: Path
) -> Path:
    """Calibration, score distribution and precision-recall, as one picture.

    Returns:
        The PNG file.
    """
    from matplotlib.figure import Figure
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    truth, predicted = calibration_curve(label, score, n_bins=10, strategy="quantile")
    left.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    left.plot(predicted, truth, marker="o", color="#1f6feb")
    left.set(title="Calibration", xlabel="predicted", ylabel="observed")
    bins = np.linspace(0, 1, 41).tolist()
    middle.hist([score[label == 0], score[label == 1]], bins=bins, log=True, stacked=True,
                label=["negative", "positive"], color=["#9db7d5", "#d1495b"])  # fmt: skip
    middle.axvline(threshold, color="#222222", linewidth=1, label=f"threshold {threshold:.3f}")
    middle.set(title="Scores", xlabel="score", ylabel="rows")
    middle.legend(fontsize=8)
    precision, recall, _ = precision_recall_curve(label, score)
    right.plot(recall, precision, color="#1f6feb")
    right.set(title="Precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    path = folder / "judged.png"
    figure.savefig(path, dpi=90)
    return path


def timeline_plot(
    days: npt.NDArray[Any],
    series: dict[str, npt.NDArray[Any]],
    marks: dict[str, float],
    path: Path,
    title: str,
) -> Path:
    """Lines over days with named vertical marks, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(days, values, label=name)
    for name, day in marks.items():
        axes.axvline(day, color="#888888", linewidth=1, linestyle="--")
        axes.annotate(name, (day, 1.0), xycoords=("data", "axes fraction"), rotation=90,
                      va="top", ha="right", fontsize=8)  # fmt: skip
    axes.set(title=title, xlabel="event time, days", ylim=(0, 1.02))
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=100)
    return path
