"""The EU AI Act pack: duty, what the record shows of it, and where that is recorded.

Articles and annexes are those of Regulation (EU) 2024/1689. The table says what can be shown, not
whether a duty is fulfilled: that is for a person to judge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from setpoint.documents import proofs as p
from setpoint.documents.markup import NOT_SHOWN, Block, Document, Part, Table, facts
from setpoint.documents.record import Record
from setpoint.documents.tier import tier_of
from setpoint.documents.words import written


@dataclass(frozen=True)
class Duty:
    """One duty.

    Attributes:
        point: Article and paragraph, or point of Annex IV.
        text: What is asked for, in short.
        shows: What may show it.
        beside: What is there and is no proof of it alone; told after the proofs, or after
            ``not shown``.
    """

    point: str
    text: str
    shows: tuple[p.Shows, ...]
    beside: tuple[p.Shows, ...] = ()


BESIDE = "there is, and does not show it alone:"
"""What stands before what is no proof of a duty."""
HEADER = ("point", "duty", "what the record shows", "evidence")

_CARD, _SHEET = "documents/model-card.*", "documents/datasheet.*"
_ROBUST = ("*evasion*", "*robust*", "*poison*", "*flip*", "*backdoor*", "*perturb*", "*extreme*")
_HUMAN = (
    *("release_answered", "incident_resolved", "incident_open", "approval_voice", "approved"),
    *("approval_refused", "overridden", "stopped", "resumed"),
)
"""Entries that may be a person's act."""
_ASKED = ("release_held", "incident_needs_person", "approval_asked")
"""Entries by which a person was asked."""
_RELEASE = ("release_started", "release_step", "promoted", "rolled_back", "roll_back")
_INCIDENT = ("incident_opened", "incident_resolved")

ARTICLES: tuple[Duty, ...] = (
    Duty("Art. 9(1)-(2)", "a risk management system that runs over the whole lifecycle",
         (p.words("risk_management"),), (p.policy, p.entries(*_INCIDENT))),
    Duty("Art. 9(6)-(8)", "testing against metrics and thresholds defined beforehand",
         (p.setpoints, p.findings("*"))),
    Duty("Art. 10(2)", "data governance: design, origin, collection, preparation of the data",
         (p.words("collection", "labelling"), p.snapshot, p.artifacts(_SHEET))),
    Duty("Art. 10(2)(f)-(g)", "examination for biases, and measures against them",
         (p.findings("fairness*", "*bias*", "forbidden*", "proxy*"), p.watched("fairness*"))),
    Duty("Art. 10(3)-(4)", "relevant, representative data, checked for errors",
         (p.inputs, p.watched("psi", "domain_classifier"))),
    Duty("Art. 11(1)", "technical documentation, drawn up before service and kept up to date",
         (p.artifacts(_CARD, _SHEET), p.identity)),
    Duty("Art. 12(1)-(2)", "events are recorded automatically over the lifetime",
         (p.chain, p.entries(*_RELEASE, mine=True))),
    Duty("Art. 13(1)-(3)", "transparency: instructions, capabilities, limits, accuracy",
         (p.words("instructions", "intended_use", "out_of_scope", "caveats"), p.reasons,
          p.artifacts(_CARD))),
    Duty("Art. 14(1)-(4)", "human oversight: understand, override, stop",
         (p.acts(*_HUMAN),), (p.words("oversight"), p.oversight, p.entries(*_ASKED))),
    Duty("Art. 15(1)-(3)", "accuracy, declared and held",
         (p.setpoints, p.findings("*against_champion", "*baseline*", "*simpler*"),
          p.watched("estimated_*", "calibration*"))),
    Duty("Art. 15(4)", "robustness against errors and inconsistencies; feedback loops",
         (p.findings(*_ROBUST), p.watched("skew", "label_coverage", "misses"))),
    Duty("Art. 15(5)", "cybersecurity: poisoning, evasion, manipulated models, confidentiality",
         (p.findings(*_ROBUST), p.attacked,
          p.entries("key_rotated", "key_revoked", "suspect_data", "access_refused",
                    "requests_refused", "packaged"))),
    Duty("Art. 17(1)", "a quality management system", (p.words("quality_management"),),
         (p.owner,)),
    Duty("Art. 17(1)(d)", "examination, test and validation before, during and after development",
         (p.findings("*"), p.entries("accepted", "refused"))),
    Duty("Art. 19(1)", "automatically generated logs are kept",
         (p.retention, p.chain, p.entries("decisions_dropped"))),
    Duty("Art. 72(1)-(3)", "post-market monitoring, by a plan",
         (p.policy, p.watched("*"), p.entries(*_INCIDENT))),
)  # fmt: skip
"""Articles 9 to 15, 17, 19 and 72."""

