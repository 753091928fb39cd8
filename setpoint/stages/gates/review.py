"""Whether a person has read the project file that the candidate was made of."""

from __future__ import annotations

from setpoint.domain.findings import Finding, Outcome
from setpoint.stages.gates.case import Case
from setpoint.stages.review import current, standing_review

NAME = "project_file_reviewed"


def review_findings(case: Case) -> list[Finding]:
    """1 if somebody has, by an entry that a trusted key signed; nothing where nobody has to."""
    if not case.workspace.project.gates.reviewed:
        return []
    digest = current(case.workspace)
    entry = standing_review(case.workspace, digest)
    told = f"nobody has read {digest[:16]}: 'setpoint review' shows it"
    if entry is not None:
        told = f"{digest[:16]} was read by {entry.evidence['by']} (ledger entry {entry.seq})"
    outcome = Outcome.FAILED if entry is None else Outcome.PASSED
    value = 0.0 if entry is None else 1.0
    return [Finding(NAME, outcome, value, 1.0, "floor", 1, None, told)]
