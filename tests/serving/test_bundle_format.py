"""A bundle is whole, unaltered and consistent, or it is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.domain.bundle import (
    Bundle,
    DecisionSpec,
    Knots,
    Manifest,
    SnapshotRef,
    from_plain,
    read_bundle,
    to_plain,
    write_bundle,
)
from setpoint.domain.features import FeatureSpec
from setpoint.domain.schema import TableSpec
from setpoint.errors import BundleError
from tests.serving.tiny import DECISION, EPOCH, FEATURES, TABLE, make_bundle


def write(folder: Path, **changes: Any) -> Manifest:
    """Write a bundle whose model is three bytes."""
    parts: dict[str, Any] = {
        "model": b"abc",
        "features": FEATURES,
        "table": TABLE,
        "decision": DECISION,
        "profile": {"amount": [1, 2]},
        "project": "tiny",
        "version": "7",
        "created_at": EPOCH,
        "snapshot": SnapshotRef("3", "a" * 64),
        "commit": "b" * 40,
        "environment_digest": "c" * 64,
        "seeds": {"train": 1},
        "parameters": {"max_iter": 20, "rate": 0.1},
    }
    return write_bundle(folder, **{**parts, **changes})


def test_what_was_written_is_read(tmp_path: Path) -> None:
    manifest = write(tmp_path / "b")
    bundle = read_bundle(tmp_path / "b", expect=manifest.digest)
    request = replace(TABLE, columns=TABLE.columns[:-1], label="")
    assert bundle == Bundle(
        folder=tmp_path / "b",
        manifest=manifest,
        digest=manifest.digest,
        model=b"abc",
        features=FEATURES,
        table=request,
        decision=DECISION,
        profile={"amount": [1, 2]},
    )


def test_equal_parts_give_equal_bytes_and_one_change_another_digest(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.digest == second.digest
    changes: list[dict[str, Any]]
    changes = [{"model": b"abd"}, {"commit": "d" * 40}, {"seeds": {"train": 2}}, {"version": "8"}]
    digests = {write(tmp_path / f"c{i}", **change).digest for i, change in enumerate(changes)}
    assert len(digests | {first.digest}) == 5


@pytest.mark.parametrize(
    "name", ["model.onnx", "features.json", "schema.json", "decision.json", "profile.json"]
)
def test_an_altered_file_is_named_with_both_digests(tmp_path: Path, name: str) -> None:
    manifest = write(tmp_path / "b")
    (tmp_path / "b" / name).write_bytes(b"{}")
    with pytest.raises(BundleError) as caught:
        read_bundle(tmp_path / "b")
    assert name in str(caught.value)
    assert manifest.files[name] in str(caught.value)
    assert "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" in str(caught.value)


class _Planted:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("name", ["model.pkl", "model.onnx", "profile.json", "manifest.json"])
def test_a_planted_pickle_is_never_executed(tmp_path: Path, name: str) -> None:
    folder, mark = make_bundle(tmp_path / "v1"), tmp_path / "ran"
    (folder / name).write_bytes(pickle.dumps(_Planted(mark)))
    with pytest.raises(BundleError):
        read_bundle(folder)
    assert not mark.exists()


def test_a_missing_an_extra_and_a_linked_file_are_named(tmp_path: Path) -> None:
    write(tmp_path / "b")
    (tmp_path / "b" / "extra.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.pkl does not belong"):
        read_bundle(tmp_path / "b")
    (tmp_path / "b" / "extra.pkl").unlink()
    (tmp_path / "b" / "model.onnx").rename(tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        read_bundle(tmp_path / "b")
    (tmp_path / "b" / "model.onnx").symlink_to(tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is not a regular file"):
        read_bundle(tmp_path / "b")


def test_another_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "b")
    _edit(tmp_path / "b", format=2)
    with pytest.raises(BundleError, match="format 2, this program reads format 1"):
        read_bundle(tmp_path / "b")


@pytest.mark.parametrize("change", [{"commit": 1}, {"extra": 1}, {"files": {}}, {"seeds": [1]}])
def test_a_malformed_manifest_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path / "b")
    _edit(tmp_path / "b", **change)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_bundle(tmp_path / "b")


def test_a_manifest_of_another_digest_than_expected_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path / "b")
    _edit(tmp_path / "b", commit="d" * 40)
    with pytest.raises(BundleError, match=f"expected digest {manifest.digest}"):
        read_bundle(tmp_path / "b", expect=manifest.digest)


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle here"):
        read_bundle(tmp_path / "nothing")


def test_writing_again_changes_nothing_and_another_bundle_is_not_overwritten(
    tmp_path: Path,
) -> None:
    manifest = write(tmp_path / "b")
    assert write(tmp_path / "b") == manifest
    with pytest.raises(BundleError, match="another bundle is there"):
        write(tmp_path / "b", model=b"abd")
    assert read_bundle(tmp_path / "b").digest == manifest.digest
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


DROPPED = {name: value for name, value in DECISION.baselines.items() if name != "hour"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decision": replace(DECISION, baselines=DROPPED)}, "baselines lack the feature 'hour'"),
        ({"decision": replace(DECISION, threshold=1.5)}, "threshold is 1.5"),
        ({"decision": replace(DECISION, threshold=float("nan"))}, "threshold is nan"),
        ({"decision": replace(DECISION, exploration=0.3)}, "exploration is 0.3"),
        ({"decision": replace(DECISION, actions={"positive": "x"})}, "actions"),
        ({"decision": replace(DECISION, knots=Knots((), ()))}, "knots"),
        ({"decision": replace(DECISION, knots=Knots((0, 0), (0, 1)))}, "not strictly increasing"),
        ({"decision": replace(DECISION, knots=Knots((0, 1), (1, 0)))}, "knots y fall"),
        ({"decision": replace(DECISION, knots=Knots((0, 1), (0, 2)))}, "within 0 to 1"),
        ({"features": replace(FEATURES, numbers=("height",))}, "lacks the column 'height'"),
        ({"features": replace(FEATURES, event_time="amount")}, "event_time"),
        ({"profile": {"x": float("nan")}}, r"profile\.json cannot be written as JSON"),
        ({"profile": {"x": object()}}, r"profile\.json cannot be written as JSON"),
        ({"created_at": EPOCH.replace(tzinfo=None)}, "no time zone"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write(tmp_path / "b", **change)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=50, deadline=None)
@given(st.from_type(FeatureSpec) | st.from_type(TableSpec))
def test_specs_survive_the_trip_through_json(spec: FeatureSpec | TableSpec) -> None:
    # No project file lets a share or a bound be none or without end.
    if "nan" in repr(spec) or "inf" in repr(spec):
        return
    text = json.dumps(to_plain(spec))
    assert to_plain(from_plain(type(spec), json.loads(text))) == to_plain(spec)


def test_a_bundle_of_before_there_was_exploration_explores_nothing() -> None:
    plain = to_plain(DECISION)
    del plain["exploration"]
    assert from_plain(DecisionSpec, plain).exploration == 0


@pytest.mark.parametrize(
    "plain",
    [
        {"threshold": "0.5", "actions": {}, "baselines": {}},
        {"threshold": True, "actions": {}, "baselines": {}},
        {"threshold": 0.5, "actions": {}},
        {"threshold": 0.5, "actions": {}, "baselines": {}, "colour": 1},
        {"threshold": 0.5, "actions": {"positive": 1}, "baselines": {}},
        {"threshold": 0.5, "actions": {}, "baselines": {"a": []}},
    ],
)
def test_a_spec_with_a_wrong_field_is_refused(plain: dict[str, Any]) -> None:
    with pytest.raises(BundleError):
        from_plain(DecisionSpec, plain)


def _edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
