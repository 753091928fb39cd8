"""The 28 tests of Breck et al. 2017, "The ML Test Score", each read off the evidence.

A test that ran by itself in the last runs and held gives 1; one that a person did, or that held in
part, 0.5; all else 0: a declaration alone gives nothing, and neither does a finding that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from setpoint.documents.evidence import SEARCHED, Evidence
from setpoint.documents.record import evidence_findings, link, moment, number
from setpoint.domain.approval import POLICY
from setpoint.domain.gates.slices import NAME as SLICES
from setpoint.domain.ledger import Entry
from setpoint.domain.outcome import Finding, Outcome

USELESS = "useless_inputs"
"""Name of the finding about inputs that carry nothing; its value is their share."""
SIMPLER = ("*baseline*", "*simpler*")
"""Names of findings that compare with a simpler model."""
REBUILT = ("*rebuild*", "*rebuilt*")
"""Of those that train the model again and compare its digest."""
DEPENDENCIES = ("*dependenc*", "*sbom*", "*advisor*")
"""Of findings, and kinds of entries, about what the environment holds."""
LOSS = "loss_a_day"
"""Name of the finding of a window about what mistakes cost."""


@dataclass(frozen=True)
class Shown:
    """What a test found.

    Attributes:
        points: 0, 0.5 or 1.
        evidence: What shows it; empty for 0.
        fault: What speaks against it; empty where there is only nothing to show.
    """

    points: float
    evidence: str
    fault: str = ""


@dataclass(frozen=True)
class TestCase:
    """One test.

    Attributes:
        name: As the paper has it.
        look: Reads it off the evidence.
        missing: What would show it as automated.
    """

    __test__ = False  # not one of pytest's

    name: str
    look: Callable[[Evidence], Shown]
    missing: str


NOTHING = Shown(0.0, "")


def _if(shown: bool, evidence: str, points: float = 1.0) -> Shown:
    return Shown(points, evidence) if shown else NOTHING


def _told(finding: Finding) -> str:
    setpoint = number(finding.setpoint)
    held = f" against {setpoint}" if setpoint else ""
    return f"{finding.label} {number(finding.value)}{held}, {finding.sample:,} rows"


def _judged(found: Iterable[Finding]) -> list[Finding]:
    """Measured, and held or broken: what could not be decided is no evidence."""
    sure = (Outcome.PASSED, Outcome.FAILED)
    return [f for f in found if f.value is not None and f.outcome in sure]


def _broken(found: Iterable[Finding], where: str) -> Shown | None:
    """No points where one of them failed, and which."""
    told = "; ".join(_told(f) for f in found if f.outcome == Outcome.FAILED)
    return Shown(0.0, "", f"failed: {told} ({where})") if told else None


def _findings(found: list[Finding], where: Entry | None) -> Shown:
    """Findings of a verdict, none of which failed, the first of them in words."""
    known = _judged(found)
    if not known or where is None:
        return NOTHING
    more = f" and {len(known) - 1} more" if len(known) > 1 else ""
    shown = Shown(1.0, f"{_told(known[0])}{more} ({link(where)})")
    return _broken(known, link(where)) or shown


def _gate(*patterns: str) -> Callable[[Evidence], Shown]:
    return lambda e: _findings(e.gate(*patterns), e.record.verdict_entry)


def _windows(*patterns: str) -> Callable[[Evidence], Shown]:
    """The newest of each finding in windows of the version itself, none of which failed."""

    def look(e: Evidence) -> Shown:
        seen = [(w, f) for w, f in e.watched(*patterns) if _judged([f])]
        newest = {f.label: (w, f) for w, f in seen}
        if not newest:
            whose = f"{len(e.record.watched)} windows of {e.record.version} so far"
            told = f"{', '.join(patterns)}: judged in none of {whose}"
            return Shown(0.0, "", told if e.record.watched else "")
        bad = [_broken([f], f"window that ends {moment(w.end)}") for w, f in newest.values()]
        window, last = list(newest.values())[-1]
        held = f"{_told(last)} in the window of {e.record.version} that ends {moment(window.end)}"
        more = f"none of {len(newest)} failed when last judged" if len(newest) > 1 else "it held"
        told = f"{held}; {more}; judged {len(seen):,} times in its windows"
        return next((b for b in bad if b), None) or Shown(1.0, told)

    return look


def _release(*patterns: str) -> Callable[[Evidence], Shown]:
    def look(e: Evidence) -> Shown:
        found = [(x, f) for x, f in e.released(*patterns) if _judged([f])]
        if not found:
            return NOTHING
        entry, last = found[-1]
        told = f"{_told(last)}, {len(found)} times in its release ({link(entry)})"
        return _broken([last], link(entry)) or Shown(1.0, told)

    return look


# data


def _schema(e: Evidence) -> Shown:
    columns = len(e.record.bundle.table.columns)
    return _if(e.batches > 0, f"schema.json of {columns} columns; {e.batches:,} batches came in")


def _beneficial(e: Evidence) -> Shown:
    """Whether each input carries something: the check must have passed, and found none that idles.

    The gate lets a share of the inputs idle; those it names are not beneficial.
    """
    shown = _findings(e.gate(USELESS), e.record.verdict_entry)
    idle = [f for f in e.gate(USELESS) if f.value]
    if not shown.points or not idle:
        return shown
    return Shown(0.5, shown.evidence, f"not all are: {idle[0].reason}")


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
    return _if(bool(judged) and held, f"{told}; {_told(judged[0])}" if judged else "")


def _privacy(e: Evidence) -> Shown:
    personal = [c.name for c in e.record.bundle.table.columns if c.personal]
    raw = e.record.bundle.features
    used = {*raw.numbers, *raw.categories} & {*personal}
    told = [f for entry in e.record.of("incident_opened")
            for f in entry.evidence.get("findings", []) if f.get("slice") in personal]  # fmt: skip
    shown = bool(personal) and e.batches > 0 and not used and not told
    return _if(shown, f"{', '.join(personal)} are marked, no input as they come, and in no "
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


# model


def _reviewed(e: Evidence) -> Shown:
    """Code and project file that were handed in, and a person who let them pass."""
    commit, approved = e.record.bundle.manifest.commit, e.record.told("approved")
    kept = any(p.startswith("project/") for p in e.record.artifacts)
    if "dirty" in commit:
        return Shown(0.0, "", f"commit {commit[:16]} had changes that were not committed")
    if not kept or not approved:
        return NOTHING
    told = f"commit {commit[:16]} and project file kept with the run"
    people = [x for x in approved if x.evidence.get("by") not in (None, POLICY)]
    if not people:
        return Shown(0.5, told, f"only the policy approved ({link(approved[-1])}), and it is no "
                     "reviewer: a person's approval")  # fmt: skip
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
    for gate, served in pairs:
        bounds = gate.get("interval")
        low, high = served.interval or (0.0, 0.0)
        if isinstance(bounds, list) and float(bounds[0]) <= high and low <= float(bounds[1]):
            met.append(served.name)
    told = (
        f"{len(met)} of {len(pairs)} setpoints of {version} have overlapping bounds before service "
        f"and in it (window that ends {when})"
    )
    return _if(2 * len(met) > len(pairs), told)


def _tuned(e: Evidence) -> Shown:
    """The search as its file tells it, held against what the bundle's digest covers."""
    if e.search_fault:
        return Shown(0.0, "", e.search_fault)
    return _if(e.trials > 1, f"{SEARCHED.format(e.trials)}, MLflow run {e.record.run.id}")


