"""Seven tests of the way from data to service."""

from __future__ import annotations

from setpoint.documents.evidence import Evidence
from setpoint.documents.ml_test_score.shown import (
    NOTHING,
    Shown,
    TestCase,
    held,
    shown_if,
    told_of,
)
from setpoint.documents.record import evidence_findings, link, number

REBUILT = ("*rebuild*", "*rebuilt*")
"""Of those that train the model again and compare its digest."""


def _reproducible(e: Evidence) -> Shown:
    found = held([f for f in e.gate(*REBUILT) if f.passed], e.record.verdict_entry)
    told = [x for x in e.record.told("rebuilt") if x.evidence.get("equal") is True]
    if found.points or not told:
        return found
    return Shown(0.5, f"rebuilt to the same digest by a person ({link(told[-1])})")


def _specified(e: Evidence) -> Shown:
    parity = e.record.run.metrics.get("onnx_parity")
    sane = [f for f in e.gate("explanation_additivity") if f.passed]
    if parity is None or not sane:
        return NOTHING
    agreed = f"export against pipeline {number(parity)} (MLflow run {e.record.run.id})"
    return Shown(1.0, f"{agreed}, {told_of(sane[0])}")


def _integrated(e: Evidence) -> Shown:
    chain = [e.record.told(k) for k in ("accepted", "packaged", "release_started", "promoted")]
    if not all(chain):
        return NOTHING
    last = [found[-1] for found in chain]
    way = ", ".join(map(link, last))
    told = f"{e.record.version} from {e.batches:,} batches to service: {way}"
    return shown_if(last == sorted(last, key=lambda one: one.seq), told)


def _validated(e: Evidence) -> Shown:
    promoted = e.record.of("promoted")
    accepted = {a.subject: a.seq for a in e.record.of("accepted")}
    held = [p for p in promoted if accepted.get(p.subject, p.seq) < p.seq]
    if not promoted or len(held) < len(promoted):
        return NOTHING
    told = f"each of {len(promoted)} promotions follows an accepted verdict"
    return Shown(1.0, f"{told} (last {link(promoted[-1])})")


def _debuggable(e: Evidence) -> Shown:
    served = e.served
    if served is None or not served.replayed.equal or served.explained < served.adverse:
        return NOTHING
    return Shown(1.0, f"all {served.adverse:,} adverse decisions carry reasons; decision "
                 f"{served.replayed.decision.id} computed again is equal bit for bit")  # fmt: skip


def _canaried(e: Evidence) -> Shown:
    steps = [s for s in e.record.told("release_step")
             if str(s.evidence.get("stage", "")).startswith(("shadow", "canary", "ab", "bandit"))
             and evidence_findings(s)]  # fmt: skip
    told = ", ".join(str(s.evidence["stage"]) for s in steps)
    return shown_if(bool(steps), f"{told} ({link(steps[-1])})" if steps else "")


def _rolled_back(e: Evidence) -> Shown:
    done = e.record.of("rolled_back", "roll_back")
    asked = {x.subject for x in e.record.of("release_answered")}
    alone = [x for x in done if x.subject not in asked]
    if not done:
        return NOTHING
    last = (alone or done)[-1]
    by = "" if alone else "a person had it done: "
    told = f"{by}{last.kind.replace('_', ' ')} of {last.subject} ({link(last)})"
    return Shown(1.0 if alone else 0.5, told)


INFRASTRUCTURE = (
    TestCase("Training is reproducible", _reproducible,
             "a rebuild from the record with the same digest"),
    TestCase("Model specs are unit tested", _specified,
             "an export and an explanation that agree with the trained model"),
    TestCase("The ML pipeline is integration tested", _integrated,
             "a version that went from data to service"),
    TestCase("Model quality is validated before serving", _validated,
             "promotions that all follow an accepted verdict"),
    TestCase("The model is debuggable", _debuggable,
             "decisions with reasons, and one that comes out equal when computed again"),
    TestCase("Models are canaried before serving", _canaried,
             "a release with a judged shadow or canary step"),
    TestCase("Serving models can be rolled back", _rolled_back, "a rollback in the ledger"),
)  # fmt: skip
