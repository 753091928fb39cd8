"""Whether a person has read the project file that the candidate was made of."""

from __future__ import annotations

from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.stages import sealing
from setpoint.stages.gates.case import Case
from setpoint.stages.rebuild import read_record
from setpoint.stages.review import standing_review

NAME = "project_file_reviewed"


def review_findings(case: Case) -> list[Finding]:
    """1 if somebody has, by an entry that a trusted key signed; nothing where nobody has to.

    What must have been read is the file that the candidate's record names, not today's.
    """
    if not case.workspace.project.gates.reviewed:
        return []
    workspace, version = case.workspace, case.candidate.version
    digest = read_record(workspace, version).record.project
    audit = sealing.vouched(workspace)
    if audit.altered:  # what stands there of reviews is worth nothing
        return [not_measured(NAME, f"the ledger is {audit.altered[0]}")]
    entry = standing_review(workspace, digest)
    told = f"nobody has read {digest[:16]}: 'setpoint review' shows it"
    if entry is not None:
        told = f"{digest[:16]} was read by {entry.evidence['by']} (ledger entry {entry.seq})"
    outcome = Outcome.FAILED if entry is None else Outcome.PASSED
    value = 0.0 if entry is None else 1.0
    return [Finding(NAME, outcome, value, 1.0, "floor", 1, None, told)]
