"""What the bundle takes to score a row, and how large it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from setpoint.domain.bundle import read_bundle
from setpoint.domain.explanations import even_sample
from setpoint.domain.findings import Finding, check_ceiling, check_value, not_measured
from setpoint.domain.training import Rows
from setpoint.errors import BundleError
from setpoint.stages.gates.case import Case

SCORING, SIZE = "scoring_slow", "bundle_mb"
TIMED = 400
"""Scores that are timed, one row at a time, after ``WARM`` that are not."""
WARM = 20
SLOW_SHARE = 0.01
"""What may be slower than the limit: the limit is one of the 99th percentile."""


def footprint_findings(case: Case) -> list[Finding]:
    """CPU of a score with its reasons, one row at a time on one thread, and bytes of the bundle.

    Time on the wall would be that of a machine which trains and serves besides. Network, features
    and the log are not in it: the image gate and the canary time those.
    """
    rule, gates = case.workspace.project.package, case.workspace.project.gates
    folder = Path(case.candidate.bundle)
    try:
        seconds = _timed(case, even_sample(case.rows, TIMED + WARM))
    except BundleError as err:
        return [not_measured(SCORING, err.what), not_measured(SIZE, err.what)]
    slow = sum(one * 1000 > rule.max_p99_ms for one in seconds)
    share = check_ceiling(
        SCORING, slow, len(seconds), SLOW_SHARE, gates.setpoint_error_rate, min_sample=100
    )
    middle = sorted(seconds)[len(seconds) // 2] * 1000
    limit = f"{rule.max_p99_ms:g} ms"
    told = f"{slow} of {len(seconds)} scores took over {limit} of CPU, half under {middle:.2g}"
    mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    size = check_value(SIZE, mb, rule.max_bundle_mb, "ceiling", sample=1)
    return [replace(share, reason=told), replace(size, reason=f"{mb:.2f} MB on disk")]


def _timed(case: Case, rows: Rows) -> Sequence[float]:
    from setpoint.serving.scorer import Scorer

    digest = case.workspace.registry.digest(case.candidate.version)
    scorer = Scorer(read_bundle(Path(case.candidate.bundle), digest))
    found = []
    for number in range(WARM + TIMED):  # few rows are timed more than once
        i = number % len(rows)
        one = [(rows.numbers[i].tolist(), rows.categories[i].tolist())]
        began = time.thread_time()
        scores, raw = scorer.score(one)
        scorer.adverse(one, scores, raw, [str(rows.ids[i])])
        found.append(time.thread_time() - began)
    return found[WARM:]
