"""Seven tests of what watches the model that serves."""

from __future__ import annotations

from setpoint.documents.evidence import Evidence
from setpoint.documents.ml_test_score.shown import (
    NOTHING,
    Shown,
    TestCase,
    gate,
    judged,
    released,
    shown_if,
    windows,
)
from setpoint.documents.record import link, moment
from setpoint.domain.outcome import Outcome

DEPENDENCIES = ("*dependenc*", "*sbom*", "*advisor*")
"""Of findings, and kinds of entries, about what the environment holds."""
LOSS = "loss_a_day"
"""Name of the finding of a window about what mistakes cost."""


def _invariants(e: Evidence) -> Shown:
    """Inputs beside their reference: what failed counts where an incident that is open told of it.

    The paper asks for alerts on inputs that leave their range (monitoring 2), not that none does.
    """
    patterns = ("psi", "domain_classifier", "fault")
    told = {(f.name, f.slice): i for i in e.record.incidents if i.is_open for f in i.findings}
    newest = {(f.name, f.slice): f for _, f in e.watched(*patterns) if judged([f])}
    failed = [key for key, f in newest.items() if f.outcome == Outcome.FAILED]
    opened = {x.subject: x for x in e.record.of("incident_opened")}
    by = {told[key].id: None for key in failed if key in told}
    if not failed or not {*failed} <= {*told} or not {*by} <= {*opened}:
        return windows(*patterns)(e)
    names = ", ".join(f"{name} {column}".strip() for name, column in failed)
    where = ", ".join(f"{name} ({link(opened[name])})" for name in by)
    return Shown(
        1.0, f"{len(newest)} judged when last looked at; {names} failed: told of by {where}"
    )


def _dependencies(e: Evidence) -> Shown:
    kinds = {x.kind for x in e.record.entries}
    told = [k for k in kinds if any(word.strip("*") in k for word in DEPENDENCIES)]
    if told:
        return Shown(1.0, f"{sorted(told)[0]} ({link(e.record.of(*told)[-1])})")
    return gate(*DEPENDENCIES)(e)


def _fresh(e: Evidence) -> Shown:
    """Looks reach up to the present without a gap, and a retraining came of one."""
    looks, now, again = e.record.windows, e.now, e.record.of("accepted")[1:]
    if not looks or now is None or now - looks[-1].end > e.record.project.watch.window:
        return NOTHING
    age = now - e.record.bundle.manifest.created_at
    told = f"trained on what was known {age.days} days ago; last look {moment(looks[-1].end)}"
    if e.healed is not None:
        return Shown(1.0, f"{told}; retrained by itself ({link(e.healed[0])})")
    return shown_if(bool(again), f"{told}; trained again ({link(again[-1])})" if again else "", 0.5)


def _stable(e: Evidence) -> Shown:
    found = [(x, f) for x, f in e.released("unsound_scores") if f.value is not None]
    served = e.served
    sound = served is not None and served.sound == served.rows
    shown = bool(found) and all(f.value == 0 for _, f in found) and sound
    rows = 0 if served is None else served.rows
    if not shown:
        return NOTHING
    steps = f"{len(found)} release steps ({link(found[-1][0])})"
    return Shown(1.0, f"no unsound score in {steps} nor in the {rows:,} newest decisions")


def _quality(e: Evidence) -> Shown:
    """Setpoints by labels of the rows it served; the watch must be able to see a regression."""
    return windows(*e.record.project.setpoints, LOSS)(e)


MONITORING = (
    TestCase("Dependency changes result in notification", _dependencies,
             "an entry or a finding about dependencies"),
    TestCase("Data invariants hold for inputs", _invariants,
             "a window of the version in which inputs were held against their reference, and an "
             "incident about each that failed"),
    TestCase("Training and serving are not skewed", windows("skew"),
             "a window of the version in which served features were computed again"),
    TestCase("Models are not too stale", _fresh,
             "looks that go on, and an incident that led to a retraining"),
    TestCase("Models are numerically stable", _stable,
             "release steps and decisions without an unsound score"),
    TestCase("Computing performance has not regressed", released("slow_answers", "image_p99_ms"),
             "a release that timed answers"),
    TestCase("Prediction quality has not regressed on served data", _quality,
             "a window of the version in which a setpoint was judged by labels and held"),
)  # fmt: skip
