"""Trainings that follow a heal come in proportion to what there is to learn, and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.follow_up import GROWTH, FollowUp, grown

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = st.floats(0, 400).map(lambda d: timedelta(days=d))


@given(DAYS, DAYS)
def test_when_it_is_due_the_labelled_time_since_the_change_has_grown(
    span: timedelta, delay: timedelta
) -> None:
    now = T0 + span + delay
    due = grown(T0, now, now - delay)
    assert abs((due - delay - T0) - GROWTH * span) < timedelta(seconds=1)


def test_a_change_that_no_label_has_reached_waits_for_the_first() -> None:
    assert grown(T0, T0, T0 - timedelta(days=9)) == T0 + timedelta(days=9)


@given(DAYS, st.integers(1, 10))
def test_it_is_read_as_it_was_written(span: timedelta, left: int) -> None:
    one = FollowUp.after("cards-3", T0, T0 + span, T0 + span, left)
    assert one is not None and FollowUp.from_json(one.to_json()) == one


def test_after_the_last_nothing_follows() -> None:
    assert FollowUp.after("cards-3", T0, T0, T0, 0) is None
