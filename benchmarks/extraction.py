"""How good a copy of the model is that is built by asking it, with and without the defences.

Played by ``benchmarks.attacks``. A gradient-boosted model is trained on
half of the public data set ``taiwan_default`` (``SETPOINT_SHARED_DATA``), a tree is fitted on its
answers to a copier's requests, and the two are compared on real rows that neither has seen. The
defences are those of a key: it is found by ``setpoint.domain.extraction``, beside a client that
asks real rows, and asks no more; its scores are told to one decimal place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.domain.extraction import Asked, extraction_findings
from setpoint.domain.multivariate import sample
from setpoint.domain.outcome import Outcome

QUERIES = 5_000
LOOK = 100
"""Requests of the copier between two looks; in production its rate times the time between looks."""
ERROR_RATE = 0.001 * 0.05
"""Of a look at the default ``watch.error_rate``: the share that ``stages.watch`` gives it."""
DIGITS = 1
ALERTS = 0.2
"""Share of the rows that get the adverse action."""

Rows = NDArray[np.float64]
Score = Callable[[Rows], NDArray[np.float64]]


def extraction(
    columns: Mapping[str, Any], label: Any, rounds: int = 3, queries: int = QUERIES
) -> list[dict[str, Any]]:
    """Attack models trained on these rows, with and without the defences.

    Args:
        columns: Numbers by input, [n] each, at least 4,000 rows.
        label: 0 or 1, [n].
        rounds: Splits, models and attacks, each with a seed of its own.
        queries: Requests of a copier that nobody stops.

    Returns:
        One row an attack, the mean over rounds. ``off``, ``rounded`` (scores to ``DIGITS`` alone)
        and ``on`` (stopped at the look that finds it, too) have each, on held-out real rows:
        ``alike``, the share on which copy and model act alike, mean over both actions (.5 is a
        coin), and ``variance``, the share of the model's score that the copy explains (0 and less
        is as good as a constant). ``found`` is the share of rounds in which it is found, and
        ``found_after`` the most requests until then, null if never.
    """
    every = [_round(columns, label, seed, queries) for seed in range(rounds)]
    return [_mean(attack) for attack in zip(*every, strict=True)]


def _mean(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    after = [one["found_after"] for one in rounds if one["found_after"] is not None]
    row: dict[str, Any] = {"attack": rounds[0]["attack"], "queries": rounds[0]["queries"]}
    row |= {"found": len(after) / len(rounds), "found_after": max(after, default=None)}
    for part in ("off", "rounded", "on"):
        row[part] = {
            name: round(float(np.mean([one[part][name] for one in rounds])), 3)
            for name in ("alike", "variance")
        }
    return row


def _round(columns: Mapping[str, Any], label: Any, seed: int, queries: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = np.column_stack([np.asarray(one, dtype=np.float64) for one in columns.values()])
    order = rng.permutation(len(rows))
    known, held, shop = np.split(order, [len(rows) // 2, 3 * len(rows) // 4])
    score = _model(rows[known], np.asarray(label)[known], seed)
    threshold = float(np.quantile(score(rows[known]), 1 - ALERTS))
    names = list(columns)
    training = sample(
        dict(zip(names, rows[known].T, strict=True)) | {"score": score(rows[known])}, seed
    )
    normal = _asked(rows[shop][:2_000], names, score, threshold)
    found = []
    attacks = {
        "rows drawn at random": _random(rows[known], rng, queries),
        "search of the boundary, field by field": _search(
            rows[known], score, threshold, rng, queries
        ),
        "real rows": rows[shop][-queries:],
    }
    for name, asked in attacks.items():
        looks = range(LOOK, len(asked) + 1, LOOK)
        after = next(
            (n for n in looks if _fails(asked[:n], normal, training, names, score, threshold)), None
        )
        answers = score(asked)
        copies = {
            "off": (len(asked), answers),
            "rounded": (len(asked), answers.round(DIGITS)),
            "on": (after or len(asked), answers.round(DIGITS)),
        }
        row: dict[str, Any] = {"attack": name, "queries": len(asked), "found_after": after}
        for part, (n, told) in copies.items():
            copy = _copy(asked[:n], told[:n], seed)
            row[part] = _fidelity(copy(rows[held]), score(rows[held]), threshold)
        found.append(row)
    return found


def _model(rows: Rows, label: Any, seed: int) -> Score:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(max_iter=60, random_state=seed).fit(rows, label)
    return lambda asked: np.asarray(model.predict_proba(asked)[:, 1])


def _copy(rows: Rows, answers: NDArray[np.float64], seed: int) -> Score:
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(min_samples_leaf=3, random_state=seed).fit(rows, answers)
    return lambda asked: np.asarray(tree.predict(asked))


def _fidelity(
    copy: NDArray[np.float64], model: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    acts, follows = model >= threshold, copy >= threshold
    alike = float((follows[acts].mean() + (~follows[~acts]).mean()) / 2)
    return {"alike": alike, "variance": 1 - float(np.mean((copy - model) ** 2) / np.var(model))}


def _random(rows: Rows, rng: np.random.Generator, queries: int) -> Rows:
    """Within the bounds that the service's own description tells everybody."""
    return rng.uniform(rows.min(axis=0), rows.max(axis=0), (queries, rows.shape[1]))


def _search(
    rows: Rows, score: Score, threshold: float, rng: np.random.Generator, queries: int
) -> Rows:
    """From a row drawn at random, halve the way to the boundary along one field after the other."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    asked: list[Rows] = []
    while len(asked) < queries:
        row = rng.uniform(low, high)
        for field in rng.permutation(rows.shape[1])[:3]:
            ends = [low[field], high[field]]
            for _ in range(6):
                row = row.copy()
                row[field] = sum(ends) / 2
                asked.append(row)
                ends[int(score(row[None])[0] >= threshold)] = row[field]
    return np.array(asked[:queries])


def _asked(rows: Rows, names: list[str], score: Score, threshold: float) -> Asked:
    columns = dict(zip(names, rows.T.tolist(), strict=True))
    return Asked(columns, columns, score(rows).tolist(), threshold)


def _fails(
    rows: Rows,
    normal: Asked,
    training: Mapping[str, Any],
    names: list[str],
    score: Score,
    threshold: float,
) -> bool:
    clients = {"shop": normal, "copier": _asked(rows, names, score, threshold)}
    found = extraction_findings(clients, training, ERROR_RATE)
    return any(f.slice == "copier" and f.outcome == Outcome.FAILED for f in found)


def read_taiwan(folder: Path) -> tuple[dict[str, Any], Any]:
    """Inputs and label of the public data set, from the folder of all of them."""
    import pyarrow.parquet as pq

    file = folder / "taiwan_default" / "taiwan_default.parquet"
    return taiwan(pq.read_table(file).to_pandas())


def taiwan(frame: Any) -> tuple[dict[str, Any], Any]:
    """Inputs and label of the data set; texts as numbers."""
    numbers = frame.select_dtypes("number")
    label = next(name for name in frame.columns if name.lower().startswith("default"))
    inputs = {n: numbers[n].to_numpy() for n in numbers.columns if n not in (label, "ID", "id")}
    return inputs, frame[label].astype(float).to_numpy()
