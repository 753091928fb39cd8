"""The model card: the nine sections of Mitchell et al. 2019, "Model Cards for Model Reporting"."""

from __future__ import annotations

from setpoint.adapters.onnx_export import operators
from setpoint.documents.markup import Block, Document, Part, Picture, Text, facts, table
from setpoint.documents.record import Record, evidence_findings, link, moment, number
from setpoint.documents.tier import tier_of
from setpoint.documents.words import (
    cost_rows,
    findings_table,
    judged,
    setpoint_rows,
    verdict_line,
    written,
)
from setpoint.domain.features import duration_label
from setpoint.domain.gates.slices import NAME as SLICES
from setpoint.domain.windows import WindowRecord
from setpoint.stages.gates.pictures import DRIVERS, VERDICT
from setpoint.stages.publish import PLOTS

SECTIONS = (
    "Model Details",
    "Intended Use",
    "Factors",
    "Metrics",
    "Evaluation Data",
    "Training Data",
    "Quantitative Analyses",
    "Ethical Considerations",
    "Caveats and Recommendations",
)
"""Section 4 of the paper, in its order."""

_TRAINED = ("rows_fit", "rows_tune")
_COUNTED = ("rows_judged", "threshold", "onnx_parity")
"""Metrics of the run that are no measure of quality."""


def model_card(record: Record) -> Document:
    """The model card of a version."""
    made = (
        _details(record),
        _use(record),
        _factors(record),
        _metrics(record),
        _evaluation(record),
        _training(record),
        _analyses(record),
        _ethics(record),
        _caveats(record),
    )
    parts = tuple(Part(title, tuple(blocks)) for title, blocks in zip(SECTIONS, made, strict=True))
    title = f"Model card: {record.project.name} {record.version}"
    about = f"Made of the record up to {record.head}. {record.declared}"
    return Document("model-card", title, about, parts)


def _details(record: Record) -> list[Block]:
    project, manifest = record.project, record.bundle.manifest
    chosen = ", ".join(f"{n} {v}" for n, v in sorted(manifest.parameters.items()))
    return [
        facts(
            (
                ("name", project.name),
                ("version", record.version),
                ("description", project.description),
                ("developed by", project.owner.team),
                ("contact", project.owner.contact),
                ("trained on what was known at", moment(manifest.created_at)),
                ("trained because of", record.tags.get("cause", "")),
                ("kind of model (ONNX operators)", ", ".join(operators(record.bundle.model))),
                ("inputs", ", ".join(record.bundle.features.names)),
                ("parameters", chosen),
                ("seeds", ", ".join(f"{n} {v}" for n, v in sorted(manifest.seeds.items()))),
                ("threshold", number(record.bundle.decision.threshold)),
                ("code commit", manifest.commit),
                ("environment digest", manifest.environment_digest),
                ("bundle digest", record.bundle.digest),
                ("MLflow run", record.run.id),
                ("in service", "yes" if record.champion == record.version else "no"),
            )
        ),
        written(record, "license", "License: {}"),
    ]


def _use(record: Record) -> list[Block]:
    project, actions = record.project, record.bundle.decision.actions
    tier = tier_of(record.today.documents.use)
    return [
        written(record, "intended_use"),
        written(record, "users", "Intended users: {}"),
        written(record, "out_of_scope", "Out of scope: {}"),
        facts(
            (
                ("predicts", f"{project.target.column} = {project.target.positive}"),
                ("from the threshold on", actions["positive"]),
                ("below it", actions["negative"]),
                ("declared use", (record.today.documents.use or "").replace("_", " ")),
                ("tier under the EU AI Act", "" if tier is None else tier.text),
                ("declared risk tier", project.risk_tier),
            )
        ),
        *([] if tier else [written(record, "use")]),
    ]


def _factors(record: Record) -> list[Block]:
    data, release = record.project.data, record.project.release
    groups = [f for f in record.findings if f.name.startswith("fairness_")]
    judged = dict.fromkeys(f.name.removeprefix("fairness_") for f in groups)
    slices = dict.fromkeys(f.slice for f in record.findings if f.name == SLICES and f.slice)
    return [
        facts(
            (
                ("protected groups", ", ".join(data.protected)),
                ("segments told apart in a release", ", ".join(release.segments)),
                ("groups judged for fairness", ", ".join(judged)),
                ("slices judged beside the champion", ", ".join(slices) or "none"),
                ("columns that name a person", ", ".join(sorted(record.personal))),
                ("decided for", ", ".join(data.entities)),
            )
        )
    ]


def _metrics(record: Record) -> list[Block]:
    project, gates = record.project, record.project.gates
    metrics = ", ".join(gates.fairness.metric)
    return [
        table(("setpoint", "metric", "holds", "error rate"), setpoint_rows(project), ""),
        table(("outcome", "costs"), cost_rows(project), ""),
        facts(
            (
                ("decision threshold", number(record.bundle.decision.threshold)),
                ("fairness", f"{metrics} ≥ {number(gates.fairness.floor)}, groups "
                 f"of {gates.fairness.min_group} or more"),
                ("chance of promoting an equally good model", number(gates.error_rate)),
                ("rows that a gate needs", f"{gates.min_sample:,}"),
            )
        ),
    ]  # fmt: skip