def _staleness(e: Evidence) -> Shown:
    found = [(w, f) for w, f in e.ever("saves_against_champion") if f.value is not None]
    return _if(bool(found), f"{_told(found[-1][1])}: what staying with the older model costs "
               f"({link(found[-1][0])})" if found else "")  # fmt: skip


def _slices(e: Evidence) -> Shown:
    """Findings of the slices gate alone: a protected group or a missing field is no slice."""
    return _findings(e.gate(SLICES), e.record.verdict_entry)


# infrastructure


def _reproducible(e: Evidence) -> Shown:
    found = _findings([f for f in e.gate(*REBUILT) if f.passed], e.record.verdict_entry)
    told = [x for x in e.record.told("rebuilt") if x.evidence.get("equal") is True]
    if found.points or not told:
        return found
    return Shown(0.5, f"rebuilt to the same digest by a person ({link(told[-1])})")


def _specified(e: Evidence) -> Shown:
    parity = e.record.run.metrics.get("onnx_parity")
    sane = [f for f in e.gate("explanation_additivity") if f.passed]
    return _if(parity is not None and bool(sane), f"export against pipeline {number(parity)} "
               f"(MLflow run {e.record.run.id}), {_told(sane[0])}" if sane else "")  # fmt: skip


def _integrated(e: Evidence) -> Shown:
    chain = [e.record.told(k) for k in ("accepted", "packaged", "release_started", "promoted")]
    if not all(chain):
        return NOTHING
    seqs = [found[-1].seq for found in chain]
    return _if(seqs == sorted(seqs), f"{e.record.version} from {e.batches:,} batches to service: "
               + ", ".join(link(found[-1]) for found in chain))  # fmt: skip


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
    return _if(bool(steps), f"{told} ({link(steps[-1])})" if steps else "")


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


