"""What happens while the payments go on: every strategy up and down, and what can die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.release.bench import Bench
from benchmarks.release.check import EXPECTED, Checker, Row
from benchmarks.release.load import Load
from setpoint.adapters.gateway_client import Answer
from setpoint.domain.rollout import Rollout, Stage, Strategy

Happening = Callable[[Bench], tuple[Rollout | None, str]]
"""What happens; gives the release as it ended, if there was one, and a note."""


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        name: What happens.
        run: Makes it happen.
        small: Whether it is among the few that the test suite runs.
    """

    name: str
    run: Happening
    small: bool = False


def play(bench: Bench, scenario: Scenario, checker: Checker, rate: float, settle: float) -> Row:
    """Make a scenario happen under load, and count.

    Args:
        bench: The platform.
        scenario: What happens.
        checker: Compares the answers.
        rate: Payments a second.
        settle: Seconds of load before it and after.
    """
    before = len(bench.workspace.state.ledger())
    with Load(bench.workspace, bench.stream, rate) as load:
        time.sleep(settle)
        rollout, note = scenario.run(bench)
        time.sleep(settle)
    answers = load.answers
    seconds = np.array([one.seconds for one in answers])
    return Row(
        scenario=scenario.name,
        ended="" if rollout is None else str(rollout.stage),
        requests=len(answers),
        lost=sum(one.status != 200 for one in answers),
        wrong_version=len(checker.wrong(answers)),
        p99_ms=round(float(np.quantile(seconds, 0.99)) * 1000, 1),
        seconds_to_zero=_to_zero(bench, rollout, answers, before),
        reason="" if rollout is None else rollout.reason,
        note=note,
    )


def _to_zero(
    bench: Bench, rollout: Rollout | None, answers: list[Answer], before: int
) -> float | None:
    """From the look before the deciding one to the first answer under the last plan."""
    if rollout is None or rollout.stage != Stage.ROLLED_BACK:
        return None
    steps = [e for e in bench.workspace.state.ledger()[before:] if e.kind == "release_step"]
    plan = bench.workspace.router.current()
    if not steps or plan is None:
        return None
    told = steps[-1].evidence["evidence"]["looked_before"]
    decided = datetime.fromisoformat(told).timestamp()
    first = min((one.at for one in answers if one.plan == plan.id), default=None)
    return None if first is None else round(first - decided, 2)


def _strategy(strategy: Strategy, *, promotes: bool) -> Scenario:
    """A release by a strategy: of a version that is fit, or of one that is not.

    An experiment takes minutes at the rate of the test suite, and is not among its few.
    """
    experiment = strategy in ("ab", "bandit")

    def run(bench: Bench) -> tuple[Rollout | None, str]:
        shadow = 100 if strategy == "shadow" else 0
        bench.set_strategy(strategy, shadow_requests=shadow)
        if experiment:
            version = _ready_for_experiment(bench, better=promotes)
        else:
            version = _next(bench)
            if not promotes:
                bench.start_faulty(version, "error", *(["--shadow"] if shadow else []))
        bench.set_strategy(strategy, shadow_requests=shadow)
        bench.begin(version)
        ended = bench.wait(version)
        return ended, _expect(bench, ended, Stage.PROMOTED if promotes else Stage.ROLLED_BACK)

    word = "promotes" if promotes else "rolls back"
    return Scenario(f"{strategy}: {word}", run, small=not experiment)


def _next(bench: Bench) -> str:
    """Of the two fit versions, the one that is not in service."""
    return bench.other if bench.workspace.champion() == bench.good else bench.good


def _ready_for_experiment(bench: Bench, *, better: bool) -> str:
    """The challenger of an experiment; puts the dear version into service if it is to win."""
    if not better:
        if bench.workspace.champion() == bench.dear:
            _switch(bench, bench.good)
        return bench.dear
    _switch(bench, bench.dear)
    return bench.good


def _switch(bench: Bench, version: str) -> None:
    if bench.workspace.champion() == version:
        return
    bench.set_strategy("blue_green", warm="1s")
    bench.begin(version)
    ended = bench.wait(version)
    if ended.stage != Stage.PROMOTED:
        raise RuntimeError(f"{version} does not get into service: {ended.reason}")


def _expect(bench: Bench, ended: Rollout, stage: Stage) -> str:
    """A note where a release, or what is in service after it, ended otherwise than it should."""
    if ended.stage != stage:
        return f"{EXPECTED} {stage}: {ended.reason}"
    serves = ended.challenger if stage == Stage.PROMOTED else ended.champion
    found = bench.workspace.champion()
    return "" if found == serves else f"{EXPECTED} {serves} in service after it, not {found}"


