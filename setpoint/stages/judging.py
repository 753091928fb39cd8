"""Judge one step of a release on the traffic since it began."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setpoint.adapters.scoring_metrics import ServiceCounts, read_counts
from setpoint.domain import experiment
from setpoint.domain.analysis import Decided, Limits, Traffic, analyse
from setpoint.domain.bundle import read_bundle
from setpoint.domain.experiment import Outcomes, Rules
from setpoint.domain.findings import Finding, Outcome, Verdict, not_measured
from setpoint.domain.pairs import PairLimits, Pairs, compare
from setpoint.domain.rollout import EXPERIMENTS, Rollout, Stage
from setpoint.errors import PlatformError
from setpoint.ports import DecisionQuery
from setpoint.stages.assemble import cost_columns
from setpoint.stages.release import Begun
from setpoint.stages.ripe import acted_by_score, judged_decisions, ripe_decisions
from setpoint.workspace import Workspace

REST = 20
"""Decisions are read again after this many times as long as reading them took."""
FEWEST_ALERTS = 0.01
"""Share of adverse actions that a version may show whatever its training data showed."""


@dataclass
class Looks:
    """How often a step was looked at: before its requests were in, and since."""

    early: int = 0
    late: int = 0

    def count(self, *, last: bool) -> int:
        """Count a look; its number among those of its kind."""
        if last:
            self.late += 1
            return self.late
        self.early += 1
        return self.early


def looks_before(workspace: Workspace, begun: Begun) -> Looks:
    """The looks that came before at the same step: a bandit begins its step anew with each share.

    Without them each share would err as often as the whole step may.
    """
    kept = workspace.state.recall(_looks(begun.rollout))
    return Looks(*json.loads(kept)) if kept and begun.rollout.stage == Stage.BANDIT else Looks()


def keep_looks(workspace: Workspace, rollout: Rollout, looks: Looks) -> None:
    """Have ``looks`` counted on when the step is begun anew."""
    workspace.state.remember(_looks(rollout), json.dumps([looks.early, looks.late]))


def _looks(rollout: Rollout) -> str:
    return f"looks:{rollout.challenger}:{rollout.stage}"


@dataclass
class Judge:
    """Judges one step, look by look.

    Args:
        workspace: The project.
        begun: The step as it was enacted.
    """

    workspace: Workspace
    begun: Begun
    looks: Looks = field(default_factory=Looks)
    _known: Outcomes | None = None
    _known_at: datetime | None = None
    _resting: dict[str, tuple[Decided, float]] = field(default_factory=dict)
    _known_until: float = 0.0

    @property
    def rollout(self) -> Rollout:
        """The release, at this step."""
        return self.begun.rollout

    def look(self, *, held: bool = False) -> Verdict:
        """Judge the step on what it has shown until now.

        Args:
            held: Whether the step goes on whatever is found: the old version is kept warm.

        Raises:
            StateError: The clock of a replay was never set, or decisions cannot be read.
        """
        if self.rollout.stage == Stage.PENDING:
            return Verdict((self._ready(),))
        try:
            now = self._counts()
        except (PlatformError, KeyError) as err:
            return Verdict((not_measured("service", f"a version does not answer: {err}"),))
        found = self._shadow(now) if self.rollout.stage == Stage.SHADOW else self._live(now, held)
        return Verdict(tuple(found))

    def next_share(self) -> int:
        """The challenger's next share in a bandit, percent."""
        rule = self.workspace.project.release.experiment
        floor, start = rule.floor, self.rollout.percent
        return experiment.thompson_share(self._outcomes(), self._rules, floor=floor, start=start)

    def overdue(self) -> str:
        """Why an experiment has to end without a decision; empty while it has time."""
        longest = self.workspace.project.release.experiment.longest
        if self.rollout.stage not in EXPERIMENTS:
            return ""
        spent = self.workspace.clock.now() - self.rollout.periods[0].since
        if spent < longest:
            return ""
        return f"not enough data after {spent.days} days"

    def _ready(self) -> Finding:
        version = self.rollout.challenger
        if version not in self.workspace.runtime.endpoints():
            return not_measured("service", f"{version} is not running")
        return Finding("service", Outcome.PASSED, None, None, "", 1, None, f"{version} is ready")

    def _counts(self) -> dict[str, ServiceCounts]:
        endpoints = self.workspace.runtime.endpoints()
        return {version: read_counts(endpoints[version]) for version in self.begun.counts}

    def _traffic(self, now: dict[str, ServiceCounts], version: str) -> Traffic:
        """What a version did since the step began, and what others did in its place."""
        before = self.begun.counts
        others = [v for v in now if v != version]
        stood_in = sum(now[v].stood_in_since(before[v], version) for v in others)
        done = now[version].since(before[version])
        return Traffic(
            done.requests, done.failed, done.slow, done.refused, done.restarted, stood_in
        )

    def _shadow(self, now: dict[str, ServiceCounts]) -> Iterator[Finding]:
        """Same rows, both versions: the pairs, and how the challenger's service behaves."""
        rule = self.workspace.project.release
        pairs = self._pairs()
        last = len(pairs) >= rule.shadow_requests
        look = self.looks.count(last=last)
        limits = PairLimits(
            rule.shadow_requests, rule.max_flips, rule.max_score_shift, rule.error_rate
        )
        yield from compare(pairs, limits, look=look, last=last)
        mirrored = Decided(pairs.challenger, int(pairs.challenger_acts.sum()))
        yield from self._service(now, mirrored, None, rule.shadow_requests, look, last)

    def _live(self, now: dict[str, ServiceCounts], held: bool) -> Iterator[Finding]:
        """The challenger's answers beside the champion's in the same time."""
        needed = self.workspace.project.release.step_requests
        decided = self._lately(self.rollout.challenger)
        last = not held and len(decided) >= needed
        look = self.looks.count(last=last)
        champion = self.rollout.champion
        beside = None
        if champion is not None:
            apart = self.rollout.percent == 100
            beside = self._champion_before if apart else self._lately(champion)
        yield from self._service(now, decided, beside, needed, look, last)
        if self.rollout.stage in EXPERIMENTS:
            yield experiment.judge(self._outcomes(), self._rules)
        elif self.rollout.stage == Stage.CANARY and champion is not None:
            harmed = experiment.harm(self._outcomes(), self._rules)
            if harmed is not None:  # labels come late: most steps end before any is known
                yield harmed

    def _service(
        self,
        now: dict[str, ServiceCounts],
        decided: Decided,
        beside: Decided | None,
        needed: int,
        look: int,
        last: bool,
    ) -> list[Finding]:
        champion = self.rollout.champion or ""
        return analyse(
            self._traffic(now, self.rollout.challenger),
            self._traffic(now, champion) if champion in now else None,
            decided,
            self._limits(needed),
            beside=beside,
            champion_so_far=now[champion].total if champion in now else None,
            look=look,
            last=last,
        )

    def _limits(self, needed: int) -> Limits:
        rule = self.workspace.project.release
        return Limits(
            requests=needed,
            failed=rule.max_error_share,
            slow=rule.max_slow_share,
            alerts=min(1.0, max(self._expected_alerts, FEWEST_ALERTS) * rule.max_alert_ratio),
            error_rate=rule.error_rate,
            fewest_alerts=self._expected_alerts / rule.max_alert_ratio,
            score_shift=rule.max_score_shift,
            action_shift=rule.max_action_shift,
        )

    @cached_property
    def _expected_alerts(self) -> float:
        bundle = read_bundle(self.workspace.bundle(self.rollout.challenger))
        return float(bundle.profile["alert_rate"])

    def _lately(self, version: str) -> Decided:
        """What a version decided since the step began; the counters are fresh at every look,
        decisions as fresh as there are not too many to read."""
        known, until = self._resting.get(version, (None, 0.0))
        began = time.monotonic()
        if known is None or began >= until:
            known = self._decided(version, self.begun.since)
            ended = time.monotonic()
            self._resting[version] = (known, ended + REST * (ended - began))
        return known

    def _decided(self, version: str, since: datetime, end: datetime | None = None) -> Decided:
        columns = ("score", "action", "label_propensity")
        query = DecisionQuery(start=since, end=end, version=version, columns=columns)
        table = self.workspace.decisions.read(query)
        acted = acted_by_score(table, self.workspace.project.actions.positive)
        return Decided(table["score"].to_numpy(), int(acted.sum()))

    @cached_property
    def _champion_before(self) -> Decided:
        """At 100 % the champion has no traffic: its decisions of the time just before."""
        since = self.begun.since - self.workspace.project.watch.every
        return self._decided(self.rollout.champion or "", since, self.begun.since)

    def _pairs(self) -> Pairs:
        """Rows since the step began that both versions decided, joined by id."""
        project, rollout = self.workspace.project, self.rollout
        segments = tuple(dict.fromkeys((*project.data.protected, *project.release.segments)))
        columns = ("id", "score", "action", "label_propensity")
        common = {"start": self.begun.since, "columns": columns}
        shadow = self.workspace.decisions.read(
            DecisionQuery(version=rollout.challenger, shadow=True, **common)  # type: ignore[arg-type]
        )
        served = self.workspace.decisions.read(
            DecisionQuery(version=rollout.champion, request=segments, **common)  # type: ignore[arg-type]
        )
        adverse = project.actions.positive
        served, shadow = (_with_acted(table, adverse) for table in (served, shadow))
        shadow = shadow.rename_columns(["id", "score_2", "_acted_2"])
        both = served.join(shadow, keys="id", join_type="inner")
        return Pairs(
            both["score"].to_numpy(),
            both["score_2"].to_numpy(),
            _is(both["_acted"], True),
            _is(both["_acted_2"], True),
            {name: np.asarray(both[name].to_pylist(), dtype=object) for name in segments},
        )

    @property
    def _rules(self) -> Rules:
        rule = self.workspace.project.release
        asked = rule.experiment
        return Rules(rule.error_rate, asked.min_outcomes, asked.planned, asked.min_gain)

    def _outcomes(self) -> Outcomes:
        """Ripe decisions of both versions since both were answering; read again when due."""
        now = self.workspace.clock.now()
        every = self.workspace.project.release.experiment.every
        began = time.monotonic()
        due = self._known_at is None or now - self._known_at >= every
        if self._known is None or (due and began >= self._known_until):
            self._known, self._known_at = self._read_outcomes(now), now
            ended = time.monotonic()
            self._known_until = ended + REST * (ended - began)
        return self._known

    def _read_outcomes(self, now: datetime) -> Outcomes:
        project, rollout = self.workspace.project, self.rollout
        periods = [period.since for period in rollout.periods] or [self.begun.since]
        unit = project.sticky_column
        extra = {*cost_columns(self.workspace), unit} - {project.data.event_id}
        columns = (
            *("id", "event_time", "score", "action", "version"),
            *("label", "label_known_at", "label_propensity"),
        )
        query = DecisionQuery(start=periods[0], request=tuple(sorted(extra)), columns=columns)
        table = ripe_decisions(self.workspace, self.workspace.decisions, query, now)
        ours = pa.array([rollout.champion, rollout.challenger])
        table = table.filter(pc.is_in(table["version"], ours))
        edges = np.array([p.replace(tzinfo=None) for p in periods], "datetime64[us]")
        times = table["event_time"].cast(pa.timestamp("us")).to_numpy()
        entity = table["id" if unit == project.data.event_id else unit]
        return Outcomes(
            _is(table["version"], rollout.challenger),
            judged_decisions(self.workspace, table).cost,
            np.asarray(entity.to_pylist(), dtype=str),
            np.searchsorted(edges, times, side="right") - 1,
        )


def _with_acted(table: pa.Table, adverse: str) -> pa.Table:
    """The table with ``_acted`` for ``action``: what each version would do without exploration."""
    acted = pa.array(acted_by_score(table, adverse))
    return table.drop_columns(["action", "label_propensity"]).append_column("_acted", acted)


def _is(column: pa.ChunkedArray, value: str | bool) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(pc.equal(column, value).to_numpy(zero_copy_only=False), dtype=bool)
