"""Known weaknesses of the packages that train and serve, by a file of advisories."""

from __future__ import annotations

from datetime import UTC, datetime

from setpoint.domain.advisories import Weakness
from setpoint.domain.findings import Finding, Outcome, not_measured
from setpoint.errors import DataError
from setpoint.stages.gates.case import Case
from setpoint.stages.supply import PARTS, known_weaknesses, lock_of, packages_of

ADVISORIES = "advisories"
MOST = 3
"""Weaknesses named in a reason."""


def advisories_findings(case: Case) -> list[Finding]:
    """Weaknesses of each lock that nobody has put up with; none where no file is declared.

    A file that is missing, old or of another format keeps the gate shut: it says nothing.
    """
    rule = case.workspace.project.gates.dependencies
    if rule.advisories is None:
        return []
    file = case.workspace.project_file.parent / rule.advisories
    found = []
    for part in PARTS:
        lock = lock_of(part)
        try:
            all_known = known_weaknesses(file, lock, datetime.now(UTC), rule.max_age)
            looked_at = len(packages_of(lock))
        except DataError as err:
            found.append(not_measured(ADVISORIES, str(err), slice=part))
            continue
        open_ones = [one for one in all_known if not {one.advisory, *one.aliases} & {*rule.allow}]
        found.append(_finding(part, open_ones, len(all_known) - len(open_ones), looked_at))
    return found


def _finding(part: str, open_ones: list[Weakness], allowed: int, looked_at: int) -> Finding:
    named = [f"{one.package} {one.version}: {one.advisory}" for one in open_ones[:MOST]]
    if len(open_ones) > MOST:
        named.append(f"{len(open_ones) - MOST} more")
    told = f": {'; '.join(named)}" if named else ""
    put_up_with = f", {allowed} put up with" if allowed else ""
    reason = f"{len(open_ones)} known weaknesses of {looked_at} packages{put_up_with}{told}"
    outcome = Outcome.FAILED if open_ones else Outcome.PASSED
    count = float(len(open_ones))
    return Finding(ADVISORIES, outcome, count, 0.0, "ceiling", looked_at, None, reason, slice=part)
