"""The scoring service beside its peers: same model, same machine, same client, one run.

``python -m benchmarks.serving`` trains one model of 25 inputs and gives it to our service and to
``mlflow models serve``, FastAPI, BentoML (these with scikit-learn), MLServer and LitServe (these
with onnxruntime), one process and one thread for the model each, JSON over keep-alive
connections. Ours looks up ten of the inputs online and writes each decision down before it
answers; a peer is sent all inputs. The contestants take turns, in rounds; each is started, its
answers are compared with the pipeline's, then it gets a closed loop and a fixed low rate that
all can hold, and ours also 1,000 requests a second, straight and through Envoy. It writes
``benchmarks/results/serving.json``; put ``TMPDIR`` on the disk whose log is to be measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import machine
from benchmarks.peers.client import Window, closed_loop, fixed_rate
from benchmarks.peers.contestants import OURS, PEERS, Contestant
from benchmarks.peers.environment import versions
from benchmarks.peers.model import ADVERSE_SHARE, PATTERNS, Model, make_model
from benchmarks.peers.running import Running, check, running

RESULT = Path(__file__).parent / "results" / "serving.json"
MOST_A_SECOND = 6000
"""Requests made ready for a second of closed loop; a faster server ends its window early."""
WARM_UP_SECONDS = 1.0
HIGH = ("direct", "envoy")
"""Who also gets the high rate: ours with the durable log on."""
SHOWN = ("mlflow", "fastapi", "bentoml", "mlserver", "litserve", "scikit-learn", "onnxruntime")
"""Whose versions stand in the file."""
GOALS = {
    "rps_over_mlflow": (50.0, "at least"),
    "rps_over_litserve": (4.0, "at least"),
    "cpu_us_all_told": (400.0, "at most"),
    "p99_ms_at_1000": (50.0, "at most"),
    "cold_start_seconds": (2.0, "at most"),
}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Turns of every contestant, >= 1.
        connections: Of the client.
        seconds: Of closed loop a turn, and of low rate.
        rate: Low rate, requests a second: all can hold it.
        high_rate: High rate, requests a second.
        high_seconds: How long.
        cold_starts: Starts of our service whose median is the cold start.
    """

    rounds: int
    connections: int
    seconds: float
    rate: float
    high_rate: float
    high_seconds: float
    cold_starts: int


@dataclass(frozen=True)
class Load:
    """One window, with what the server used in it.

    Attributes:
        window: What came back.
        cpu: CPU seconds of all processes of the server.
        steal: Share of the machine's time taken by others of its host, 0 to 1.
        others: Share used by processes that are neither server nor client, 0 to 1: rates of a
            window with much of it say little, CPU a request still does.
    """

    window: Window
    cpu: float
    steal: float
    others: float


@dataclass(frozen=True)
class Turn:
    """One contestant in one round.

    Attributes:
        cold_seconds: From the start of the model's process to its first score.
        memory_mb: Resident after the closed loop.
        gap: Largest difference from the scikit-learn pipeline.
        closed: Closed loop.
        low: Low rate.
        high: High rate, for those that get it.
    """

    cold_seconds: float
    memory_mb: float
    gap: float
    closed: Load
    low: Load
    high: Load | None


def take_turn(contestant: Contestant, model: Model, plan: Plan, folder: Path) -> Turn:
    """Start a contestant, check it, load it, end it.

    Raises:
        SystemExit: It does not start, or answers wrongly.
    """
    numbers = itertools.count()

    def ready(count: int) -> list[bytes]:
        if contestant.environment:  # a peer keeps nothing: the same rows again are as good
            rows = [contestant.request(model, n) for n in range(min(count, PATTERNS))]
            return list(itertools.islice(itertools.cycle(rows), count))
        return [contestant.request(model, n) for n in itertools.islice(numbers, count)]

    def closed(seconds: float) -> Callable[[int], Window]:
        rows = ready(int(seconds * MOST_A_SECOND))
        return lambda port: closed_loop(port, iter(rows), plan.connections, seconds)

    def fixed(rate: float, seconds: float) -> Callable[[int], Window]:
        rows = ready(int(rate * seconds))
        return lambda port: fixed_rate(port, rows, plan.connections, rate)

    with running(contestant, model, folder) as server:
        gap = check(contestant, model, server.port)
        closed(WARM_UP_SECONDS)(server.port)
        loop = _load(server, closed(plan.seconds))
        memory = machine.resident_mb(server.pids())
        low = _load(server, fixed(plan.rate, plan.seconds))
        high = None
        if contestant.name in HIGH:
            high = _load(server, fixed(plan.high_rate, plan.high_seconds))
    return Turn(server.cold_seconds, memory, gap, loop, low, high)


