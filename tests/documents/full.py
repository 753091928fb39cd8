"""Evidence of a loop that did all that is asked for, and ways to take a piece of it away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from setpoint.documents.evidence import Evidence, Served
from setpoint.documents.record import Record
from setpoint.domain.bundle import Bundle
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.ledger import Entry
from setpoint.domain.ledger import link as chained
from setpoint.domain.outcome import Finding, Outcome, Verdict
from setpoint.domain.windows import WindowRecord
from setpoint.ports import Decision
from setpoint.stages.replay import Part, Replayed
from tests.documents.conftest import Made
from tests.stages.small import T0

JUDGED = ("ranking", "saves_against_champion", "fairness_sex", "explanation_additivity",
          "largest_driver", "useless_inputs", "simpler_model", "costs_more_in_slice", "rebuild",
          "dependencies")  # fmt: skip
WATCHED = ("ranking", "loss_a_day", "skew", "psi")
STEP = ("failed_answers", "restarts", "slow_answers", "unsound_scores")


def passed(name: str, value: float = 0.0) -> Finding:
    """A measured finding."""
    return Finding(name, Outcome.PASSED, value, 1.0, "ceiling", 300, 0.01, "holds", (-0.1, 0.1))


@dataclass(frozen=True)
class Told:
    """One entry of the story, before it is chained."""

    kind: str
    subject: str
    evidence: Mapping[str, Any]


def _verdict(*names: str) -> dict[str, Any]:
    return Verdict(tuple(passed(name) for name in names)).to_dict()


def story() -> list[Told]:
    """``v0`` served, drift hurt, ``v1`` was trained for it, released and promoted."""
    look = {"looked_at": (T0 + timedelta(minutes=1)).isoformat()}
    step = {"stage": "canary 25 %", "evidence": _verdict(*STEP) | look}
    return [
        Told("accepted", "small/v0", {"cause": "first", "verdict": _verdict("ranking")}),
        Told("promoted", "small/v0", {"stage": "promoted", "evidence": {}}),
        Told("rolled_back", "small/v5", {"stage": "rolled_back", "evidence": {}}),
        Told("incident_opened", "small-1", {"cause": "performance", "findings": []}),
        Told("accepted", "small/v1", {"cause": "small-1", "verdict": _verdict(*JUDGED)}),
        Told("packaged", "small/v1", {"runtime": "process"}),
        Told("approved", "small/v1", {"by": "ada"}),
        Told("release_started", "small/v1", {"stage": "pending", "evidence": {}}),
        Told("release_step", "small/v1", step),
        Told("promoted", "small/v1", {"stage": "promoted", "evidence": {}}),
    ]


def chain(told: list[Told]) -> tuple[Entry, ...]:
    """The story as a ledger."""
    entries: list[Entry] = []
    for one in told:
        last = entries[-1] if entries else None
        entries.append(chained(last, T0.isoformat(), one.kind, one.subject, dict(one.evidence)))
    return tuple(entries)


def _bundle(bundle: Bundle) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, commit="c" * 40))


def full(made: Made, told: list[Told] | None = None) -> Evidence:
    """Evidence for every test and the highest level."""
    record: Record = made.record
    window = WindowRecord(T0, "v1", tuple(passed(name) for name in WATCHED))
    incident = Incident(
        "small-1", Cause.PERFORMANCE, Severity.HIGH, Status.RESOLVED, T0, "v0", (), closed_at=T0
    )
    metrics = dict(record.run.metrics) | {"onnx_parity": 1e-7}
    decision = Decision("d1", T0, {}, {}, 0.5, 0.4, "review", ("x",), "v1", "0" * 64)
    return Evidence(
        record=replace(
            record,
            entries=chain(story() if told is None else told),
            windows=(window,),
            incidents=(incident,),
            bundle=_bundle(record.bundle),
            run=replace(record.run, metrics=metrics),
            artifacts=("project/setpoint.yaml", "search/search.json"),
        ),
        now=T0 + timedelta(days=1),
        trials=4,
        batches=2,
        served=Served(10, 10, 3, 3, T0, Replayed(decision, (Part("score", True, ""),))),
    )


Change = Callable[[Made], Evidence]


def without_kind(kind: str, subject: str = "") -> Change:
    """The same loop without entries of a kind."""
    return lambda made: full(
        made, [t for t in story() if t.kind != kind or subject not in t.subject]
    )


def without_finding(name: str) -> Change:
    """The same loop in whose ledger nobody measured something."""

    def change(made: Made) -> Evidence:
        told = []
        for one in story():
            evidence = dict(one.evidence)
            for key in ("verdict", "evidence"):
                if evidence.get(key):
                    kept = [f for f in evidence[key]["findings"] if f["name"] != name]
                    evidence[key] = {**evidence[key], "findings": kept}
            told.append(replace(one, evidence=evidence))
        return full(made, told)

    return change


def restaged(stage: str) -> Change:
    """The same loop whose release was walked otherwise."""
    return lambda made: full(
        made,
        [
            replace(t, evidence={**t.evidence, "stage": stage}) if t.kind == "release_step" else t
            for t in story()
        ],
    )


def unwatched(name: str) -> Change:
    """The same loop whose windows could not measure something."""

    def change(made: Made) -> Evidence:
        found = full(made)
        window = found.record.windows[0]
        blind = tuple(
            replace(f, value=None, outcome=Outcome.INCONCLUSIVE) if f.name == name else f
            for f in window.findings
        )
        windows = (replace(window, findings=blind),)
        return replace(found, record=replace(found.record, windows=windows))

    return change


def recorded(**changes: Any) -> Change:
    """The same loop with another record."""

    def change(made: Made) -> Evidence:
        found = full(made)
        return replace(found, record=replace(found.record, **changes))

    return change


def left(**changes: Any) -> Change:
    """The same loop that left something else."""
    return lambda made: replace(full(made), **changes)
