"""The ML Test Score pays for evidence: take a piece of it away, and its points are gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from setpoint.documents.assessment import Scored, judge_evidence
from setpoint.documents.evidence import Evidence, _search_fault
from setpoint.documents.ml_test_score import SECTIONS
from setpoint.documents.ml_test_score.data import USELESS
from setpoint.domain.incidents import Cause, Incident, Severity, Status
from setpoint.domain.outcome import Finding, Outcome, not_measured
from setpoint.domain.windows import WindowRecord
from tests.documents.conftest import Made
from tests.documents.full import (
    Change,
    Told,
    full,
    left,
    passed,
    recorded,
    restaged,
    story,
    unwatched,
    without_finding,
    without_kind,
)
from tests.stages.small import T0

ALL = [test.name for tests in SECTIONS.values() for test in tests]
SKEW = {"All input feature code is tested", "Training and serving are not skewed"}
SLOW = {"No feature's cost is too much", "Computing performance has not regressed"}
TAKEN: dict[str, tuple[Change, set[str]]] = {
    "no batch": (left(batches=0), {"Feature expectations are captured in a schema",
                                   "The data pipeline has appropriate privacy controls"}),
    "no value of inputs": (without_finding("useless_inputs"), {"All features are beneficial"}),
    "no slow answers counted": (without_finding("slow_answers"), SLOW),
    "no driver judged": (without_finding("largest_driver"),
                         {"Features adhere to meta-level requirements"}),
    "no skew measured": (unwatched("skew"), SKEW),
    "nobody approved": (without_kind("approved"), {"Model specs are reviewed and submitted"}),
    "one trial": (left(trials=1), {"All hyperparameters have been tuned"}),
    "nothing to compare": (without_finding("saves_against_champion"),
                           {"The impact of model staleness is known"}),
    "no simpler model": (without_finding("simpler_model"), {"A simpler model is not better"}),
    "no slice": (without_finding("costs_more_in_slice"),
                 {"Model quality is sufficient on important data slices"}),
    "no group": (without_finding("fairness_sex"),
                 {"The model is tested for considerations of inclusion"}),
    "no rebuild": (without_finding("rebuild"), {"Training is reproducible"}),
    "no explanation": (without_finding("explanation_additivity"),
                       {"Model specs are unit tested"}),
    "not packaged": (without_kind("packaged"), {"The ML pipeline is integration tested"}),
    "a promotion without a verdict": (without_kind("accepted", "v0"),
                                      {"Model quality is validated before serving"}),
    "no decision": (left(served=None), {"The model is debuggable",
                                        "Models are numerically stable"}),
    "all traffic at once": (restaged("at once"), {"Models are canaried before serving"}),
    "no rollback": (without_kind("rolled_back"), {"Serving models can be rolled back"}),
    "no dependency looked at": (without_finding("dependencies"),
                                {"Dependency changes result in notification"}),
    "no drift measured": (unwatched("psi"), {"Data invariants hold for inputs"}),
    "looks that ended long ago": (left(now=T0 + timedelta(days=90)),
                                  {"Models are not too stale"}),
    "an unsound score unseen": (without_finding("unsound_scores"),
                                {"Models are numerically stable"}),
}  # fmt: skip


def points(made: Made, change: Change = full) -> dict[str, float]:
    """Points by test."""
    found = judge_evidence(change(made))
    return {test.name: test.points for tests in found.sections.values() for test in tests}


def test_there_are_four_sections_of_seven_tests() -> None:
    assert [len(tests) for tests in SECTIONS.values()] == [7, 7, 7, 7]
    assert len(set(ALL)) == 28


def test_a_loop_that_did_all_of_it_has_28_of_28_and_the_highest_level(made: Made) -> None:
    found = judge_evidence(full(made))
    assert [t.name for ts in found.sections.values() for t in ts if t.points < 1] == []
    assert (found.points, found.passing, found.score, found.level.number) == (28, 28, 7, 4)
    assert found.next == ()


@pytest.mark.parametrize("what", TAKEN)
def test_what_was_not_done_gives_no_points_and_is_named(made: Made, what: str) -> None:
    change, gone = TAKEN[what]
    told = points(made, change)
    assert {name for name, got in told.items() if got == 0} == gone
    assert sum(told.values()) == 28 - len(gone)
    scored = [t for ts in judge_evidence(change(made)).sections.values() for t in ts]
    assert all(t.missing and not t.evidence for t in scored if t.name in gone)


def test_every_test_can_be_lost(made: Made) -> None:
    lost = {name for _, gone in TAKEN.values() for name in gone}
    spec = made.record.bundle.features
    other = replace(made.record.bundle, features=replace(spec, calendar=()))
    assert points(made, recorded(bundle=other))["New features can be added quickly"] == 0
    blind = points(made, unwatched("ranking"))
    assert blind["Offline and online metrics correlate"] == 0
    both = recorded(windows=())(made)
    nothing = judge_evidence(both).sections["monitoring"]
    assert nothing[-1].name == "Prediction quality has not regressed on served data"
    assert nothing[-1].points == 0
    assert set(ALL) - lost == {
        "New features can be added quickly",
        "Offline and online metrics correlate",
        "Prediction quality has not regressed on served data",
    }


QUALITY = "Prediction quality has not regressed on served data"
SLICES = "Model quality is sufficient on important data slices"


def watched(made: Made, *windows: WindowRecord) -> Scored:
    """What is said of the quality on served data where these were the windows."""
    found = judge_evidence(recorded(windows=windows)(made))
    return next(t for ts in found.sections.values() for t in ts if t.name == QUALITY)


def window(version: str, *findings: Finding, day: int = 0) -> WindowRecord:
    return WindowRecord(T0 + timedelta(days=day), version, findings)


def failed(name: str, value: float = 2.0) -> Finding:
    return replace(passed(name, value), outcome=Outcome.FAILED)


def test_a_breach_in_the_newest_window_is_no_proof_that_quality_held(made: Made) -> None:
    broken = watched(made, window("v1", passed("ranking")), window("v1", failed("ranking"), day=1))
    assert broken.points == 0 and not broken.evidence
    assert "failed: ranking 2 against 1, 300 rows (window that ends" in broken.missing
    one = watched(made, window("v1", passed("ranking"), failed("loss_a_day")))
    assert one.points == 0 and "loss_a_day 2" in one.missing
    healed = watched(made, window("v1", failed("ranking")), window("v1", passed("ranking"), day=1))
    assert healed.points == 1 and "it held; judged 2 times in its windows" in healed.evidence


def test_windows_of_another_version_say_nothing_of_this_one(made: Made) -> None:
    blind = replace(passed("ranking"), value=None, outcome=Outcome.INCONCLUSIVE)
    unsure = replace(passed("ranking"), outcome=Outcome.INCONCLUSIVE)
    for mine in (blind, unsure):
        found = watched(made, window("v0", passed("ranking")), window("v1", mine, day=1))
        assert found.points == 0
        assert "ranking, loss_a_day: judged in none of 1 windows of v1 so far" in found.missing


@pytest.mark.parametrize("name", ["fairness_sex", "missing_input", "largest_driver"])
def test_a_group_or_a_missing_field_is_no_slice(made: Made, name: str) -> None:
    other = replace(passed(name), slice="kind=a").to_dict()

    def change(m: Made):  # type: ignore[no-untyped-def]
        found = without_finding("costs_more_in_slice")(m)
        entry = found.record.verdict_entry
        assert entry is not None
        entry.evidence["verdict"]["findings"].append(other)
        return found

    assert points(made, change)[SLICES] == 0


def scored_of(made: Made, name: str, change: Change) -> Scored:
    found = judge_evidence(change(made))
    return next(t for ts in found.sections.values() for t in ts if t.name == name)


def judged_as(name: str, **changes: Any) -> Change:
    """The same loop whose gates found something else."""

    def change(m: Made):  # type: ignore[no-untyped-def]
        other = replace(passed(name), **changes).to_dict()
        told = []
        for one in story():
            if verdict := one.evidence.get("verdict"):
                kept = [other if f["name"] == name else f for f in verdict["findings"]]
                one = replace(one, evidence={**one.evidence, "verdict": {"findings": kept}})
            told.append(one)
        return full(m, told)

    return change


def test_inputs_that_carry_nothing_are_not_all_beneficial(made: Made) -> None:
    idle = judged_as("useless_inputs", value=0.125, reason="2 of 16 inputs carry under 0.001")
    found = scored_of(made, "All features are beneficial", idle)
    assert found.points == 0.5 and "not all are: 2 of 16 inputs carry" in found.missing


def test_an_input_that_rests_in_one_version_and_decided_in_another_is_beneficial(
    made: Made,
) -> None:
    before = Told("accepted", "small/v0", {"verdict": {"findings": [passed(USELESS).to_dict()]}})
    idle = passed(USELESS, 0.1).to_dict()
    told = []
    for one in story():
        if one.kind == "accepted" and one.subject == "small/v1":
            kept = [f for f in one.evidence["verdict"]["findings"] if f["name"] != USELESS]
            one = replace(one, evidence={**one.evidence, "verdict": {"findings": [*kept, idle]}})
        told.append(one)
    name = "All features are beneficial"

    def loop(*alike: str, first: Told = before) -> Change:
        return lambda m: replace(full(m, [first, *told]), alike=frozenset(alike))

    found = scored_of(made, name, loop("small/v0", "small/v1"))
    assert found.points == 1 and "all carried something in v0 (ledger #1" in found.evidence
    assert scored_of(made, name, loop("small/v1")).points == 0.5, "v0 has other inputs"
    refused = replace(before, kind="refused")
    assert scored_of(made, name, loop("small/v0", first=refused)).points == 0.5


@pytest.mark.parametrize(
    ("finding", "name"),
    [("simpler_model", "A simpler model is not better"), ("costs_more_in_slice", SLICES),
     ("useless_inputs", "All features are beneficial")],
)  # fmt: skip
def test_a_finding_that_failed_shows_the_opposite(made: Made, finding: str, name: str) -> None:
    found = scored_of(made, name, judged_as(finding, outcome=Outcome.FAILED, value=2.0))
    assert found.points == 0 and f"failed: {finding} 2" in found.missing


def test_the_approval_of_a_policy_is_no_review(made: Made) -> None:
    told = [replace(t, evidence={"by": "policy"}) if t.kind == "approved" else t for t in story()]
    found = scored_of(made, "Model specs are reviewed and submitted", lambda m: full(m, told))
    assert found.points == 0.5 and "only the policy approved" in found.missing


def test_a_person_who_read_the_project_file_of_the_version_is_a_reviewer(made: Made) -> None:
    digest = made.record.project_digest
    assert len(digest) == 64
    told = [replace(t, evidence={"by": "policy"}) if t.kind == "approved" else t for t in story()]
    name = "Model specs are reviewed and submitted"

    def read(of: str, *, late: bool = False) -> Scored:
        word = Told("reviewed", "small", {"by": "ada", "project": of})
        entries = [*told, word] if late else [word, *told]
        return scored_of(made, name, lambda m: full(m, entries))

    assert read(digest).points == 1
    assert "read by a person first (ledger #1" in read(digest).evidence
    assert read(digest, late=True).points == 0.5, "its gates had judged before"
    assert read("0" * 64).points == 0.5
    unknown = Told("reviewed", "small", {"by": "ada", "project": ""})
    without = scored_of(made, name, lambda m: replace(
        full(m, [unknown, *told]), record=replace(full(m, [unknown, *told]).record,
                                                  project_digest="")))  # fmt: skip
    assert without.points == 0.5


def test_an_input_that_drifted_gives_points_only_where_an_open_incident_told_of_it(
    made: Made,
) -> None:
    name = "Data invariants hold for inputs"
    bad = replace(failed("psi"), slice="amount")
    other = replace(bad, slice="country")
    raised = Told("incident_opened", "small-2", {"cause": "drift"})
    incident = Incident("small-2", Cause.DRIFT, Severity.LOW, Status.WATCHING, T0, "v1", (bad,))

    def seen(
        *incidents: Incident, window: tuple[Finding, ...] = (bad,), told: bool = True
    ) -> float:
        def change(m: Made) -> Evidence:
            found = full(m, [*story(), *([raised] if told else [])])
            looks = (WindowRecord(T0, "v1", window),)
            return replace(found, record=replace(found.record, windows=looks, incidents=incidents))

        return scored_of(made, name, change).points

    assert seen(incident) == 1
    assert seen() == 0
    assert seen(incident, window=(bad, other)) == 0, "one of two was told of"
    assert seen(incident, told=False) == 0, "the ledger knows of no incident"
    closed = replace(incident, status=Status.RESOLVED, closed_at=T0)
    assert seen(closed) == 0


def test_a_search_that_was_edited_by_hand_is_no_evidence(made: Made) -> None:
    kept = made.record.bundle.manifest.parameters
    sets = [kept | {"cost": 1.0}, kept | {"cost": 2.0, "l2": 7.0}]
    project = made.record.project
    train = project.train.model_copy(update={"trials": 4})
    record = replace(made.record, project=project.model_copy(update={"train": train}))
    assert _search_fault(record, sets) == ""
    many = _search_fault(record, sets * 100)
    assert "tells 200 parameter sets, the project file asks for 4" in many
    other = _search_fault(record, [sets[0], sets[1] | {"cost": 0.5}])
    assert "is not the bundle's: l2" in other
    found = scored_of(made, "All hyperparameters have been tuned", left(search_fault=many))
    assert found.points == 0 and many in found.missing
    assert judge_evidence(left(search_fault=many)(made)).level.number == 1
    assert (
        "no digest covers" in scored_of(made, "All hyperparameters have been tuned", full).evidence
    )


def test_the_score_is_the_least_of_the_sections(made: Made) -> None:
    found = judge_evidence(without_finding("rebuild")(made))
    assert found.sums == {"data": 7, "model": 7, "infrastructure": 6, "monitoring": 7}
    assert (found.score, found.points) == (6, 27)


def test_what_a_person_did_counts_half(made: Made) -> None:
    by_hand = [*story(), Told("release_answered", "small/v5", {"person": "ada"})]
    assert points(made, lambda m: full(m, by_hand))["Serving models can be rolled back"] == 0.5
    again = [
        replace(t, evidence={**t.evidence, "cause": "manual"}) if t.kind == "accepted" else t
        for t in story()
    ]
    assert points(made, lambda m: full(m, again))["Models are not too stale"] == 0.5


def test_a_gate_that_could_not_see_is_no_evidence(made: Made) -> None:
    blind = not_measured("fairness_sex", "too few rows").to_dict()
    told = []
    for one in story():
        evidence = dict(one.evidence)
        if one.kind == "accepted":
            kept = [f for f in evidence["verdict"]["findings"] if f["name"] != "fairness_sex"]
            evidence["verdict"] = {"outcome": "error", "findings": [*kept, blind]}
        told.append(replace(one, evidence=evidence))
    inclusion = "The model is tested for considerations of inclusion"
    assert points(made, lambda m: full(m, told))[inclusion] == 0


def test_a_score_online_that_gates_had_not_promised_does_not_correlate(made: Made) -> None:
    evidence = full(made)
    window = evidence.record.windows[0]
    far = tuple(replace(f, interval=(0.5, 0.6)) for f in window.findings)
    there = recorded(windows=(replace(window, findings=far),))
    assert points(made, there)["Offline and online metrics correlate"] == 0


def test_a_decision_that_comes_out_otherwise_is_not_debuggable(made: Made) -> None:
    served = full(made).served
    assert served is not None
    parts = tuple(replace(p, equal=False) for p in served.replayed.parts)
    other = replace(served, replayed=replace(served.replayed, parts=parts))
    assert points(made, left(served=other))["The model is debuggable"] == 0