def _load(server: Running, load: Callable[[int], Window]) -> Load:
    pids, clock = server.pids(), machine.Clock.now()
    before = machine.cpu_seconds(pids)
    window = load(server.port)
    cpu = machine.cpu_seconds(pids) - before
    now = machine.Clock.now()
    return Load(
        window,
        cpu,
        now.shares(clock)["steal_share"],
        now.rest_share(clock, cpu + window.client_cpu),
    )


def figures(turns: Sequence[Turn]) -> dict[str, Any]:
    """A contestant's figures: medians over the rounds, latencies over all requests."""
    closed, low = [turn.closed for turn in turns], [turn.low for turn in turns]
    high = [turn.high for turn in turns if turn.high is not None]
    found: dict[str, Any] = {
        "rps": _median([one.window.answered / one.window.took for one in closed], 1),
        "cpu_us": _cpu(closed),
        **latencies(low),
        "closed_loop": {
            **latencies(closed),
            "client_cpu_us": _median(
                [one.window.client_cpu / max(1, one.window.answered) * 1e6 for one in closed], 1
            ),
            "rps_lowest": round(min(one.window.answered / one.window.took for one in closed), 1),
            "rps_highest": round(max(one.window.answered / one.window.took for one in closed), 1),
            **_disturbed(closed),
        },
        "not_answered_200": sum(one.window.lost for one in [*closed, *low, *high]),
        "cold_start_seconds": _median([turn.cold_seconds for turn in turns], 2),
        "memory_mb": _median([turn.memory_mb for turn in turns], 0),
        "largest_gap": float(f"{max(turn.gap for turn in turns):.1e}"),
    }
    if high:
        p99 = [latencies([one])["p99_ms"] for one in high]
        found["high_rate"] = {
            "p99_ms_median_round": _median(p99, 2),
            "p99_ms_worst_round": max(p99),
            **latencies(high),
            "cpu_us": _cpu(high),
            **_disturbed(high),
        }
    return found


def latencies(loads: Sequence[Load]) -> dict[str, float]:
    """Median and 99th percentile of all requests of the windows, milliseconds.

    A request that got no answer counts as one that took for ever.
    """
    seconds = [one.window.seconds for one in loads]
    seconds += [np.full(one.window.lost, np.inf) for one in loads]
    p50, p99 = np.quantile(np.concatenate(seconds), [0.5, 0.99], method="higher") * 1000
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def _cpu(loads: Sequence[Load]) -> float:
    """CPU of the server's processes a request, microseconds, median of the windows."""
    return _median([one.cpu / max(1, one.window.answered) * 1e6 for one in loads], 0)


def _disturbed(loads: Sequence[Load]) -> dict[str, float]:
    """What took the machine's time besides server and client, medians of the windows."""
    return {
        "steal_share": _median([one.steal for one in loads], 3),
        "others_share": _median([one.others for one in loads], 2),
    }


def _median(values: Sequence[float], digits: int) -> float:
    return round(float(np.median(values)), digits)


def compare(ours: dict[str, Any], peers: dict[str, Any], cold: float) -> dict[str, float]:
    """The headline figures; those of contestants that were not measured are left out.

    Args:
        ours: Figures by variant.
        peers: Figures by peer.
        cold: Cold start, seconds.
    """
    found = {"cold_start_seconds": cold}
    for way, ending in (("direct", ""), ("envoy", "_through_envoy")):
        for peer, its in peers.items():
            if way in ours:
                found[f"rps_over_{peer}{ending}"] = round(ours[way]["rps"] / its["rps"], 1)
                if way == "direct":
                    found[f"cpu_of_{peer}_over_ours"] = round(
                        its["cpu_us"] / ours[way]["cpu_us"], 1
                    )
    if "envoy" in ours:
        high = ours["envoy"]["high_rate"]
        found |= {"cpu_us_all_told": ours["envoy"]["cpu_us"]}
        found |= {"cpu_us_all_told_at_1000": high["cpu_us"]}
        found |= {"p99_ms_at_1000": high["p99_ms_median_round"]}
    if "direct" in ours:
        found |= {"p99_ms_at_1000_direct": ours["direct"]["high_rate"]["p99_ms_median_round"]}
    return found


