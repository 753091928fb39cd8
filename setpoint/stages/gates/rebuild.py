"""The candidate trained again from its record: only what comes out the same may serve."""

from __future__ import annotations

from dataclasses import replace

from setpoint.domain.bundle import MODEL
from setpoint.domain.findings import Finding, Outcome, check_value, not_measured
from setpoint.errors import SetpointError
from setpoint.stages.gates.case import Case
from setpoint.stages.rebuild import COMPARED, rebuild

REBUILD = "rebuild"


def rebuild_findings(case: Case) -> list[Finding]:
    """How many files of the bundle a rebuild makes otherwise; the setpoint is none.

    It takes as long as a training, so it is asked last, and only where all else passed. There is
    no chance in it: bytes are compared, so it has neither interval nor error rate.
    """
    refused = [finding.label for finding in case.found if not finding.passed]
    if refused:
        why = f"not run: {', '.join(refused[:3])} did not pass"
        return [not_measured(REBUILD, why, outcome=Outcome.INCONCLUSIVE)]
    try:
        made = rebuild(case.workspace, case.candidate.version)
    except SetpointError as err:
        return [not_measured(REBUILD, f"could not be run: {err.what}")]
    differing = len(made.differing) if made.sound else len(COMPARED)
    finding = check_value(REBUILD, float(differing), 0.0, "ceiling", sample=made.rows)
    took = f"trained again from its record in {made.seconds:.1f} s, {MODEL} and what decides: "
    told = took if made.found else ""
    word = "equal" if made.equal else "not equal"
    return [replace(finding, reason=f"{told}{word}; {made.reason}")]
