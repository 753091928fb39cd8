"""``data.time_zone`` of the project file."""

from __future__ import annotations

import pytest

from setpoint.config import parse_project
from setpoint.errors import ProjectFileError
from tests.stages.small import PROJECT


def _with_zone(zone: str) -> str:
    return PROJECT.replace("data:\n", f"data:\n  time_zone: {zone}\n", 1)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_zone_of_the_iana_database_is_taken(zone: str) -> None:
    assert parse_project(_with_zone(zone)).data.time_zone == zone
    assert parse_project(PROJECT).data.time_zone is None


@pytest.mark.parametrize("zone", ["Mars", "../etc/passwd", "''", "Europe"])
def test_an_unknown_zone_names_field_value_and_what_is_allowed(zone: str) -> None:
    with pytest.raises(ProjectFileError, match=r"data\.time_zone") as caught:
        parse_project(_with_zone(zone))
    assert "not an IANA time zone such as UTC" in str(caught.value)