def judge(found: dict[str, float]) -> dict[str, Any]:
    """Each goal beside what was found; not met when it was not measured."""
    judged = {}
    for name, (goal, sense) in GOALS.items():
        value = found.get(name)
        met = value is not None and (value >= goal if sense == "at least" else value <= goal)
        judged[name] = {"goal": f"{sense} {goal:g}", "met": met}
    return judged


def measure(plan: Plan, contestants: Sequence[Contestant]) -> dict[str, Any]:
    """All rounds; every second one in reverse order."""
    began = machine.Clock.now()
    turns: dict[str, list[Turn]] = {one.name: [] for one in contestants}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before = machine.describe(folder)
        model = make_model(folder / "trained")
        cold = list(_cold_starts(plan.cold_starts, model, folder))
        for place in range(plan.rounds):
            for one in contestants if place % 2 == 0 else reversed(contestants):
                turn = take_turn(one, model, plan, folder / f"{place}-{one.name}")
                turns[one.name].append(turn)
                print(_line(place, one.name, turn), flush=True)
    ours = {one.name: figures(turns[one.name]) for one in contestants if one in OURS}
    peers = {one.name: figures(turns[one.name]) for one in contestants if one in PEERS}
    headline = compare(ours, peers, _median(cold, 2))
    return {
        **headline,
        "goals": judge(headline),
        "ours": ours,
        "peers": peers,
        "conditions": {
            "rounds": plan.rounds,
            "connections": plan.connections,
            "rate_per_second": plan.rate,
            "high_rate_per_second": plan.high_rate,
            "inputs": len(model.columns),
            "answered_with_reasons_share": ADVERSE_SHARE,
            "versions": versions(SHOWN),
        },
        "machine_before": before,
        "machine_meanwhile": machine.Clock.now().shares(began),
    }


def _cold_starts(count: int, model: Model, folder: Path) -> Iterator[float]:
    for place in range(count):
        with running(OURS[0], model, folder / f"cold-{place}") as server:
            yield server.cold_seconds


def _line(place: int, name: str, turn: Turn) -> str:
    seen = figures([turn])
    high = seen.get("high_rate")
    return (
        f"round {place + 1} {name:>16} {seen['rps']:>7.0f}/s {seen['cpu_us']:>6.0f} us CPU "
        f"(client {seen['closed_loop']['client_cpu_us']:>4.0f})  p50 {seen['p50_ms']:>6.1f} "
        f"p99 {seen['p99_ms']:>6.1f} ms  starts in {turn.cold_seconds:>4.1f} s  "
        f"others {turn.closed.others:.0%}  lost {seen['not_answered_200']}"
        + (f"  high rate p99 {high['p99_ms']:.1f} ms {high['cpu_us']:.0f} us" if high else "")
    )


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each window")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second that all hold")
    parser.add_argument("--high-rate", type=float, default=1000.0, help="for ours, with the log")
    parser.add_argument("--high-seconds", type=float, default=8.0)
    parser.add_argument("--cold-starts", type=int, default=5)
    names = [one.name for one in (*OURS, *PEERS)]
    parser.add_argument("--only", nargs="+", choices=names, help="needs --out")
    parser.add_argument("--out", type=Path)
    given = vars(parser.parse_args())
    only, out = given.pop("only"), given.pop("out")
    if only and out is None:
        parser.error("--only measures a part: give --out, so that the figures of all stay")
    contestants = [one for one in (*OURS, *PEERS) if not only or one.name in only]
    result = measure(Plan(**given), contestants)
    out = out or RESULT
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps({key: result[key] for key in ("goals", "machine_meanwhile")}, indent=2))
    print(json.dumps({key: result.get(key) for key in GOALS}, indent=2))


if __name__ == "__main__":
    main()
