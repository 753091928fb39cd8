"""The last good version: what is brought back in place of a champion that is not."""

from __future__ import annotations

from setpoint.domain.findings import Outcome
from setpoint.domain.rollout import served_before
from setpoint.errors import ReleaseError, SetpointError
from setpoint.stages.signed import check_signed
from setpoint.workspace import Workspace


def last_good(workspace: Workspace, champion: str) -> str:
    """The newest version that served before the champion and was good to the end.

    Its bundle is as it was registered, and signed, and in the last ``watch.window`` of its service
    no window broke a setpoint and one at least could be judged. A version that was itself rolled
    back from is not taken again.

    Args:
        workspace: The project.
        champion: The version to be replaced, which must be in service.

    Raises:
        ReleaseError: There is none, or another version is in service; it says why.
        StateError: It is not known what is in service.
    """
    serving = workspace.champion()
    if serving != champion:
        raise _none(champion, f"{serving} took over from it meanwhile")
    found = served_before(workspace.state.promoted_releases(), champion)
    faults: list[str] = []
    for version in found:
        fault = _fault(workspace, version)
        if not fault:
            return version
        faults.append(f"{version}: {fault}")
    raise _none(champion, "; ".join(faults) or "no version that is good served before it")


def _fault(workspace: Workspace, version: str) -> str:
    """Why a former version is not good; empty if it is."""
    try:
        check_signed(workspace, version)
    except SetpointError as err:
        return err.what
    served = [one for one in workspace.state.windows() if one.version == version]
    last = workspace.project.watch.window
    recent = [one for one in served if one.end > served[-1].end - last]
    judged = [
        (window.end, f)
        for window in recent
        for f in window.findings
        if f.name in workspace.project.setpoints
    ]
    for end, finding in judged:
        if finding.outcome == Outcome.FAILED:
            return f"{finding.name} failed at {end:%Y-%m-%d %H:%M}"
    if not any(finding.outcome == Outcome.PASSED for _, finding in judged):
        return "none of its last windows could be judged"
    return ""


def _none(champion: str, reason: str) -> ReleaseError:
    return ReleaseError(
        f"nothing to roll {champion} back to: {reason}",
        where=f"roll-back of {champion}",
        fix="train again with 'setpoint deliver', or look at what it decides",
    )
