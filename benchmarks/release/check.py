"""Are the answers right? Each is compared with the log and with the version that it names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from setpoint.adapters.gateway_client import Answer
from setpoint.domain.bundle import read_bundle
from setpoint.ports import Decision
from setpoint.serving.scorer import Scorer
from setpoint.stages.traffic import planned
from setpoint.workspace import Workspace

CHUNK = 500
EXPECTED = "expected"
"""How the note of a scenario begins that ended otherwise than it should."""


@dataclass(frozen=True)
class Row:
    """One scenario.

    Attributes:
        scenario: What happened.
        ended: How the release ended; empty where there was none.
        reason: Why it was rolled back.
        requests: Payments sent.
        lost: Without an answer 200.
        wrong_version: Answered by a version that the plan in force gave no traffic, or otherwise
            than the version named would have answered, or not as logged.
        p99_ms: 99th percentile from when a payment was due to its answer, milliseconds.
        seconds_to_zero: From before the deciding sample was complete to the first answer under the
            plan that left the bad version nothing; ``None`` where nothing was rolled back.
        note: What else is to be known.
    """

    scenario: str
    ended: str
    requests: int
    lost: int
    wrong_version: int
    p99_ms: float
    seconds_to_zero: float | None = None
    reason: str = ""
    note: str = ""

    @property
    def astray(self) -> bool:
        """Whether the release or what is in service ended otherwise than the scenario should."""
        return self.note.startswith(EXPECTED)


class Checker:
    """Knows the versions of a workspace, and what each would have answered."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._scorers: dict[str, tuple[Scorer, Any, str]] = {}
        self._plans: dict[str, set[str]] = {}

    def wrong(self, answers: Iterable[Answer]) -> list[str]:
        """Ids of payments whose answer is not what the version it names says."""
        found: list[str] = []
        good = [one for one in answers if one.status == 200 and one.body is not None]
        for begin in range(0, len(good), CHUNK):
            part = good[begin : begin + CHUNK]
            logged = self._workspace.decisions.find([one.id for one in part])
            found += [one.id for one in part if not self._right(one, logged.get(one.id))]
        return found

    def _right(self, answer: Answer, logged: Decision | None) -> bool:
        body = answer.body or {}
        version = body["model_version"]
        if logged is None or version not in self._allowed(answer.plan):
            return False
        same = (logged.version, logged.score, logged.action, logged.bundle_digest) == (
            version,
            body["score"],
            body["action"],
            body["model_digest"],
        )
        return same and self._as_model_says(logged)

    def _as_model_says(self, logged: Decision) -> bool:
        scorer, bundle, digest = self._scorer(logged.version)
        spec = bundle.features
        numbers = [_number(logged.features[name]) for name in spec.number_names]
        categories = [str(logged.features[name] or "") for name in spec.categories]
        scores, _ = scorer.score([(numbers, categories)])
        acts = scores[0] >= bundle.decision.threshold
        action = bundle.decision.actions["positive" if acts else "negative"]
        return (
            digest == logged.bundle_digest
            and math.isclose(float(scores[0]), logged.score, abs_tol=1e-9)
            and action == logged.action
        )

    def _scorer(self, version: str) -> tuple[Scorer, Any, str]:
        if version not in self._scorers:
            bundle = read_bundle(self._workspace.bundle(version))
            digest = self._workspace.registry.digest(version)
            self._scorers[version] = (Scorer(bundle), bundle, digest)
        return self._scorers[version]

    def _allowed(self, plan: str) -> set[str]:
        if plan not in self._plans:
            self._plans[plan] = planned(self._workspace, plan)
        return self._plans[plan]


def _number(value: float | str | None) -> float:
    return math.nan if value is None else float(value)
