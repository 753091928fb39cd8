"""The registry on a real MLflow database: records, versions, aliases."""

from __future__ import annotations

from pathlib import Path

import pytest

from setpoint.adapters.mlflow_registry import CANDIDATE, CHALLENGER, CHAMPION, Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    # One database for the file: making its tables costs seconds.
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", "cards")


def _run(registry: Registry, folder: Path) -> str:
    note = folder / "note.txt"
    note.write_text("kept")
    return registry.log_run(
        parameters={"l2": 0.5}, metrics={"roc_auc": 0.9}, tags={"seed": "0"}, files={"notes": note}
    )


def test_an_unknown_model_has_no_champion(registry: Registry) -> None:
    other = Registry(registry.uri, registry.artifacts, "never-registered")
    assert other.version_of(CHAMPION) is None and other.versions() == []


def test_versions_count_up_and_none_is_the_candidate_by_itself(
    registry: Registry, tmp_path: Path
) -> None:
    before = len(registry.versions())
    run = _run(registry, tmp_path)
    made = [registry.register(run, tmp_path, {"commit": "abc"}) for _ in range(2)]
    assert made == [f"v{before + 1}", f"v{before + 2}"]
    assert registry.versions()[-2:] == made
    assert registry.version_of(CANDIDATE) is None
    registry.point(CANDIDATE, made[-1])
    assert registry.version_of(CANDIDATE) == made[-1]
    tags = registry.tags(made[0])
    assert (tags["commit"], tags["bundle"]) == ("abc", str(tmp_path))
    registry.tag(made[0], "gates", "passed")
    assert registry.tags(made[0])["gates"] == "passed"


def test_an_alias_names_one_version_and_can_be_taken_away(
    registry: Registry, tmp_path: Path
) -> None:
    run = _run(registry, tmp_path)
    first, second = (registry.register(run, tmp_path, {}) for _ in range(2))
    registry.point(CHALLENGER, first)
    registry.point(CHALLENGER, second)
    assert registry.version_of(CHALLENGER) == second
    registry.point(CHALLENGER, None)
    registry.point(CHALLENGER, None)
    assert registry.version_of(CHALLENGER) is None


def test_a_run_keeps_what_it_was_made_of(registry: Registry, tmp_path: Path) -> None:
    import mlflow

    run_id = _run(registry, tmp_path)
    client = mlflow.MlflowClient(tracking_uri=registry.uri)
    run = client.get_run(run_id)
    assert run.data.params == {"l2": "0.5"} and run.data.metrics == {"roc_auc": 0.9}
    assert run.data.tags["seed"] == "0" and run.info.status == "FINISHED"
    assert [f.path for f in client.list_artifacts(run_id, "notes")] == ["notes/note.txt"]


def test_the_run_of_a_version_is_read_as_it_was_recorded(
    registry: Registry, tmp_path: Path
) -> None:
    run_id = _run(registry, tmp_path)
    run = registry.run(registry.register(run_id, tmp_path, {}))
    assert (run.id, run.parameters, run.metrics) == (run_id, {"l2": "0.5"}, {"roc_auc": 0.9})
    assert run.ended is not None and run.started <= run.ended
    assert run.started.tzinfo is not None


def test_files_are_kept_with_the_run_of_a_version_and_replaced_by_name(
    registry: Registry, tmp_path: Path
) -> None:
    version = registry.register(_run(registry, tmp_path), tmp_path, {})
    page = tmp_path / "page.md"
    for text in ("one", "two"):
        page.write_text(text)
        registry.attach(version, "documents", [page])
    assert registry.attached(version, "documents") == ["documents/page.md"]
    assert registry.attached(version, "") == ["documents", "notes"]
    assert registry.read_attached(version, "documents/page.md") == b"two"
