"""Which decisions are explored is a lot that everybody draws alike."""

from __future__ import annotations

import pytest

from setpoint.domain.exploration import explores

IDS = [f"t{i}" for i in range(20_000)]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_share_that_is_drawn_is_the_one_asked_for(share: float) -> None:
    drawn = sum(explores(one, "d" * 64, share) for one in IDS)
    assert abs(drawn - share * len(IDS)) < 4 * (share * len(IDS)) ** 0.5


def test_nothing_is_drawn_at_share_0_and_a_larger_share_draws_the_smaller_ones_too() -> None:
    assert not any(explores(one, "d", 0.0) for one in IDS)
    few = {one for one in IDS if explores(one, "d", 0.01)}
    assert few < {one for one in IDS if explores(one, "d", 0.02)}


def test_a_draw_is_the_same_on_every_machine_and_another_for_each_bundle() -> None:
    assert [one for one in IDS[:300] if explores(one, "d" * 64, 0.01)] == PINNED
    both = sum(explores(one, "a", 0.1) and explores(one, "b", 0.1) for one in IDS)
    assert both == pytest.approx(0.01 * len(IDS), rel=0.2)


PINNED = ["t15", "t81", "t126"]
