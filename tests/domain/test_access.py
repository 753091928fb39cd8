"""Permissions: who may do what, and what is said to who may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.config import parse_project
from setpoint.domain.access import PERMISSIONS, Actor, Permission, Policy, require, undeclared
from setpoint.errors import AccessError, ProjectFileError
from tests.stages.small import PROJECT

POLICY = Policy(
    people={
        "alice": frozenset(("approve", "audit")),
        "root": frozenset(("admin",)),
        "both": frozenset(("admin", "approve")),
    },
    services={"setpoint": frozenset(("train",)), "alice": frozenset(("score",))},
)
DECLARED = """\
access:
  people: {alice: [approve, audit]}
  services: {setpoint: [train, release], shop: [score]}
"""


def person(name: str, login: str | None = None) -> Actor:
    """A person at the machine."""
    return Actor(name, "person", name if login is None else login)


@given(st.sampled_from(PERMISSIONS), st.frozensets(st.sampled_from(PERMISSIONS)))
def test_a_permission_is_had_by_who_was_given_it_and_contained_in_no_other(
    asked: Permission, held: frozenset[Permission]
) -> None:
    policy = Policy(people={"alice": held})
    if asked in held:
        require(policy, person("alice"), asked)
    else:
        with pytest.raises(AccessError):
            require(policy, person("alice"), asked)


@pytest.mark.parametrize("permission", PERMISSIONS)
@pytest.mark.parametrize("actor", [person("mallory"), person(""), Actor("shop", "service")])
def test_who_is_not_named_may_nothing(actor: Actor, permission: Permission) -> None:
    with pytest.raises(AccessError, match="has not the permission"):
        require(POLICY, actor, permission)


def test_a_person_and_a_service_of_one_name_are_two() -> None:
    require(POLICY, Actor("alice", "service"), "score")
    with pytest.raises(AccessError):
        require(POLICY, person("alice"), "score")
    with pytest.raises(AccessError):
        require(POLICY, Actor("alice", "service"), "audit")


def test_a_refusal_names_who_what_is_missing_where_to_declare_it_and_whom_to_ask() -> None:
    with pytest.raises(AccessError) as caught:
        require(POLICY, person("bob"), "approve")
    said = str(caught.value)
    assert "the person bob has not the permission approve: it has none" in said
    assert "add approve to access.people.bob of the project file, or ask alice" in said


def test_a_permission_is_not_had_by_typing_the_name_of_who_has_it() -> None:
    with pytest.raises(AccessError, match="bob says to be alice"):
        require(POLICY, person("alice", login="bob"), "approve")


def test_an_admin_speaks_for_others_and_for_nobody_who_may_not() -> None:
    require(POLICY, person("alice", login="root"), "audit")
    with pytest.raises(AccessError, match="alice has not the permission train"):
        require(POLICY, person("alice", login="root"), "train")


def test_an_admin_approves_in_nobody_s_name_without_the_permission_to_approve() -> None:
    with pytest.raises(
        AccessError, match="root says to be alice, and has not the permission approve"
    ):
        require(POLICY, person("alice", login="root"), "approve")
    require(POLICY, person("alice", login="both"), "approve")


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_where_nobody_is_named_all_may_all_but_approve_what_is_of_high_risk(
    permission: Permission,
) -> None:
    anybody = person("anybody", login="else")
    require(undeclared(high_risk=False), anybody, permission)
    if permission != "approve":
        require(undeclared(high_risk=True), anybody, permission)
    else:
        with pytest.raises(AccessError, match="nobody is named"):
            require(undeclared(high_risk=True), anybody, permission)


def test_the_project_file_names_people_and_services() -> None:
    policy = parse_project(PROJECT + DECLARED).access_policy()
    require(policy, person("alice"), "approve")
    require(policy, Actor("setpoint", "service"), "release")
    for actor, permission in ((person("alice"), "admin"), (Actor("shop", "service"), "label")):
        with pytest.raises(AccessError):
            require(policy, actor, permission)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("alice: [approve, audit]", "alice: [approve, root]", "root"),
        ("{alice: [approve, audit]}", "{}", "people"),
        ("setpoint: [train, release], ", "", "what the loop itself may do"),
        ("people:", "persons:", "persons"),
    ],
)
def test_a_section_that_says_less_than_it_has_to_is_refused(
    before: str, after: str, message: str
) -> None:
    with pytest.raises(ProjectFileError, match=message):
        parse_project(PROJECT + DECLARED.replace(before, after))
