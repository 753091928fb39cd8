"""Which rows train a model, which tune it, and which judge it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from setpoint.domain.training import Rows
from setpoint.errors import TrainingError

TUNE_POSITIVES = 50
"""A threshold that fewer positives choose is chance: the costliest few of them decide it."""


@dataclass(frozen=True)
class Split:
    """Disjoint by group: ``fit`` trains, ``tune`` chooses parameters, calibrates and sets the
    threshold, ``judge`` is seen by the gates alone."""

    fit: Rows
    tune: Rows
    judge: Rows


def hash_share(value: str) -> float:
    """A fixed number in [0, 1) for a text, the same in every run and on every machine."""
    digest = hashlib.blake2b(value.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_rows(rows: Rows, holdout: float, judge_recent: float, since: int | None = None) -> Split:
    """Split by group, and judge on the latest part of the event time.

    A group is held out by a fixed hash of its name, so a held-out group never trains any model:
    champion and challenger can be compared on it whatever data each was trained on.

    Args:
        rows: All labelled rows.
        holdout: Share of groups that judge.
        judge_recent: Latest share of the event time that tunes and judges; 1 for all.
        since: Tune and judge on rows from here on instead, microseconds since the epoch: what an
            incident was about is not drowned in what was before it. Where those that tune have
            fewer than ``TUNE_POSITIVES`` positives, it tunes on older ones, too.

    Raises:
        TrainingError: A part has no rows or only one class.
    """
    if not len(rows):
        raise TrainingError(
            "there are no labelled rows to split",
            where="split",
            fix="bring data, or wait until the labels of what is there are complete",
        )
    shares = {g: hash_share(g) for g in set(rows.group.tolist())}
    share = np.array([shares[g] for g in rows.group.tolist()])
    recent = rows.time >= rows.time.max() - judge_recent * (rows.time.max() - rows.time.min())
    tune_edge = holdout + (1 - holdout) * 0.25
    tunes = (share >= holdout) & (share < tune_edge)
    judged = recent
    if since is not None:
        judged = rows.time >= since
        recent = rows.time >= _with_positives(rows.take(tunes), since)
    judge = rows.take((share < holdout) & judged)
    tune = rows.take(tunes & recent)
    fit = rows.take((share >= tune_edge) | ((share >= holdout) & ~recent))
    for name, part in (("fit", fit), ("tune", tune), ("judge", judge)):
        positives = int(part.label.sum())
        if positives == 0 or positives == len(part):
            raise TrainingError(
                f"the part that would {name} has {len(part)} rows, {positives} of them positive: "
                "both classes are needed",
                where="split",
                fix="bring more labelled data, or lower train.holdout or raise train.judge_recent",
            )
    return Split(fit, tune, judge)


def _with_positives(rows: Rows, since: int) -> int:
    """From when on there are ``TUNE_POSITIVES`` positives, ``since`` at the latest."""
    found = np.sort(rows.time[rows.label == 1])
    return since if not len(found) else min(since, int(found[-min(TUNE_POSITIVES, len(found))]))