def _evaluation(record: Record) -> list[Block]:
    train, rows = record.project.train, record.run.metrics.get("rows_judged")
    return [
        facts(
            (
                ("rows that judge", "" if rows is None else f"{rows:,.0f}"),
                ("share of entities that never train", f"{train.holdout:.0%}"),
                ("told apart by", record.project.sticky_column),
                ("latest share of event time that judges", f"{train.judge_recent:.0%}"),
                ("labels are complete after", _span(record)),
                ("known until", moment(record.bundle.manifest.created_at)),
                ("compared with", record.tags.get("gated_against", "")),
            )
        )
    ]


def _span(record: Record) -> str:
    return duration_label(int(record.project.target.delay.total_seconds()))


def _training(record: Record) -> list[Block]:
    snapshot, history = record.bundle.manifest.snapshot, record.project.train.history
    used = {n: record.run.parameters.get(n, "") for n in _TRAINED}
    return [
        facts(
            (
                ("snapshot (events.labels)", snapshot.version),
                ("snapshot digest", snapshot.digest),
                ("rows that train", used["rows_fit"]),
                ("rows that tune and calibrate", used["rows_tune"]),
                ("history", "" if history is None
                 else duration_label(int(history.total_seconds()))),
                ("rows that stand for others (exploration)", record.tags.get("exploration", "")),
            )
        ),
        Text(f"The datasheet of {record.version} tells what this snapshot holds."),
    ]  # fmt: skip


def _analyses(record: Record) -> list[Block]:
    quality = {n: v for n, v in sorted(record.run.metrics.items()) if n not in _COUNTED}
    return [
        Text(verdict_line(record)),
        *_picture(record, VERDICT, "each finding beside its setpoint, with its interval"),
        findings_table(judged(record.findings, slices=False), "No finding about all rows."),
        *_drivers(record),
        Text("By group, slice or input:"),
        findings_table(judged(record.findings, slices=True), "No finding about one of them."),
        Text("On the rows that judge:"),
        facts((n, number(v)) for n, v in quality.items()),
        *_served(record),
    ]


def _picture(record: Record, name: str, title: str) -> list[Block]:
    """A picture of the verdict, where its gates kept one."""
    path = f"{PLOTS}/{name}"
    place = f"{path} among the artifacts of MLflow run {record.run.id}"
    return [Picture(title, record.pictures[path], place)] if path in record.pictures else []


def _drivers(record: Record) -> list[Block]:
    """What drives the decisions by group; nothing of a column marked personal since."""
    if record.unread:  # which columns were personal then nobody can tell
        return []
    project, today = record.project, record.today.data.columns
    shown = (*project.data.protected, *project.gates.slices.columns, *project.release.segments)
    late = [
        name
        for name in dict.fromkeys(shown)
        if name in today and today[name].personal and not project.data.columns[name].personal
    ]
    if late:
        return [
            Text(
                f"No picture of what drives the decisions: {', '.join(late)} was marked "
                "personal after it was drawn."
            )
        ]
    return _picture(record, DRIVERS, "what drives the decisions, by group")


def _served(record: Record) -> list[Block]:
    window = _newest_judged(record)
    steps = [e for e in record.told("release_step", "promoted") if evidence_findings(e)]
    found: list[Block] = []
    if steps:
        found.append(Text(f"In its release, last ({link(steps[-1])}):"))
        found.append(findings_table(record.public(evidence_findings(steps[-1])), ""))
    if window is not None:
        found.append(Text(f"In service, by labels, window that ends {moment(window.end)}:"))
        found.append(findings_table((f for f in window.findings if f.name != "psi"), ""))
    return found


def _newest_judged(record: Record) -> WindowRecord | None:
    """The newest window in which a setpoint could be measured by labels."""
    names = set(record.project.setpoints)
    judged_there = [
        w
        for w in record.watched
        if any(f.name in names and f.value is not None for f in w.findings)
    ]
    return next(reversed(judged_there), None)


def _ethics(record: Record) -> list[Block]:
    rule = record.project.gates.explainability
    about = [f for f in record.findings if f.name.startswith(("fairness", "forbidden"))]
    return [
        written(record, "ethical_considerations"),
        facts(
            (
                ("columns that may not drive a decision", ", ".join(rule.forbidden)),
                ("inputs made of a protected column", ", ".join(_protected_inputs(record))),
            )
        ),
        findings_table(about, "No finding about groups or forbidden drivers."),
    ]


def _protected_inputs(record: Record) -> list[str]:
    spec, protected = record.bundle.features, set(record.project.data.protected)
    return [name for name in spec.names if spec.sources(name) & protected]


def _caveats(record: Record) -> list[Block]:
    unsure = [f for f in record.findings if not f.passed]
    open_ = [i for i in record.incidents if i.closed_at is None and i.version == record.version]
    return [
        written(record, "caveats"),
        Text("What its gates could not pass:"),
        findings_table(unsure, "Nothing: every finding of its verdict passed."
                       if record.findings else "Nothing was judged."),
        table(("open incident", "cause", "since"),
              [(i.id, str(i.cause), moment(i.opened_at)) for i in open_],
              "No incident of this version is open."),
    ]  # fmt: skip
