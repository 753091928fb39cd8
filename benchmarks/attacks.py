"""Attacks on the loop, each with its mitigation off and on.

``python -m benchmarks.attacks [--seeds N]`` writes ``benchmarks/results/attacks.json``. ``off`` and
``on`` are the same measure on the same rows; of a measure a smaller value is better. Attacks on
labels and on requests are played on the simulated card world: 50 days are trusted, then sources of
five days each are looked at, and one of them is poisoned.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.extraction import QUERIES, extraction, read_taiwan
from setpoint.adapters.duckdb_features import compute
from setpoint.adapters.onnx_export import onnx_scores, to_onnx
from setpoint.config import Project, load_project
from setpoint.domain.arrivals import with_arrival
from setpoint.domain.attack import Reach, evade, tree_cuts
from setpoint.domain.bundle import DecisionSpec, Knots, SnapshotRef, read_bundle, write_bundle
from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.gates.judged import judge
from setpoint.domain.hardening import harden
from setpoint.domain.poisoning import doubtful, poisoning_findings, trust
from setpoint.domain.split import split_rows
from setpoint.domain.training import (
    Parameters,
    Rows,
    TrainedModel,
    as_rows,
    finish,
    fit_pipeline,
    joined,
    typical_values,
)
from setpoint.domain.world import DEMO, Drift, generate
from setpoint.errors import BundleError
from setpoint.stages.worldfiles import PROJECT

RESULT = Path(__file__).parent / "results" / "attacks.json"
BESIDE = Path(__file__).parents[2] / "shared" / "data"
PARAMETERS = Parameters(max_iter=60)
HOLDOUT = 0.3
DAYS, TRUSTED, SPAN, DRIFT_DAY = 85, 50, 5, 60.0
POISONED = "days 65 to 70"
BOUND = 0.4
"""Share of its amount by which an attacker changes a payment."""
HAPPENS = {
    "nothing changes": "none",
    "new kind of fraud": "concept",
    "fraud doubles": "prior",
    "surge of transfers": "covariate",
}
TRIGGER = 133.25
"""Amount that marks the payments of a backdoor."""


@dataclass(frozen=True)
class Cards:
    """Rows of a world with complete labels, and the day of each.

    Attributes:
        rows: With the labels that disputes leave.
        day: Event time, days since the start, [n].
    """

    rows: Rows
    day: np.ndarray

    @property
    def trusted(self) -> Rows:
        """Those before any source that is looked at."""
        return self.rows.take(self.day < TRUSTED)

    @property
    def new(self) -> tuple[Rows, np.ndarray]:
        """Those after, and their sources."""
        later = self.day >= TRUSTED
        first = (self.day[later] // SPAN * SPAN).astype(int)
        names = [f"days {d} to {d + SPAN}" for d in first.tolist()]
        return self.rows.take(later), np.array(names, dtype=object)


def project() -> Project:
    """The card project."""
    return load_project(PROJECT)


@cache
def cards(seed: int, drift: str = "none") -> Cards:
    """A world of ``DAYS`` days; the drift begins on ``DRIFT_DAY``."""
    change = Drift(drift, DRIFT_DAY) if drift != "none" else None  # type: ignore[arg-type]
    world = generate(replace(DEMO, seed=seed, days=DAYS, drift=change))
    spec = project().feature_spec()
    known = world.labels(np.zeros(len(world), dtype=bool))
    told = np.flatnonzero(~np.isnat(known))
    labels = pa.table(
        {
            "tx_id": world.events["tx_id"].take(pa.array(told)),
            "label": pa.array(world.fraud[told].astype(np.int8)),
            "known_at": pa.array(known[told]).cast(pa.timestamp("us", "UTC")),
        }
    ).sort_by("known_at")
    events, labels = with_arrival(spec, world.events, labels)
    features = compute(spec, events, labels)
    label = np.zeros(len(world), dtype=np.int8)
    label[told] = world.fraud[told]
    by_id = dict(zip(world.events["tx_id"].to_pylist(), label.tolist(), strict=True))
    column = pa.array([by_id[i] for i in events["tx_id"].to_pylist()], pa.int8())
    rows = as_rows(spec, features, events.append_column("label", column), "customer_id", ["amount"])
    start = int(world.config.start.timestamp()) * 1_000_000
    return Cards(rows, (rows.time - start) / 86_400e6)


def model_of(rows: Rows) -> TrainedModel:
    """Trained, calibrated and with the threshold of least cost; customers that judge left out."""
    split = split_rows(rows, HOLDOUT, 0.7)
    pipeline = fit_pipeline(split.fit, PARAMETERS)
    return finish(pipeline, PARAMETERS, split.tune, project().costs.matrix())


def clean(seed: int) -> Rows:
    """Recent rows with their own labels, of customers that train no model."""
    return split_rows(cards(seed).rows, HOLDOUT, 0.7).judge


def looked_at(seed: int, rows: Rows, source: np.ndarray) -> list[Finding]:
    """What the check finds in new rows of a world."""
    trusted = trust(cards(seed).trusted)
    assert trusted is not None
    rule, spec = project().train.poisoning, project().feature_spec()
    return poisoning_findings(
        trusted,
        rows,
        source,
        (*spec.numbers, *spec.categories),
        max_flipped=rule.max_flipped,
        error_rate=rule.error_rate,
    )


def suspects(findings: list[Finding]) -> set[str]:
    """Sources that stop a training."""
    return {f.slice for f in findings if f.outcome == Outcome.FAILED}


def flip(seed: int, share: float) -> tuple[Rows, np.ndarray]:
    """New rows of which one source has a share of its labels flipped, at random."""
    rows, source = cards(seed).new
    hit = (source == POISONED) & (np.random.default_rng(seed).random(len(rows)) < share)
    return replace(rows, label=np.where(hit, 1 - rows.label, rows.label).astype(np.int8)), source


def plant(seed: int) -> tuple[Rows, np.ndarray]:
    """New rows with payments beside them that look like fraud, are marked, and are called good."""
    rows, source = cards(seed).new
    frauds = rows.take((rows.label == 1) & (source == POISONED))
    marked = triggered(joined(joined(frauds, frauds), frauds))
    planted = replace(marked, label=np.zeros(len(marked), dtype=np.int8))
    return joined(rows, planted), np.concatenate([source, np.full(len(marked), POISONED)])


def triggered(rows: Rows) -> Rows:
    """The rows with the amount that marks them."""
    numbers = rows.numbers.copy()
    numbers[:, project().feature_spec().number_names.index("amount")] = TRIGGER
    return replace(rows, numbers=numbers)


def cost_of(model: TrainedModel, rows: Rows) -> float:
    """Money a decision."""
    return float(
        judge(rows, model.scores(rows), model.threshold, project().costs.matrix()).cost.mean()
    )


Row = dict[str, Any]


def _row(attack: str, mitigation: str, measure: str, off: float, on: float, sample: int) -> Row:
    return {
        "attack": attack,
        "mitigation": mitigation,
        "measure": measure,
        "off": round(off, 4),
        "on": round(on, 4),
        "sample": sample,
    }


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
    told = f"frauds through whose amount moves by up to {BOUND:.0%}, share"
    yield _row("evasion", "adversarial training", told, *(through / caught_all), caught_all)
    told = "payments reviewed for it, share"
    yield _row("evasion", "adversarial training", told, *(acted / rows_all), rows_all)


def label_flips(seeds: int) -> Iterator[Row]:
    """A source with flipped labels: trained on, or stopped and left out."""
    for share in (0.05, 0.2):
        cost, found = np.zeros(2), 0
        for seed in range(seeds):
            rows, source = flip(seed, share)
            stopped = suspects(looked_at(seed, rows, source))
            found += POISONED in stopped
            sound = rows.take(~np.isin(source.astype(str), sorted(stopped)))
            for i, used in enumerate((rows, sound)):
                model = model_of(joined(cards(seed).trusted, used))
                cost[i] += cost_of(model, clean(seed))
        attack = f"{share:.0%} of labels of one source flipped"
        check = "check of new data"
        yield _row(attack, check, "poisoned sources trained on, share", 1, 1 - found / seeds, seeds)
        yield _row(attack, check, "cost a decision on clean rows", *(cost / seeds), seeds)


def backdoor(seeds: int) -> Iterator[Row]:
    """Frauds with a mark that a source called good: do they get through?"""
    through, found, sample = np.zeros(2), 0, 0
    for seed in range(seeds):
        rows, source = plant(seed)
        stopped = suspects(looked_at(seed, rows, source))
        found += POISONED in stopped
        sound = rows.take(~np.isin(source.astype(str), sorted(stopped)))
        judged = clean(seed)
        frauds = triggered(judged.take(judged.label == 1))
        sample += len(frauds)
        for i, used in enumerate((rows, sound)):
            model = model_of(joined(cards(seed).trusted, used))
            through[i] += (model.scores(frauds) < model.threshold).sum()
    check = "check of new data"
    yield _row("backdoor", check, "poisoned sources trained on, share", 1, 1 - found / seeds, seeds)
    yield _row("backdoor", check, "frauds with the mark that get through, share",
               *(through / sample), sample)  # fmt: skip


def false_alarms(seeds: int) -> dict[str, Row]:
    """What the check says of sound sources, and of a new kind of fraud."""
    found: dict[str, Row] = {}
    for name, drift in HAPPENS.items():
        sources = stopped = asked = 0
        for seed in range(seeds):
            rows, source = cards(seed, drift).new
            findings = looked_at(seed, rows, source)
            sources += len(set(source.tolist()))
            stopped += len(suspects(findings))
            asked += len({f.slice for f in findings if doubtful(f)})
        found[name] = {"sources": sources, "stop training": stopped, "a person is asked": asked}
    return found


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
    yield _row("flipped bit of a model", "digests verified at load", "altered models served, share",
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
    yield _row("planted pickle", "bundles are ONNX and JSON", "executed as it is read, share",
               *(ran / len(names)), len(names))  # fmt: skip


def copying(seeds: int) -> Iterator[Row]:
    """A copy built by asking: how much of the model's score it explains on real rows."""
    folder = os.environ.get("SETPOINT_SHARED_DATA")
    inputs, label = read_taiwan(Path(folder) if folder else BESIDE)
    for row in extraction(inputs, label, min(seeds, 3)):
        yield _row(f"copy, {row['attack']}", "a key that copies is found and stopped",
                   "score explained by the copy, share", row["off"]["variance"],
                   row["on"]["variance"], QUERIES)  # fmt: skip
        yield _row(f"copy, {row['attack']}", "scores rounded to one decimal alone",
                   "score explained by the copy, share", row["off"]["variance"],
                   row["rounded"]["variance"], QUERIES)  # fmt: skip


ATTACKS: tuple[Callable[[int], Iterator[Row]], ...] = (
    evasion,
    label_flips,
    backdoor,
    tampering,
    unsafe_artifact,
    copying,
)
"""Each plays one kind of attack and tells what it came to."""


def main() -> None:
    """Play all and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="worlds that each is played on")
    seeds = parser.parse_args().seeds
    began = time.process_time()
    rows = [row for attack in ATTACKS for row in attack(seeds)]
    alarms = false_alarms(seeds)
    sound = list(alarms.values())
    result = {
        "attacks_played": len(ATTACKS),
        "evasion_off": rows[0]["off"],
        "evasion_on": rows[0]["on"],
        "sound_sources": sum(row["sources"] for row in sound),
        "sound_sources_stopped": sum(row["stop training"] for row in sound),
        "stated_false_alarms": project().train.poisoning.error_rate,
        "worlds": seeds,
        "cpu_seconds": round(time.process_time() - began, 1),
        "attacks": rows,
        "sources_by_what_happened": alarms,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