def _fault(name: str, fault: str) -> Scenario:
    """A canary of a version that misbehaves."""

    def run(bench: Bench) -> tuple[Rollout | None, str]:
        bench.set_strategy("canary")
        version = _next(bench)
        bench.start_faulty(version, fault)
        bench.begin(version)
        ended = bench.wait(version)
        return ended, _expect(bench, ended, Stage.ROLLED_BACK)

    return Scenario(f"canary of a version {name}", run, small=fault in ("hang", "slow"))


def _kill_challenger(bench: Bench) -> tuple[Rollout | None, str]:
    version = _to_canary(bench)
    bench.kill(f"model-{version}")
    ended = bench.wait(version)
    return ended, _expect(bench, ended, Stage.ROLLED_BACK)


def _kill_champion(bench: Bench) -> tuple[Rollout | None, str]:
    version = _to_canary(bench)
    name = f"model-{bench.workspace.champion()}"
    killed = bench.kill(name)
    ended = bench.wait(version)
    bench.until_restarted(name, killed)
    # Nothing is promoted beside a champion that cannot be seen.
    return ended, _expect(bench, ended, Stage.ROLLED_BACK)


def _kill_champion_alone(bench: Bench) -> tuple[Rollout | None, str]:
    champion = bench.workspace.champion()
    name = f"model-{champion}"
    bench.until_restarted(name, bench.kill(name))
    found = bench.workspace.champion()
    if found != champion:
        return None, f"{EXPECTED} {champion} in service still, not {found}"
    return None, "nobody stands in: requests wait for its next start"


def _kill_run(bench: Bench) -> tuple[Rollout | None, str]:
    version = _to_canary(bench)
    known = bench.workspace.state.release(version)
    bench.kill("warm-engine", group=True)  # the run dies with the process that forked it
    ended = bench.wait(version, sweeping=True)
    if known is not None and ended.run == known.run:
        return ended, f"{EXPECTED} another run to finish it"
    return ended, _expect(bench, ended, Stage.PROMOTED)


def _kill_prefect(bench: Bench) -> tuple[Rollout | None, str]:
    version = _to_canary(bench)
    killed = bench.kill("prefect-server")
    ended = bench.wait(version, sweeping=True)
    bench.until_restarted("prefect-server", killed)
    return ended, _expect(bench, ended, Stage.PROMOTED)


def _to_canary(bench: Bench) -> str:
    bench.set_strategy("canary", steps="[25, 50, 100]", step_requests=200)
    version = _next(bench)
    bench.begin(version)
    bench.until(version, lambda known: known.stage == Stage.CANARY)
    time.sleep(1.0)  # the state is written before the step begins
    return version


def _drill(bench: Bench) -> tuple[Rollout | None, str]:
    former = bench.workspace.champion()
    _switch(bench, _next(bench))
    run = bench.api.wait(bench.api.run("drill/drill", {}), timeout=120)
    ended = bench.workspace.state.release(former or "")
    if run.state != "Rehearsed" or ended is None:
        return ended, f"{EXPECTED} Rehearsed: {run.state}, {run.message}"
    return ended, _expect(bench, ended, Stage.ROLLED_BACK)


def _full_disk(bench: Bench) -> tuple[Rollout | None, str]:
    store = bench.workspace.live_store
    if not store.is_symlink():
        return None, "not run: this user may mount no disk of its own to fill"
    filler = store.resolve().parent / "filler"
    _fill(filler)
    time.sleep(10)
    filler.unlink()
    time.sleep(3)
    return None, "full for 10 s, written to the reserve meanwhile"


def _fill(filler: Path) -> None:
    """Take all that is free."""
    block = os.urandom(1024 * 1024)
    with filler.open("wb", buffering=0) as file:
        for size in (len(block), 4096, 512):
            try:
                while True:
                    file.write(block[:size])
            except OSError:
                continue


SCENARIOS = (
    _strategy("canary", promotes=True),
    _strategy("canary", promotes=False),
    _strategy("blue_green", promotes=True),
    _strategy("blue_green", promotes=False),
    _strategy("shadow", promotes=True),
    _strategy("shadow", promotes=False),
    _strategy("ab", promotes=False),
    _strategy("ab", promotes=True),
    _strategy("bandit", promotes=False),
    _strategy("bandit", promotes=True),
    Scenario("a roll-back rehearsed", _drill, small=True),
    Scenario("kill -9 of the challenger in a canary", _kill_challenger, small=True),
    Scenario("kill -9 of the champion in a canary", _kill_champion, small=True),
    Scenario("kill -9 of the only version", _kill_champion_alone, small=True),
    Scenario("kill -9 of the release's run", _kill_run),
    Scenario("kill -9 of the Prefect server", _kill_prefect, small=True),
    _fault("that hangs", "hang"),
    _fault("that answers 500", "error"),
    _fault("that takes a second", "slow"),
    _fault("that runs out of memory", "leak"),
    Scenario("disk full under the decision log", _full_disk, small=True),
)
"""In the order in which they are played."""
