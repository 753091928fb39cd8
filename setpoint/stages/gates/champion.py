"""The candidate beside the version in service, on the same rows."""

from __future__ import annotations

from dataclasses import replace

from setpoint.adapters.mlflow_registry import GATED_AGAINST, NOBODY
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.domain.gates.champion import champion_gate
from setpoint.domain.gates.judged import Judged
from setpoint.domain.gates.ranking import ranking_gate
from setpoint.domain.holdout import Holdout, spent_rate
from setpoint.domain.ledger import Entry
from setpoint.errors import DataError
from setpoint.stages.gates.case import Case
from setpoint.stages.signed import entry_state
from setpoint.workspace import Workspace

AGAINST = "saves_against_champion"
LOOKED = "holdout_looked_at"
"""Kind of the ledger entry that a candidate was held against the champion on some rows."""


def champion_findings(case: Case) -> list[Finding]:
    """Paired with the champion; nothing for the first release, which has none."""
    beside = case.beside
    if beside.version is not None or not beside.unseen:
        against = beside.version or NOBODY
        case.workspace.registry.tag(case.candidate.version, GATED_AGAINST, against)
    if beside.unseen:
        return [not_measured(AGAINST, beside.unseen)]
    if beside.judged is None:
        return []
    project = case.workspace.project
    found = [_cheaper(case, beside.judged)]
    if any(s.metric == "roc_auc" for s in project.setpoints.values()):
        loss, rate = project.gates.max_auc_loss, project.gates.error_rate
        found.append(ranking_gate(case.judged, beside.judged, max_loss=loss, error_rate=rate))
    return found


def _cheaper(case: Case, champion: Judged) -> Finding:
    """Is it cheaper, at the error rate that earlier candidates on these rows have left?

    What is spent is remembered before the verdict is known: a run that dies has looked.
    """
    rule, workspace, time = case.workspace.project.gates, case.workspace, case.rows.time
    subject = f"{workspace.project.name}/holdout"
    holdout = Holdout.told(_looks(workspace, subject))
    number = 1 + holdout.judged_before(case.candidate.version, time, rule.reuse.fresh)
    rate = spent_rate(rule.error_rate, number)
    if number > rule.reuse.candidates:
        reason = (
            f"{number - 1} candidates were judged on these rows, which {rule.reuse.candidates} "
            f"use up: it needs fresh rows, {rule.reuse.fresh:.0%} of all"
        )
        return not_measured(AGAINST, reason, outcome=Outcome.INCONCLUSIVE)
    look = {"version": case.candidate.version, "first": int(time.min()), "last": int(time.max())}
    workspace.state.record(workspace.clock.now(), LOOKED, subject, look)
    found = champion_gate(case.judged, champion, error_rate=rate, min_sample=rule.min_sample)
    return replace(
        found, reason=f"{found.reason}; candidate {number} on these rows: error rate {rate:.2g}"
    )


def _looks(workspace: Workspace, subject: str) -> list[Entry]:
    """Entries of the looks at rows that judge; those of a void key count as well.

    Raises:
        DataError: One was altered: how often the rows were looked at is not known.
    """
    looks = [one for one in workspace.state.ledger_about(subject) if one.kind == LOOKED]
    bad = next((one for one in looks if entry_state(workspace, one) == "altered"), None)
    if bad is not None:
        raise DataError(
            f"ledger entry {bad.seq} was altered: how often rows were looked at is not known",
            where="ledger",
            fix="run 'setpoint audit', and restore state.db from a backup",
        )
    return looks
