"""Which simulated errors are held against the stated rate of a release."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.analysis import BROKEN, CALM, RELEASES, canary, false_promotion, shadow

BETTER = {"equal": {"promoted": 0.0}, "worse_5_percent": {"promoted": 0.0}}


@pytest.mark.parametrize("kind", RELEASES)
def test_a_whole_release_that_promotes_a_worse_version_counts(kind: str) -> None:
    wrong = {**BETTER, "worse_5_percent": {"promoted": 0.25}}
    assert false_promotion({**dict.fromkeys(RELEASES, BETTER), kind: wrong}) == 0.25


def test_harm_that_a_canary_or_a_shadow_lets_through_is_no_false_promotion() -> None:
    through = {"equal": {"let_through": 1.0}, "worse_5_percent": {"let_through": 1.0}}
    rows = {**dict.fromkeys(RELEASES, BETTER), "canary_alone": through, "shadow_alone": through}
    assert false_promotion(rows) == 0.0


@pytest.mark.parametrize("walk", [canary, shadow])
def test_the_simulated_walk_ends_as_its_service_behaves(walk: Callable[..., bool]) -> None:
    rng = np.random.default_rng(3)
    assert walk(rng, CALM)
    assert not walk(rng, BROKEN["alerts_on_half"])
