"""Attacks on the model: disguised requests, altered files, planted pickles, copies."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attacks.worlds import PARAMETERS, TRUSTED, Row, cards, model_of, project, told
from benchmarks.extraction import QUERIES, extraction, read_taiwan
from setpoint.adapters.onnx_export import onnx_scores, to_onnx
from setpoint.domain.attack import Reach, evade, tree_cuts
from setpoint.domain.bundle import DecisionSpec, Knots, SnapshotRef, read_bundle, write_bundle
from setpoint.domain.hardening import harden
from setpoint.domain.split import split_rows
from setpoint.domain.training import Rows, finish, fit_pipeline, typical_values
from setpoint.domain.world import DEMO
from setpoint.errors import BundleError

BESIDE = Path(__file__).parents[3] / "shared" / "data"
BOUND = 0.4
"""Share of its amount by which an attacker changes a payment."""


def evasion(seeds: int) -> Iterator[Row]:
    """Frauds that were caught, disguised by their amount, with and without hardened training."""
    through = np.zeros(2)
    acted = np.zeros(2)
    caught_all = rows_all = 0
    reach = [Reach("amount", 0, BOUND, low=0.0)]
    costs = project().costs.matrix()
    for seed in range(seeds):
        split = split_rows(cards(seed).rows, 0.4, 0.7)
        plain = finish(fit_pipeline(split.fit, PARAMETERS), PARAMETERS, split.tune, costs)
        hard = harden(plain, split.fit, split.tune, costs, reach, budget=1, share=1.0)
        caught = split.judge.take(
            (split.judge.label == 1) & (plain.scores(split.judge) >= plain.threshold)
        )
        caught_all += len(caught)
        rows_all += len(split.judge)
        for i, model in enumerate((plain, hard)):
            cuts = tree_cuts(model.pipeline, caught.numbers.shape[1])
            through[i] += (evade(model.scores, caught, reach, 1, cuts)[1] < model.threshold).sum()
            acted[i] += (model.scores(split.judge) >= model.threshold).sum()
    what = f"frauds through whose amount moves by up to {BOUND:.0%}, share"
    yield told("evasion", "adversarial training", what, *(through / caught_all), caught_all)
    what = "payments reviewed for it, share"
    yield told("evasion", "adversarial training", what, *(acted / rows_all), rows_all)


def make_bundle(folder: Path) -> Path:
    """A bundle of the card project."""
    rows, spec = cards(0).trusted, project().feature_spec()
    model = model_of(rows)
    onnx = to_onnx(model.pipeline, len(spec.number_names), len(spec.categories))
    write_bundle(
        folder,
        onnx,
        spec,
        project().request_spec(),
        DecisionSpec(
            threshold=model.threshold,
            actions=project().actions.model_dump(),
            baselines=typical_values(spec, rows),
            knots=Knots(model.calibration.x, model.calibration.y),
            reasons={},
            exploration=0.0,
        ),
        {"rows": len(rows)},
        project=project().name,
        version="v1",
        created_at=DEMO.start + timedelta(days=TRUSTED),
        snapshot=SnapshotRef("0.0", "a" * 64),
        commit="b" * 40,
        environment_digest="c" * 64,
        seeds={"model": 0},
        parameters={},
    )
    return folder


def tampering(seeds: int) -> Iterator[Row]:
    """A byte of the model flipped: what serves it, without and with the check of digests."""
    tries, served = 40 * seeds, np.zeros(2)
    rng = np.random.default_rng(0)
    few = cards(0).trusted.take(np.arange(20))
    with tempfile.TemporaryDirectory() as work:
        folder = make_bundle(Path(work) / "v1")
        file = folder / "model.onnx"
        whole = file.read_bytes()
        for place in rng.integers(0, len(whole), tries).tolist():
            altered = whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))])
            altered += whole[place + 1 :]
            file.write_bytes(altered)
            served += (_scores(altered, few), _read(folder))
    yield told("flipped bit of a model", "digests verified at load", "altered models served, share",
               *(served / tries), tries)  # fmt: skip


def _scores(model: bytes, rows: Rows) -> bool:
    try:
        return bool(np.isfinite(onnx_scores(model, rows)).all())
    except Exception:  # whatever the runtime says of a broken file
        return False


def _read(folder: Path) -> bool:
    try:
        read_bundle(folder)
    except BundleError:
        return False
    return True


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.mark), "w")


def unsafe_artifact(seeds: int) -> Iterator[Row]:
    """Pickles in a bundle's folder, beside its files and in place of them: are they executed?"""
    names = ("model.pkl", "model.onnx", "profile.json", "manifest.json", "decision.json")
    ran = np.zeros(2)
    for name in names:
        with tempfile.TemporaryDirectory() as work:
            folder, mark = make_bundle(Path(work) / "v1"), Path(work) / "ran"
            (folder / name).write_bytes(pickle.dumps(_Planted(mark)))
            _read(folder)
            ran[1] += mark.exists()
            with (folder / name).open("rb") as file:
                pickle.load(file).close()
            ran[0] += mark.exists()
    yield told("planted pickle", "bundles are ONNX and JSON", "executed as it is read, share",
               *(ran / len(names)), len(names))  # fmt: skip


def copying(seeds: int) -> Iterator[Row]:
    """A copy built by asking: how much of the model's score it explains on real rows."""
    folder = os.environ.get("SETPOINT_SHARED_DATA")
    inputs, label = read_taiwan(Path(folder) if folder else BESIDE)
    for row in extraction(inputs, label, min(seeds, 3)):
        yield told(f"copy, {row['attack']}", "a key that copies is found and stopped",
                   "score explained by the copy, share", row["off"]["variance"],
                   row["on"]["variance"], QUERIES)  # fmt: skip
        yield told(f"copy, {row['attack']}", "scores rounded to one decimal alone",
                   "score explained by the copy, share", row["off"]["variance"],
                   row["rounded"]["variance"], QUERIES)  # fmt: skip
