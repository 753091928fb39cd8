"""What is installed, beside what was when the version in service was trained."""

from __future__ import annotations

from setpoint.domain.findings import Finding, Outcome
from setpoint.errors import StateError
from setpoint.stages.gates.case import Case
from setpoint.stages.identity import PACKAGES, environment_packages

DEPENDENCIES = "dependencies"
CHANGED = "dependencies_changed"
"""Kind of the ledger's entry where they are others."""
MOST = 5
"""Packages named in a reason."""


def dependencies_findings(case: Case) -> list[Finding]:
    """How many packages are others; nothing before there is a champion.

    A change refuses nothing, for that is what the gates on rows and the rebuild are for: it is
    told, in the verdict and in an entry of its own.
    """
    champion = case.beside.version
    if champion is None:
        return []
    now = environment_packages()
    try:
        _, kept = case.workspace.registry.artifact(champion, PACKAGES)
    except StateError as err:
        names, differ = [], [f"which is not known: {err.what}"]
    else:
        differ = sorted(set(now) ^ set(kept.decode("utf-8").splitlines()))
        names = sorted({one.partition("==")[0] for one in differ})
    if differ:
        subject = f"{case.workspace.project.name}/{case.candidate.version}"
        evidence = {"champion": champion, "differ": differ}
        case.workspace.state.record(case.workspace.clock.now(), CHANGED, subject, evidence)
    if not names and differ:
        reason = f"packages may be others than those of {champion}, {differ[0]}"
        return [Finding(DEPENDENCIES, Outcome.PASSED, None, None, "", len(now), None, reason)]
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    told = f": {', '.join(names[:MOST])}{more}" if names else ""
    reason = f"{len(names)} of {len(now)} packages are others than those of {champion}{told}"
    count = float(len(names))
    return [Finding(DEPENDENCIES, Outcome.PASSED, count, None, "", len(now), None, reason)]
