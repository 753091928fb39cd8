"""Error budgets, how fast they burn, and the freeze after too many failed windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.domain.outcome import Finding, Outcome, not_measured
from setpoint.domain.slo import (
    AVAILABILITY,
    BURN_ALERTS,
    LATENCY,
    Answers,
    BurnAlert,
    Slo,
    budget_left,
    burn_finding,
    burn_findings,
    burn_rate,
    least_answers,
    quality_budget,
    saturation_finding,
    window_outcome,
)
from setpoint.domain.windows import WindowRecord
from setpoint.errors import DataError

slos = st.sampled_from([AVAILABILITY, LATENCY, Slo("strict", 0.9999), Slo("loose", 0.5)])
alerts = st.sampled_from(BURN_ALERTS)
outcomes = st.lists(st.sampled_from(list(Outcome)), max_size=60)


@st.composite
def answers(draw: st.DrawFn, least: int = 0, most: int = 10**7) -> Answers:
    total = draw(st.integers(least, most))
    return Answers(draw(st.integers(0, total)), total)


@st.composite
def nested(draw: st.DrawFn) -> tuple[Answers, Answers]:
    """Answers of a long window and of its newest part."""
    short = draw(answers(most=10**5))
    before = draw(answers(most=10**6))
    return Answers(short.bad + before.bad, short.total + before.total), short


@given(slos)
def test_a_burn_of_1_spends_the_budget_exactly(slo: Slo) -> None:
    total = 10**8
    period = Answers(round(slo.allowed * total), total)
    assert burn_rate(slo, period) == pytest.approx(1)
    left = budget_left(slo, period)
    assert left.value == pytest.approx(0) and left.sample == total
    over = Answers(period.bad + 1, total)
    assert budget_left(slo, over).outcome == Outcome.FAILED


@given(slos, answers(least=1))
def test_what_burns_is_not_left(slo: Slo, period: Answers) -> None:
    left, burnt = budget_left(slo, period), burn_rate(slo, period)
    assert left.value is not None and burnt is not None
    assert left.value + burnt == pytest.approx(1)
    assert burnt <= 1 / slo.allowed * (1 + 1e-12)
    if left.outcome != Outcome.INCONCLUSIVE:
        assert left.passed == (left.value >= 0)


@given(slos, answers(least=1), st.integers(1, 10))
def test_a_burn_rate_does_not_depend_on_how_much_is_asked(slo: Slo, one: Answers, k: int) -> None:
    again = Answers(one.bad * k, one.total * k)
    assert burn_rate(slo, again) == pytest.approx(burn_rate(slo, one))


def test_alerts_spend_the_parts_of_a_month_that_the_workbook_says() -> None:
    spent = [alert.rate * (alert.long / AVAILABILITY.period) for alert in BURN_ALERTS]
    assert spent == pytest.approx([0.02, 0.05, 0.10])
    assert [alert.severity for alert in BURN_ALERTS] == ["page", "page", "ticket"]
    assert all(alert.short * 12 == alert.long for alert in BURN_ALERTS)


@given(slos, alerts, nested())
def test_an_alert_needs_both_windows(
    slo: Slo, alert: BurnAlert, windows: tuple[Answers, Answers]
) -> None:
    long, short = windows
    found = burn_finding(slo, alert, long, short)
    rates = [burn_rate(slo, long), burn_rate(slo, short)]
    both = all(rate is not None and rate > alert.rate for rate in rates)
    enough = long.total >= least_answers(slo, alert.rate)
    assert (found.outcome == Outcome.FAILED) == (both and enough)
    assert found.sample == long.total
    if not enough:
        assert found.outcome == Outcome.INCONCLUSIVE


@given(slos, alerts, nested())
def test_one_more_failure_never_ends_an_alert(
    slo: Slo, alert: BurnAlert, windows: tuple[Answers, Answers]
) -> None:
    long, short = windows
    if short.bad < short.total:
        worse = Answers(long.bad + 1, long.total), Answers(short.bad + 1, short.total)
        if burn_finding(slo, alert, long, short).outcome == Outcome.FAILED:
            assert burn_finding(slo, alert, *worse).outcome == Outcome.FAILED


@pytest.mark.parametrize(
    ("bad", "outcome"), [(145, Outcome.FAILED), (143, Outcome.PASSED), (10, Outcome.PASSED)]
)
def test_a_burn_over_14_4_pages_and_one_of_1_does_not(bad: int, outcome: Outcome) -> None:
    long, short = Answers(bad * 12, 120_000), Answers(bad, 10_000)
    assert burn_finding(AVAILABILITY, BURN_ALERTS[0], long, short).outcome == outcome


def test_an_alert_ends_when_the_short_window_is_well_again() -> None:
    long = Answers(6_000, 120_000)
    assert burn_finding(AVAILABILITY, BURN_ALERTS[0], long, Answers(0, 10_000)).passed


def test_one_failure_of_a_few_answers_is_no_alert() -> None:
    found = burn_finding(AVAILABILITY, BURN_ALERTS[0], Answers(1, 20), Answers(1, 2))
    assert found.outcome == Outcome.INCONCLUSIVE
    assert budget_left(AVAILABILITY, Answers(1, 20)).outcome == Outcome.INCONCLUSIVE


def test_silence_is_not_health() -> None:
    page = BURN_ALERTS[0]
    nothing = Answers(0, 0)
    assert burn_finding(AVAILABILITY, page, nothing, nothing).outcome == Outcome.INCONCLUSIVE
    burning = Answers(500, 1_000)
    assert burn_finding(AVAILABILITY, page, burning, nothing).outcome == Outcome.INCONCLUSIVE
    assert budget_left(AVAILABILITY, nothing).outcome == Outcome.INCONCLUSIVE


def test_a_window_that_nobody_counted_is_an_error() -> None:
    counted = {alert.long: Answers(0, 10**6) for alert in BURN_ALERTS}
    counted |= {alert.short: Answers(0, 10**5) for alert in BURN_ALERTS[1:]}
    counted[timedelta(hours=6)] = Answers(0, 10**6)
    found = [finding.outcome for _, finding in burn_findings(LATENCY, counted)]
    assert found == [Outcome.ERROR, Outcome.PASSED, Outcome.PASSED]


@pytest.mark.parametrize(("bad", "total"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(bad: int, total: int) -> None:
    with pytest.raises(DataError, match="bad answers"):
        Answers(bad, total)
    with pytest.raises(DataError, match="not among"):
        burn_finding(LATENCY, BURN_ALERTS[0], Answers(0, 10), Answers(1, 5))


@pytest.mark.parametrize("objective", [0.0, 1.0, float("nan")])
def test_an_objective_without_a_budget_is_refused(objective: float) -> None:
    with pytest.raises(DataError, match="error budget"):
        Slo("all", objective)


@pytest.mark.parametrize(
    ("used", "limit", "sample", "outcome"),
    [
        (0.8, 1.0, 9, Outcome.PASSED),
        (0.81, 1.0, 9, Outcome.FAILED),
        (0.1, 1.0, 0, Outcome.INCONCLUSIVE),
        (0.1, 0.0, 9, Outcome.ERROR),
        (float("nan"), 1.0, 9, Outcome.ERROR),
    ],
)
def test_saturation_is_a_share_of_a_limit(
    used: float, limit: float, sample: int, outcome: Outcome
) -> None:
    assert saturation_finding("cpu", used, limit, sample=sample).outcome == outcome


@given(outcomes, st.integers(1, 40), st.data())
def test_a_quality_budget_is_spent_by_failed_windows_alone(
    found: list[Outcome], windows: int, data: st.DataObject
) -> None:
    failed = data.draw(st.integers(0, windows))
    budget = quality_budget(found, windows=windows, failed=failed)
    recent = found[-windows:]
    lost = recent.count(Outcome.FAILED)
    judged = lost + recent.count(Outcome.PASSED)
    assert (budget.outcome == Outcome.FAILED) == (lost > failed)
    assert (budget.outcome == Outcome.INCONCLUSIVE) == (judged == 0)
    assert budget.sample == judged


@given(outcomes, st.integers(1, 40))
def test_a_budget_of_all_windows_is_never_spent(found: list[Outcome], windows: int) -> None:
    assert quality_budget(found, windows=windows, failed=windows).outcome != Outcome.FAILED


def test_a_cure_is_spared_and_says_why_and_what_it_was_spared() -> None:
    bad = [Outcome.FAILED] * 11 + [Outcome.PASSED] * 19
    frozen = quality_budget(bad, windows=30, failed=10)
    assert (frozen.outcome, frozen.value, frozen.setpoint) == (Outcome.FAILED, 11, 10)
    assert frozen.direction == "ceiling"
    spared = quality_budget(bad, windows=30, failed=10, spared="it heals x-1")
    assert spared.passed and (spared.value, spared.setpoint, spared.direction) == (11, 10, "")
    assert "it heals x-1" in spared.reason
    kept = quality_budget(bad[1:], windows=30, failed=10, spared="it heals x-1")
    assert kept.passed and "x-1" not in kept.reason and kept.direction == "ceiling"


@pytest.mark.parametrize(("windows", "failed"), [(0, 0), (3, 4), (3, -1)])
def test_an_impossible_quality_budget_is_refused(windows: int, failed: int) -> None:
    with pytest.raises(DataError, match="windows may fail"):
        quality_budget([], windows=windows, failed=failed)


def test_a_window_is_judged_by_its_setpoints_alone() -> None:
    def one(name: str, outcome: Outcome, slice: str = "") -> Finding:
        if outcome in (Outcome.ERROR, Outcome.INCONCLUSIVE):
            return not_measured(name, "unseen", outcome=outcome, slice=slice)
        return Finding(name, outcome, 0.5, 0.8, "floor", 9, 0.05, "because", slice=slice)

    end = datetime(2026, 2, 1, tzinfo=UTC)
    drift = one("psi", Outcome.FAILED, "x")
    by_group = one("recall", Outcome.FAILED, "sex=f")
    held = WindowRecord(end, "v1", (one("recall", Outcome.PASSED), drift, by_group))
    assert window_outcome(held, {"recall"}) == Outcome.PASSED
    broken = WindowRecord(end, "v1", (one("recall", Outcome.FAILED), one("cost", Outcome.PASSED)))
    assert window_outcome(broken, {"recall", "cost"}) == Outcome.FAILED
    assert window_outcome(broken, {"cost"}) == Outcome.PASSED
    assert window_outcome(WindowRecord(end, "v1", (drift,)), {"recall"}) == Outcome.INCONCLUSIVE
