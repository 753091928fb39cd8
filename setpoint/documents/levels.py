"""The MLOps maturity level 0 to 4.

The levels are those of Microsoft's MLOps maturity model: 0 none, 1 DevOps but no MLOps, 2 automated
training, 3 automated deployment, 4 full automation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from setpoint.documents.evidence import SEARCHED, Evidence
from setpoint.documents.record import link

Looked = tuple[tuple[str, ...], tuple[str, ...]]
"""What was shown, and what is missing."""


@dataclass(frozen=True)
class Level:
    """One level; it is reached if all lower ones are and nothing is missing.

    Attributes:
        number: 0 to 4.
        name: For people.
        look: Says what is shown and what is missing.
    """

    number: int
    name: str
    look: Callable[[Evidence], Looked]


def _gathered(*asked: tuple[str, str]) -> Looked:
    """Pairs of what is shown, empty for nothing, and what would be missing."""
    return tuple(s for s, _ in asked if s), tuple(m for s, m in asked if not s)


def _nothing(evidence: Evidence) -> Looked:
    return (), ()


def _devops(evidence: Evidence) -> Looked:
    manifest = evidence.record.bundle.manifest
    commit = manifest.commit if "dirty" not in manifest.commit else ""
    return _gathered(
        (f"commit {commit[:16]}" if commit else "", "a model of committed code"),
        (f"environment {manifest.environment_digest[:16]}" if manifest.environment_digest else "",
         "a model with the digest of its environment"),
    )  # fmt: skip


def _training(evidence: Evidence) -> Looked:
    record = evidence.record
    entry = record.verdict_entry
    return _gathered(
        (f"snapshot {record.bundle.manifest.snapshot.digest[:16]}", "a versioned snapshot"),
        (f"MLflow run {record.run.id} with {len(record.run.metrics)} metrics"
         if record.run.metrics else "", "a training whose metrics are recorded"),
        (SEARCHED.format(evidence.trials) if evidence.trials and not evidence.search_fault else "",
         evidence.search_fault or "a recorded search of parameters"),
        (f"judged by {len(record.findings)} findings, {link(entry)}"
         if entry is not None and record.findings else "", "a verdict of the gates in the ledger"),
    )  # fmt: skip


def _deployment(evidence: Evidence) -> Looked:
    record = evidence.record
    promoted, steps = record.told("promoted"), record.told("release_step")
    people = record.told("release_answered")
    whole = not record.audit.breaks and record.entries
    accepted = record.told("accepted")
    judged = bool(promoted and accepted and accepted[0].seq < promoted[-1].seq)
    return _gathered(
        (f"{record.version} accepted before it was promoted, {link(promoted[-1])}"
         if judged else "", "a promotion that follows from a passed verdict"),
        (f"{len(steps)} release steps judged by the system, {link(steps[-1])}"
         if steps and not people else "", "a release that is walked without a person"),
        (f"a ledger: {record.audit.told}" if whole else "",
         "a ledger whose chain, signatures and seals hold"),
    )  # fmt: skip


def _full(evidence: Evidence) -> Looked:
    healed = evidence.healed
    asked = {e.subject for e in evidence.record.of("incident_needs_person")}
    cause = str(healed[0].evidence.get("cause")) if healed else ""
    told = f"incident {cause}: accepted {link(healed[0])}, promoted {link(healed[1])}" if healed \
        else ""  # fmt: skip
    release = evidence.released("failed_answers", "restarts") if healed else []
    lost = [f for _, f in release if f.name == "failed_answers"]
    kept = bool(lost) and all(f.passed and f.value == 0 for _, f in release)
    return _gathered(
        (f"{len(evidence.record.windows)} windows looked at" if evidence.record.windows else "",
         "a watch that looked at the model in service"),
        (told, "an incident whose retraining was accepted and promoted"),
        ("no person was asked" if cause and cause not in asked else "",
         "an incident that ended without a person"),
        (f"{len(lost)} release steps without a failed answer or a restart" if kept else "",
         "a promotion whose steps count no failed answer and no restart"),
    )  # fmt: skip


LEVELS = (
    Level(0, "no MLOps", _nothing),
    Level(1, "DevOps, no MLOps", _devops),
    Level(2, "automated training", _training),
    Level(3, "automated deployment", _deployment),
    Level(4, "full automation", _full),
)
