"""Who copies is found, who asks as others do is not, and what cannot be told is not told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.extraction import (
    CEILING,
    MARGIN,
    MIN_ROWS,
    NOVEL,
    PROBING,
    Asked,
    extraction_findings,
    near_duplicates,
)
from setpoint.domain.findings import Finding, Outcome

RATE = 1e-4
THRESHOLD = 0.6


def score(x: Any, y: Any) -> Any:
    """The model that is asked."""
    return 1 / (1 + np.exp(-(2 * x + y - 2)))


def real(rng: np.random.Generator, n: int, shift: float = 0.0) -> dict[str, Any]:
    """Rows as they come: two inputs that hang together, and a kind."""
    x = rng.normal(shift, 1, n)
    y = x + rng.normal(0, 0.5, n)
    return {"x": x, "y": y, "kind": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])}


def asked(rows: Mapping[str, Any]) -> Asked:
    """What a client asked."""
    columns = {name: np.asarray(values).tolist() for name, values in rows.items()}
    return Asked(columns, columns, score(rows["x"], rows["y"]).tolist(), THRESHOLD)


def training(rng: np.random.Generator) -> dict[str, Any]:
    """The sample that a bundle keeps."""
    rows = real(rng, 1000)
    return {**rows, "score": score(rows["x"], rows["y"])}


def random_rows(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Made-up rows within the allowed bounds."""
    x, y = rng.uniform(-6, 6, (2, n))
    return {"x": x, "y": y, "kind": rng.choice(["a", "b", "c"], n)}


def line_search(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """From real rows along one field towards the boundary, by halving."""
    rows = real(rng, n)
    for begin in range(0, n, 8):
        part = slice(begin, begin + 8)
        low, high = -6.0, 6.0
        y = rows["y"][begin]
        for i in range(begin, min(begin + 8, n)):
            middle = (low + high) / 2
            rows["x"][i] = middle
            low, high = (low, middle) if score(middle, y) >= THRESHOLD else (middle, high)
        rows["y"][part], rows["kind"][part] = y, rows["kind"][begin]
    return rows


def found(clients: Mapping[str, Mapping[str, Any]], seed: int = 0) -> dict[str, dict[str, Finding]]:
    """Findings by client and test."""
    known = training(np.random.default_rng(seed + 1000))
    asking = {name: asked(rows) for name, rows in clients.items()}
    told: dict[str, dict[str, Finding]] = {name: {} for name in clients}
    for one in extraction_findings(asking, known, RATE):
        told[one.slice][one.name] = one
    return told


def failed(told: Mapping[str, Finding]) -> set[str]:
    """Tests that a client fails."""
    return {name for name, one in told.items() if one.outcome == Outcome.FAILED}


def test_random_rows_are_found_and_the_shop_beside_them_is_not() -> None:
    rng = np.random.default_rng(0)
    told = found({"shop": real(rng, 1000), "copier": random_rows(rng, MIN_ROWS)})
    assert NOVEL in failed(told["copier"])
    assert failed(told["shop"]) == set()
    novel = told["copier"][NOVEL]
    assert novel.value is not None and novel.setpoint == CEILING
    assert novel.error_rate == pytest.approx(RATE / 6) and novel.sample == MIN_ROWS


def test_a_search_along_one_field_is_found_without_any_other_client() -> None:
    told = found({"copier": line_search(np.random.default_rng(1), MIN_ROWS)})
    assert {PROBING, MARGIN} <= failed(told["copier"])
    assert told["copier"][NOVEL].outcome == Outcome.INCONCLUSIVE


@pytest.mark.parametrize("seed", range(40))
def test_clients_with_traffic_of_their_own_are_not_accused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    niche = real(rng, 600, shift=0.7)
    niche["kind"][:] = "c"
    told = found({"shop": real(rng, 900), "niche": niche}, seed)
    assert failed(told["shop"]) | failed(told["niche"]) == set()


def test_drift_of_all_clients_is_no_attack_of_one() -> None:
    rng = np.random.default_rng(3)
    told = found({name: real(rng, 500, shift=6.0) for name in ("shop", "bank", "app")})
    assert told["shop"][NOVEL].value == pytest.approx(1.0, abs=0.1)
    assert {name for one in told.values() for name in failed(one)} == set()


def test_drift_of_a_client_alone_is_not_told_as_an_attack() -> None:
    told = found({"shop": real(np.random.default_rng(4), 500, shift=6.0)})
    assert told["shop"][NOVEL].outcome == Outcome.INCONCLUSIVE
    assert failed(told["shop"]) == set()


def test_of_few_requests_nothing_is_told() -> None:
    rng = np.random.default_rng(5)
    told = found({"shop": real(rng, 500), "copier": random_rows(rng, MIN_ROWS - 1)})
    assert {one.outcome for one in told["copier"].values()} == {Outcome.INCONCLUSIVE}


def test_without_clients_there_is_nothing_to_tell() -> None:
    assert extraction_findings({}, training(np.random.default_rng(0)), RATE) == []


def test_what_is_missing_is_as_far_from_what_is_there_as_can_be() -> None:
    rng = np.random.default_rng(6)
    hollow = real(rng, MIN_ROWS)
    hollow["x"], hollow["y"] = np.full((2, MIN_ROWS), np.nan)
    shop = asked(real(rng, 500))
    copier = Asked({k: list(v) for k, v in hollow.items()}, {}, [0.1] * MIN_ROWS, THRESHOLD)
    told = extraction_findings({"shop": shop, "copier": copier}, training(rng), RATE)
    [novel] = [one for one in told if (one.slice, one.name) == ("copier", NOVEL)]
    assert (novel.value, novel.outcome) == (1.0, Outcome.FAILED)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_near_duplicates_are_what_a_plain_comparison_finds(rows: list[tuple[int, ...]]) -> None:
    fields = {str(i): [row[i] for row in rows] for i in range(3)}
    plain = [
        any(
            sum(a != b for a, b in zip(row, other, strict=True)) <= 1
            for other in rows[max(i - 8, 0) : i]
        )
        for i, row in enumerate(rows)
    ]
    assert near_duplicates(fields, len(rows)).tolist() == plain
