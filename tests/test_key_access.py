"""A keys file that gives more than the project file does starts nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from setpoint.errors import AccessError
from setpoint.platform import check_keys, up
from setpoint.serving.keys import Role, new_key
from setpoint.workspace import Workspace
from tests.stages.small import PROJECT, make_workspace

ACCESS = "access: {people: {ada: [admin]}, services: {setpoint: [], shop: [score, label]}}\n"


def _workspace(folder: Path, text: str, *roles: Role, name: str = "shop") -> Workspace:
    file = folder / "keys.json"
    file.write_bytes(msgspec.json.encode([new_key(name, roles, 60)[1]]))
    made = make_workspace(folder, text)
    return replace(made, environment=made.environment.model_copy(update={"key_file": file}))


@pytest.mark.parametrize(("name", "role"), [("shop", "audit"), ("other", "score")])
def test_a_key_that_may_more_than_its_service_starts_nothing(
    tmp_path: Path, name: str, role: Role
) -> None:
    workspace = _workspace(tmp_path, PROJECT + ACCESS, role, name=name)
    with pytest.raises(AccessError, match=rf"the service {name} has not the permission {role}"):
        up(workspace)
    assert not workspace.platform_file.exists()


def test_a_key_that_may_what_its_service_may_is_let_be(tmp_path: Path) -> None:
    check_keys(_workspace(tmp_path, PROJECT + ACCESS, "score", "label"))


def test_where_nobody_is_named_the_keys_file_alone_says_who_may_what(tmp_path: Path) -> None:
    check_keys(_workspace(tmp_path, PROJECT, "audit", name="anybody"))