ANNEX: tuple[Duty, ...] = (
    Duty("Annex IV 1", "general description: purpose, provider, version, form, instructions",
         (p.words("intended_use", "users", "instructions"), p.owner, p.identity)),
    Duty("Annex IV 2", "elements and development: design, data, oversight, validation, security",
         (p.identity, p.snapshot, p.inputs, p.findings("*"), p.artifacts(_CARD, _SHEET, "search/*"),
          p.words("oversight"))),
    Duty("Annex IV 3", "monitoring, functioning, control: limits, accuracy by group, risks, inputs",
         (p.words("caveats", "ethical_considerations"), p.findings("fairness*"), p.inputs,
          p.watched("*"))),
    Duty("Annex IV 4", "why the performance metrics are appropriate", (p.setpoints, p.costs)),
    Duty("Annex IV 5", "the risk management system of Article 9",
         (p.words("risk_management"),), (p.policy, p.entries(*_INCIDENT))),
    Duty("Annex IV 6", "relevant changes over the lifecycle",
         (p.entries("accepted", "refused", "promoted", "rolled_back", "roll_back"),)),
    Duty("Annex IV 7", "harmonised standards applied", (p.words("standards"),)),
    Duty("Annex IV 8", "the EU declaration of conformity", (p.words("declaration"),)),
    Duty("Annex IV 9", "evaluation after release: the monitoring plan of Article 72",
         (p.policy, p.watched("*"), p.entries(*_INCIDENT))),
)  # fmt: skip
"""The nine points of Annex IV."""


def ai_act_pack(record: Record) -> Document:
    """The table of duties of a version."""
    parts = (
        Part("Tier", tuple(_tier(record))),
        Part("Articles 9 to 15, 17, 19, 72", (_table(record, ARTICLES),)),
        Part("Technical documentation: Annex IV", (_table(record, ANNEX),)),
    )
    title = f"EU AI Act pack: {record.project.name} {record.version}"
    about = f"Made of the record up to {record.head}. {record.declared}"
    return Document("ai-act", title, about, parts)


def _tier(record: Record) -> list[Block]:
    use = record.today.documents.use
    tier = tier_of(use)
    if use is None or tier is None:
        return [written(record, "use")]
    said = "hold" if tier.high else "do not follow from this use, and are shown all the same"
    return [
        facts(
            (
                ("declared use", use.replace("_", " ")),
                ("tier", tier.text),
                ("declared risk tier", record.project.risk_tier),
                ("the duties below", said),
            )
        )
    ]


def _table(record: Record, duties: tuple[Duty, ...]) -> Table:
    return Table(HEADER, tuple(_row(record, duty) for duty in duties))


def _row(record: Record, duty: Duty) -> tuple[str, ...]:
    found, beside = _proofs(record, duty.shows), _proofs(record, duty.beside)
    told = _numbered((one.text for one in found), 1) if found else [NOT_SHOWN]
    where = _numbered((one.where for one in found), 1)
    if beside:
        told += [BESIDE, *_numbered((one.text for one in beside), len(found) + 1)]
        where += _numbered((one.where for one in beside), len(found) + 1)
    return (duty.point, duty.text, "\n".join(told), "\n".join(where))


def _proofs(record: Record, shows: tuple[p.Shows, ...]) -> list[p.Proof]:
    return list(dict.fromkeys(proof for one in shows for proof in one(record)))


def _numbered(texts: Iterable[str], first: int) -> list[str]:
    return [f"{i}. {' '.join(text.split())}" for i, text in enumerate(texts, first)]
