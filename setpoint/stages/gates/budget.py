"""The freeze after too many failed windows."""

from __future__ import annotations

from setpoint.domain.findings import Finding, Outcome
from setpoint.domain.slo import quality_budget, window_outcome
from setpoint.domain.windows import apart
from setpoint.stages.gates.case import Case


def quality_budget_findings(case: Case) -> list[Finding]:
    """The freeze after too many failed windows; nothing where none of them could be judged.

    That is so before the first look, and after each promotion until its labels are ripe: nothing
    is known against a change then, and what the candidate is worth the other gates have to show.
    """
    workspace, cause = case.workspace, case.cause
    rule, every = workspace.project.gates.quality_budget, workspace.project.watch.every
    newest = workspace.state.newest_window()
    if newest is None:
        return []
    # Looks are late rather than early: twice the time holds as many windows as count.
    windows = workspace.state.windows(newest.end - 2 * rule.windows * every)
    # A closer look spends no more of the budget than one at the declared pace.
    windows = apart(windows, newest.end, every)[::-1]
    healed = [i.id for i in workspace.state.incidents(only_open=True) if i.id == cause]
    finding = quality_budget(
        [window_outcome(w, workspace.project.setpoints) for w in windows],
        windows=rule.windows,
        failed=rule.failed,
        spared=f"it is to heal the open incident {cause}" if healed else "",
    )
    return [] if finding.outcome == Outcome.INCONCLUSIVE else [finding]
