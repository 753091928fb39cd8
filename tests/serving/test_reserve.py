"""Space kept back for the store is given up when the disk is full, and put back."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from setpoint.serving import reserve
from setpoint.serving.reserve import Reserve

SIZE = 2 * 1024 * 1024
Said = list[tuple[str, str, int]]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Bytes free on the disk."""
    disk = SimpleNamespace(size=10 * SIZE)
    monkeypatch.setattr(Reserve, "_free", lambda self: disk.size)
    return disk


def _make(folder: Path, said: Said, size: int = SIZE) -> Reserve:
    return Reserve(folder / "live.db", size, lambda *told: said.append(told))


def test_it_takes_its_space_and_no_more_than_once(tmp_path: Path, free: SimpleNamespace) -> None:
    for _ in range(2):
        _make(tmp_path, []).keep()
    assert [file.name for file in tmp_path.iterdir()] == ["live.db.reserve"]
    assert os.stat(tmp_path / "live.db.reserve").st_blocks * 512 >= SIZE


def test_it_is_not_kept_where_it_would_fill_the_disk(tmp_path: Path, free: SimpleNamespace) -> None:
    free.size = 2 * SIZE - 1
    _make(tmp_path, []).keep()
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_it_is_given_up_once_and_told(tmp_path: Path, free: SimpleNamespace) -> None:
    said: Said = []
    kept = _make(tmp_path, said)
    kept.keep()
    free.size = reserve.FULL_BYTES - 1
    assert kept.give_up()
    assert not kept.file.exists()
    assert said == [("error", "disk_full_reserve_given_up", reserve.FULL_BYTES - 1)]
    assert not kept.give_up()


def test_it_stays_where_the_disk_is_not_what_fails(tmp_path: Path, free: SimpleNamespace) -> None:
    kept = _make(tmp_path, [])
    kept.keep()
    assert not kept.give_up()
    assert kept.file.exists()


def test_none_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    kept = _make(tmp_path, [], size=0)
    kept.start()
    assert not kept.give_up()
    assert list(tmp_path.iterdir()) == []


def test_it_lies_beside_the_store_that_a_link_leads_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "live.db").symlink_to(tmp_path / "disk" / "live.db")
    assert _make(tmp_path, []).file.parent == tmp_path / "disk"
