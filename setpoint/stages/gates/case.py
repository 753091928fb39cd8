"""What every gate looks at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from setpoint.domain.findings import Finding
from setpoint.domain.gates.judged import Judged
from setpoint.domain.training import Rows
from setpoint.stages.gates.beside import Beside, champion_beside
from setpoint.stages.publish import Candidate
from setpoint.stages.train import Training
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Case:
    """A candidate before its gates.

    Attributes:
        workspace: The project.
        candidate: What wants to serve.
        training: How it was trained, with the rows that judge it.
        judged: Those rows as the candidate decides them.
        cause: Why it was trained: an incident's id, or any other word.
        found: What the gates before found.
    """

    workspace: Workspace
    candidate: Candidate
    training: Training
    judged: Judged
    cause: str
    found: tuple[Finding, ...] = ()

    @property
    def rows(self) -> Rows:
        """Rows that no model was trained on."""
        return self.training.split.judge

    @cached_property
    def beside(self) -> Beside:
        """The version in service on those rows; scored once for all gates that ask."""
        return champion_beside(self.workspace, self.training)

    def after(self, findings: Iterable[Finding]) -> Case:
        """The case as the next gate sees it; what was scored stays scored."""
        fresh = replace(self, found=(*self.found, *findings))
        if "beside" in self.__dict__:
            fresh.__dict__["beside"] = self.beside
        return fresh
