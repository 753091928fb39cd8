"""The 28 tests of Breck et al. 2017, "The ML Test Score", each read off the evidence.

A test that ran by itself in the last runs gives 1, one that a person did 0.5, all else 0: a
declaration alone gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from setpoint.documents.evidence import Evidence
from setpoint.documents.record import evidence_findings, link, moment, number
from setpoint.domain.ledger import Entry
from setpoint.domain.outcome import Finding

FEATURE_VALUE = ("feature_value*", "useless_*", "*ablation*")
"""Names of findings that say what each input is worth."""
SIMPLER = ("*baseline*", "*simpler*")
"""Of those that compare with a simpler model."""
REBUILT = ("*rebuild*", "*rebuilt*")
"""Of those that train the model again and compare its digest."""
DEPENDENCIES = ("*dependenc*", "*sbom*", "*advisor*")
"""Of findings, and kinds of entries, about what the environment holds."""
MEASURES = ("slice*", "worst_slice*", "*_slice")
"""Of those about slices of the rows."""


@dataclass(frozen=True)
class Shown:
    """What a test found.

    Attributes:
        points: 0, 0.5 or 1.
        evidence: What shows it; empty for 0.
    """

    points: float
    evidence: str


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


def _findings(found: list[Finding], where: Entry | None) -> Shown:
    """Measured findings of a verdict, the first of them in words."""
    known = [f for f in found if f.value is not None]
    if not known or where is None:
        return NOTHING
    more = f" and {len(known) - 1} more" if len(known) > 1 else ""
    return Shown(1.0, f"{_told(known[0])}{more} ({link(where)})")


def _gate(*patterns: str) -> Callable[[Evidence], Shown]:
    return lambda e: _findings(e.gate(*patterns), e.record.verdict_entry)


def _windows(*patterns: str) -> Callable[[Evidence], Shown]:
    def look(evidence: Evidence) -> Shown:
        found = evidence.watched(*patterns)
        return _if(bool(found), f"{_told(found[-1])}; measured {len(found):,} times"
                   if found else "")  # fmt: skip

    return look


def _release(*patterns: str) -> Callable[[Evidence], Shown]:
    def look(evidence: Evidence) -> Shown:
        found = [(e, f) for e, f in evidence.released(*patterns) if f.value is not None]
        return _if(bool(found), f"{_told(found[-1][1])}, {len(found)} times in its release "
                   f"({link(found[-1][0])})" if found else "")  # fmt: skip

    return look


# data


def _schema(e: Evidence) -> Shown:
    columns = len(e.record.bundle.table.columns)
    return _if(e.batches > 0, f"schema.json of {columns} columns; {e.batches:,} batches came in")


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
    commit, approved = e.record.bundle.manifest.commit, e.record.told("approved")
    kept = any(p.startswith("project/") for p in e.record.artifacts)
    if "dirty" in commit or not kept or not approved:
        return NOTHING
    told = f"commit {commit[:16]} and project file kept with the run"
    return Shown(1.0, f"{told}, approved ({link(approved[-1])})")


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
    return _if(e.trials > 1, f"{e.trials} parameter sets tried (search/search.json, MLflow run "
               f"{e.record.run.id})")  # fmt: skip


def _staleness(e: Evidence) -> Shown:
    found = [(w, f) for w, f in e.ever("saves_against_champion") if f.value is not None]
    return _if(bool(found), f"{_told(found[-1][1])}: what staying with the older model costs "
               f"({link(found[-1][0])})" if found else "")  # fmt: skip


def _slices(e: Evidence) -> Shown:
    protected = set(e.record.project.data.protected)
    found = [f for f in e.record.findings if f.slice and f.slice not in protected]
    return _findings(list(dict.fromkeys([*e.gate(*MEASURES), *found])), e.record.verdict_entry)


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
    return _windows(*e.record.project.setpoints, "loss_a_day")(e)


DATA = (
    TestCase("Feature expectations are captured in a schema", _schema, "batches held to a schema"),
    TestCase("All features are beneficial", _gate(*FEATURE_VALUE),
             "a gate finding that says what each input is worth"),
    TestCase("No feature's cost is too much", _release("slow_answers"),
             "a release that counted slow answers, all features computed"),
    TestCase("Features adhere to meta-level requirements", _meta,
             "a gate that judged drivers and forbidden columns"),
    TestCase("The data pipeline has appropriate privacy controls", _privacy,
             "columns marked personal that are no input and in no incident"),
    TestCase("New features can be added quickly", _quick,
             "a version in service whose inputs are those of the project file"),
    TestCase("All input feature code is tested", _skew,
             "a window in which served features were computed again"),
)  # fmt: skip
MODEL = (
    TestCase("Model specs are reviewed and submitted", _reviewed,
             "committed code, and an approval in the ledger"),
    TestCase("Offline and online metrics correlate", _correlates,
             "a window judged by labels that agrees with the gates' bounds"),
    TestCase("All hyperparameters have been tuned", _tuned, "a recorded search of several trials"),
    TestCase("The impact of model staleness is known", _staleness,
             "a challenger compared with an older champion on the same rows"),
    TestCase("A simpler model is not better", _gate(*SIMPLER),
             "a gate finding that compares with a simpler model"),
    TestCase("Model quality is sufficient on important data slices", _slices,
             "a gate finding about a slice of the rows"),
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
             "a window in which inputs were held against their reference"),
    TestCase("Training and serving are not skewed", _skew,
             "a window in which served features were computed again"),
    TestCase("Models are not too stale", _fresh,
             "looks that go on, and an incident that led to a retraining"),
    TestCase("Models are numerically stable", _stable,
             "release steps and decisions without an unsound score"),
    TestCase("Computing performance has not regressed", _release("slow_answers", "image_p99_ms"),
             "a release that timed answers"),
    TestCase("Prediction quality has not regressed on served data", _quality,
             "a window in which a setpoint was judged by labels"),
)  # fmt: skip
SECTIONS = {
    "data": DATA,
    "model": MODEL,
    "infrastructure": INFRASTRUCTURE,
    "monitoring": MONITORING,
}
"""Seven tests each."""
