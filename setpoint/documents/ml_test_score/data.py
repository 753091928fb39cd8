"""Seven tests of the data: inputs, their schema, their worth and their privacy."""

from __future__ import annotations

from datetime import datetime

from setpoint.documents.evidence import Evidence
from setpoint.documents.ml_test_score.shown import (
    NOTHING,
    Shown,
    TestCase,
    held,
    released,
    shown_if,
    told_of,
    windows,
)
from setpoint.documents.record import link

USELESS = "useless_inputs"
"""Name of the finding about inputs that carry nothing; its value is their share."""


def _schema(e: Evidence) -> Shown:
    columns = len(e.record.bundle.table.columns)
    return shown_if(
        e.batches > 0, f"schema.json of {columns} columns; {e.batches:,} batches came in"
    )


def _beneficial(e: Evidence) -> Shown:
    """Whether each input carries something, in this version or in another with the same inputs.

    The gate lets a share of the inputs idle. One that decides in one version and rests in the next,
    as what it told of has gone, earns its keep; one that never decided does not.
    """
    shown = held(e.gate(USELESS), e.record.verdict_entry)
    idle = [f for f in e.gate(USELESS) if f.value]
    if not shown.points or not idle:
        return shown
    whole = [entry for entry, f in e.ever(USELESS)
             if f.passed and f.value == 0 and entry.kind == "accepted"
             and entry.subject in e.alike]  # fmt: skip
    if not whole:
        return Shown(0.5, shown.evidence, f"not all are: {idle[0].reason}")
    version = whole[-1].subject.rpartition("/")[2]
    told = f"all carried something in {version} ({link(whole[-1])}), of the same inputs"
    return Shown(1.0, f"{told}; now {idle[0].reason}")


def _meta(e: Evidence) -> Shown:
    spec, rule = e.record.bundle.features, e.record.project.gates.explainability
    banned = {*rule.forbidden, *e.record.project.data.protected}
    used = [n for n in spec.names if spec.sources(n) & banned]
    judged = e.gate("largest_driver", "forbidden_drivers")
    told = (
        f"{len(spec.names)} inputs, none made of {', '.join(sorted(banned)) or 'a banned column'}"
    )
    held = all(f.passed for f in judged) if used else True
    if used:
        told = f"inputs made of a banned column ({', '.join(used)}) are held by the gate"
    return shown_if(bool(judged) and held, f"{told}; {told_of(judged[0])}" if judged else "")


def _privacy(e: Evidence) -> Shown:
    personal = [c.name for c in e.record.bundle.table.columns if c.personal]
    raw = e.record.bundle.features
    used = {*raw.numbers, *raw.categories} & {*personal}
    told = [f for entry in e.record.of("incident_opened")
            for f in entry.evidence.get("findings", []) if f.get("slice") in personal]  # fmt: skip
    shown = bool(personal) and e.batches > 0 and not used and not told
    return shown_if(shown, f"{', '.join(personal)} are marked, no input as they come, and in no "
               "incident of the ledger")  # fmt: skip


def _quick(e: Evidence) -> Shown:
    """Wall time from the record of a training to the last look of its release."""
    same = e.record.bundle.features == e.record.project.feature_spec()
    looks = [x for x in e.record.told("release_step") if "looked_at" in x.evidence["evidence"]]
    if not same or not looks or not e.record.told("promoted"):
        return NOTHING
    last = datetime.fromisoformat(looks[-1].evidence["evidence"]["looked_at"])
    spent, inputs = (last - e.record.run.started).total_seconds(), e.record.bundle.features.names
    return Shown(
        1.0,
        f"{len(inputs)} inputs, all from the project file alone; trained to in service in "
        f"{spent:.0f} s ({link(looks[-1])})",
    )


DATA = (
    TestCase("Feature expectations are captured in a schema", _schema, "batches held to a schema"),
    TestCase("All features are beneficial", _beneficial,
             "a gate that saw each input carry something, in this version or one alike"),
    TestCase("No feature's cost is too much", released("slow_answers"),
             "a release that counted slow answers, all features computed"),
    TestCase("Features adhere to meta-level requirements", _meta,
             "a gate that judged drivers and forbidden columns"),
    TestCase("The data pipeline has appropriate privacy controls", _privacy,
             "columns marked personal that are no input and in no incident"),
    TestCase("New features can be added quickly", _quick,
             "a version in service whose inputs are those of the project file"),
    TestCase("All input feature code is tested", windows("skew"),
             "a window of the version in which served features were computed again"),
)  # fmt: skip