# monitoring


def _dependencies(e: Evidence) -> Shown:
    kinds = {x.kind for x in e.record.entries}
    told = [k for k in kinds if any(word.strip("*") in k for word in DEPENDENCIES)]
    if told:
        return Shown(1.0, f"{sorted(told)[0]} ({link(e.record.of(*told)[-1])})")
    return _gate(*DEPENDENCIES)(e)


def _skew(e: Evidence) -> Shown:
    return _windows("skew")(e)


def _fresh(e: Evidence) -> Shown:
    """Looks reach up to the present without a gap, and a retraining came of one."""
    windows, now, again = e.record.windows, e.now, e.record.of("accepted")[1:]
    if not windows or now is None or now - windows[-1].end > e.record.project.watch.window:
        return NOTHING
    age = now - e.record.bundle.manifest.created_at
    told = f"trained on what was known {age.days} days ago; last look {moment(windows[-1].end)}"
    if e.healed is not None:
        return Shown(1.0, f"{told}; retrained by itself ({link(e.healed[0])})")
    return _if(bool(again), f"{told}; trained again ({link(again[-1])})" if again else "", 0.5)


def _stable(e: Evidence) -> Shown:
    found = [(x, f) for x, f in e.released("unsound_scores") if f.value is not None]
    served = e.served
    sound = served is not None and served.sound == served.rows
    shown = bool(found) and all(f.value == 0 for _, f in found) and sound
    rows = 0 if served is None else served.rows
    return _if(shown, f"no unsound score in {len(found)} release steps ({link(found[-1][0])}) nor "
               f"in the {rows:,} newest decisions" if found else "")  # fmt: skip


def _quality(e: Evidence) -> Shown:
    """Setpoints by labels of the rows it served; the watch must be able to see a regression."""
    return _windows(*e.record.project.setpoints, LOSS)(e)


DATA = (
    TestCase("Feature expectations are captured in a schema", _schema, "batches held to a schema"),
    TestCase("All features are beneficial", _beneficial,
             "a gate that looked for inputs that carry nothing, and found none"),
    TestCase("No feature's cost is too much", _release("slow_answers"),
             "a release that counted slow answers, all features computed"),
    TestCase("Features adhere to meta-level requirements", _meta,
             "a gate that judged drivers and forbidden columns"),
    TestCase("The data pipeline has appropriate privacy controls", _privacy,
             "columns marked personal that are no input and in no incident"),
    TestCase("New features can be added quickly", _quick,
             "a version in service whose inputs are those of the project file"),
    TestCase("All input feature code is tested", _skew,
             "a window of the version in which served features were computed again"),
)  # fmt: skip
MODEL = (
    TestCase("Model specs are reviewed and submitted", _reviewed,
             "committed code, and a person's approval in the ledger"),
    TestCase("Offline and online metrics correlate", _correlates,
             "a window judged by labels that agrees with the gates' bounds"),
    TestCase("All hyperparameters have been tuned", _tuned, "a recorded search of several trials"),
    TestCase("The impact of model staleness is known", _staleness,
             "a challenger compared with an older champion on the same rows"),
    TestCase("A simpler model is not better", _gate(*SIMPLER),
             "a gate finding that compares with a simpler model"),
    TestCase("Model quality is sufficient on important data slices", _slices,
             "a measured finding of the slices gate (gates.slices.columns)"),
    TestCase("The model is tested for considerations of inclusion", _gate("fairness*"),
             "a gate finding about protected groups"),
)  # fmt: skip
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
MONITORING = (
    TestCase("Dependency changes result in notification", _dependencies,
             "an entry or a finding about dependencies"),
    TestCase("Data invariants hold for inputs", _windows("psi", "domain_classifier", "fault"),
             "a window of the version in which inputs were held against their reference"),
    TestCase("Training and serving are not skewed", _skew,
             "a window of the version in which served features were computed again"),
    TestCase("Models are not too stale", _fresh,
             "looks that go on, and an incident that led to a retraining"),
    TestCase("Models are numerically stable", _stable,
             "release steps and decisions without an unsound score"),
    TestCase("Computing performance has not regressed", _release("slow_answers", "image_p99_ms"),
             "a release that timed answers"),
    TestCase("Prediction quality has not regressed on served data", _quality,
             "a window of the version in which a setpoint was judged by labels and held"),
)  # fmt: skip
SECTIONS = {
    "data": DATA,
    "model": MODEL,
    "infrastructure": INFRASTRUCTURE,
    "monitoring": MONITORING,
}
"""Seven tests each."""
