"""Seven tests of the model: its making, its staleness, and for whom it is good."""

from __future__ import annotations

from setpoint.documents.evidence import SEARCHED, Evidence
from setpoint.documents.ml_test_score.shown import (
    NOTHING,
    Shown,
    TestCase,
    gate,
    held,
    shown_if,
    told_of,
)
from setpoint.documents.record import link, moment
from setpoint.domain.approval import POLICY
from setpoint.domain.gates.slices import NAME as SLICES
from setpoint.domain.outcome import Finding
from setpoint.stages.review import review_of

SIMPLER = ("*baseline*", "*simpler*")
"""Names of findings that compare with a simpler model."""


def _reviewed(e: Evidence) -> Shown:
    """Code and project file that were handed in, and a person who read or let them pass."""
    commit, approved = e.record.bundle.manifest.commit, e.record.told("approved")
    kept = any(p.startswith("project/") for p in e.record.artifacts)
    if "dirty" in commit:
        return Shown(0.0, "", f"commit {commit[:16]} had changes that were not committed")
    if not kept or not approved:
        return NOTHING
    told = f"commit {commit[:16]} and project file kept with the run"
    judged = e.record.verdict_entry
    last = 0 if judged is None else judged.seq
    before = [x for x in e.record.entries if x.seq < last and x.seq not in e.void]
    read = review_of(before, e.record.project_digest)
    if read is not None:
        return Shown(1.0, f"{told}, the file read by a person first ({link(read)})")
    people = [x for x in approved if x.evidence.get("by") not in (None, POLICY)]
    if not people:
        return Shown(0.5, told, f"only the policy approved ({link(approved[-1])}), and it is no "
                     "reviewer: 'setpoint review'")  # fmt: skip
    return Shown(1.0, f"{told}, approved by a person ({link(people[-1])})")


def _correlates(e: Evidence) -> Shown:
    """The newest window by labels of each version beside what its gates had measured."""
    names = set(e.record.project.setpoints)
    for entry in reversed(e.record.of("accepted")):
        version = entry.subject.rpartition("/")[2]
        offline = {f["name"]: f for f in entry.evidence["verdict"]["findings"] if not f["slice"]}
        for window in e.record.windows:
            pairs = [(offline[f.name], f) for f in window.findings
                     if window.version == version and f.value is not None and f.interval
                     and f.name in names and f.name in offline]  # fmt: skip
            if pairs:
                return _agree(version, moment(window.end), pairs)
    return NOTHING


def _agree(version: str, when: str, pairs: list[tuple[dict[str, object], Finding]]) -> Shown:
    met = []
    for offline, served in pairs:
        bounds = offline.get("interval")
        low, high = served.interval or (0.0, 0.0)
        if isinstance(bounds, list) and float(bounds[0]) <= high and low <= float(bounds[1]):
            met.append(served.name)
    told = (
        f"{len(met)} of {len(pairs)} setpoints of {version} have overlapping bounds before service "
        f"and in it (window that ends {when})"
    )
    return shown_if(2 * len(met) > len(pairs), told)


def _tuned(e: Evidence) -> Shown:
    """The search as its file tells it, held against what the bundle's digest covers."""
    if e.search_fault:
        return Shown(0.0, "", e.search_fault)
    return shown_if(e.trials > 1, f"{SEARCHED.format(e.trials)}, MLflow run {e.record.run.id}")


def _staleness(e: Evidence) -> Shown:
    found = [(w, f) for w, f in e.ever("saves_against_champion") if f.value is not None]
    if not found:
        return NOTHING
    entry, last = found[-1]
    cost = "what staying with the older model costs"
    return Shown(1.0, f"{told_of(last)}: {cost} ({link(entry)})")


def _slices(e: Evidence) -> Shown:
    """Findings of the slices gate alone: a protected group or a missing field is no slice."""
    return held(e.gate(SLICES), e.record.verdict_entry)


MODEL = (
    TestCase("Model specs are reviewed and submitted", _reviewed,
             "committed code, and a person who reviewed the project file first, or approved"),
    TestCase("Offline and online metrics correlate", _correlates,
             "a window judged by labels that agrees with the gates' bounds"),
    TestCase("All hyperparameters have been tuned", _tuned, "a recorded search of several trials"),
    TestCase("The impact of model staleness is known", _staleness,
             "a challenger compared with an older champion on the same rows"),
    TestCase("A simpler model is not better", gate(*SIMPLER),
             "a gate finding that compares with a simpler model"),
    TestCase("Model quality is sufficient on important data slices", _slices,
             "a measured finding of the slices gate (gates.slices.columns)"),
    TestCase("The model is tested for considerations of inclusion", gate("fairness*"),
             "a gate finding about protected groups"),
)  # fmt: skip
