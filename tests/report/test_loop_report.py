"""The page about what the loop did."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from setpoint.domain.calendar import parse_utc
from setpoint.errors import DataError, StateError
from setpoint.ports import DecisionQuery
from setpoint.report.charts import LEFT, RIGHT, WIDTH, Stretch, TimeAxis
from setpoint.report.events import event_of, lanes, public
from setpoint.report.loop import write_loop_report
from setpoint.report.series import heat_color
from setpoint.report.traffic import DAY, read_traffic
from setpoint.stages.ripe import judged_decisions, with_ripe_labels
from setpoint.workspace import Workspace
from tests.report.story import ALARM, BEGIN, DAYS, HEALED, LONG, tell
from tests.stages.small import PROJECT, make_workspace

NOW = BEGIN + timedelta(days=DAYS)
WITH_PERSONAL = PROJECT.replace("columns: [x, y, kind]", "columns: [x, y, kind, sex]")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, WITH_PERSONAL)
    tell(made)
    return made


def page(workspace: Workspace, **span: object) -> str:
    file = workspace.root / "page.html"
    return write_loop_report(workspace, file, **span).read_text("utf-8")  # type: ignore[arg-type]


def titles(text: str) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", text)


def test_the_page_tells_the_loop_from_drift_to_healed(workspace: Workspace) -> None:
    text = page(workspace)
    told = " | ".join(titles(text))
    for moment in (
        "x: act: PSI 0.260",
        "small-1 opened: performance: ranking: bounds",
        "small/v2 accepted: by its gates: 1 of 1 findings passed",
        "v2 canary 25 %",
        "small/v2 promoted",
        "small-1 resolved",
        "v2 in service",
    ):
        assert moment in told, moment


def test_every_stage_is_in_its_lane(workspace: Workspace) -> None:
    events = [event_of(entry) for entry in workspace.state.ledger()]
    axis = TimeAxis(BEGIN, NOW)
    windows = [replace(w, findings=public(w.findings, {"sex"})) for w in workspace.state.windows()]
    found = lanes(events, windows, axis, {})
    assert {name: len(marks) for name, marks in found.items()} == {
        "drift": 7, "alarm": 1, "retrained": 2, "release": 7, "in service": 2, "healed": 1,
    }  # fmt: skip


def test_a_version_that_was_brought_back_is_in_service_from_then_on(workspace: Workspace) -> None:
    evidence = {"stage": "promoted", "cause": "small-1", "reason": "", "champion": "v2"}
    back = BEGIN + timedelta(days=DAYS - 1)
    workspace.state.record(back, "roll_back", "small/v1", evidence)
    events = [event_of(entry) for entry in workspace.state.ledger()]
    axis = TimeAxis(BEGIN, NOW)
    found = lanes(events, [], axis, {})["in service"]
    serving = [one for one in found if isinstance(one, Stretch)]
    assert [one.text for one in serving] == [f"{v} in service" for v in ("v1", "v2", "v1")]
    assert (serving[-2].end, serving[-1].start) == (back, back)


def test_the_heat_map_has_a_square_for_each_column_and_window(workspace: Workspace) -> None:
    told = titles(page(workspace))
    squares = Counter(
        match[1] for t in told if (match := re.match(r"[-\d]+ [\d:]+  (\w+): .* rows\)$", t))
    )
    assert squares == {"x": DAYS - 1, "y": DAYS - 1, LONG: DAYS - 1}


def test_a_personal_column_is_nowhere_on_the_page(workspace: Workspace) -> None:
    assert "sex" not in page(workspace)


def test_a_square_is_redder_the_more_a_column_has_moved() -> None:
    bands = (0.1, 0.25)
    greens = [int(heat_color(psi, bands)[3:5], 16) for psi in (0.11, 0.2, 0.26, 0.5, 2.0)]
    assert greens == sorted(greens, reverse=True)


def test_traffic_is_counted_as_the_log_has_it(workspace: Workspace) -> None:
    found = read_traffic(workspace, None, None, NOW)
    table = workspace.decisions.read(DecisionQuery())
    counted: Counter[str] = sum(found.hours.values(), Counter())
    assert counted == Counter(table["version"].to_pylist())
    assert len(found.hours) <= 24 * DAYS
    wide, split = found.split(BEGIN, NOW)
    assert (NOW - BEGIN) / wide <= 160
    assert sum(split.values(), Counter()) == counted
    by_day = found.split(BEGIN, BEGIN + timedelta(days=150))[1]
    assert by_day[ALARM + 2 * DAY] == {"v1": 30, "v2": 10}


def test_money_is_that_of_decisions_whose_labels_are_ripe(workspace: Workspace) -> None:
    found = read_traffic(workspace, None, None, NOW)
    ripe = DecisionQuery(end=NOW - workspace.project.label_age)
    table = with_ripe_labels(workspace, workspace.decisions.read(ripe), NOW)
    assert sum(found.cost.values()) == pytest.approx(judged_decisions(workspace, table).cost.sum())
    assert found.ripe.total() == table.num_rows == 40 * (DAYS - 1)
    assert max(found.cost) < NOW - workspace.project.label_age


def test_a_span_shows_nothing_from_outside_it(workspace: Workspace) -> None:
    text = page(workspace, start=BEGIN + DAY, end=BEGIN + 3 * DAY)
    assert "small-1" not in text
    assert "80 served decisions" in text
    assert "<b>3</b>windows looked at" in text


def test_the_page_of_an_incident_begins_two_windows_before_it_and_shows_its_evidence(
    workspace: Workspace,
) -> None:
    text = page(workspace, incident="small-1")
    window = workspace.project.watch.window
    assert f"{ALARM - 2 * window:%Y-%m-%d}" in text
    assert f"{HEALED + workspace.project.watch.every:%Y-%m-%d %H:%M}, event time" in text
    assert "small-1: performance, resolved" in text
    assert "bounds (0.45, 0.55)" in text


def test_text_from_outside_stays_text(workspace: Workspace) -> None:
    text = page(workspace, incident="small-1")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_a_bound_that_is_no_number_is_not_drawn(workspace: Workspace) -> None:
    drawn = re.findall(r"<[^>]*>", page(workspace))
    assert len(drawn) > 200
    assert not [tag for tag in drawn if re.search(r"\b(nan|inf)\b", tag)]


def test_nothing_known_is_said_and_is_no_error(tmp_path: Path) -> None:
    text = page(make_workspace(tmp_path))
    assert "Nothing is known of this time" in text
    assert "<svg" not in text


def test_windows_alone_and_decisions_alone_make_a_page(tmp_path: Path) -> None:
    from tests.report.story import window
    from tests.stages.small import T0, serve

    seen = make_workspace(tmp_path / "a")
    seen.state.keep_window(window(3))
    assert "No decision was served" in page(seen)
    served = make_workspace(tmp_path / "b")
    served.root.mkdir()
    serve(served, T0, rows=30)
    assert "No window of this time has a PSI" in page(served)


def test_what_cannot_be_shown_is_refused(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="an incident and a time"):
        page(workspace, incident="small-1", start=BEGIN)
    with pytest.raises(DataError, match="it ends at 2026-02-01 00:00 and begins at"):
        page(workspace, start=NOW, end=BEGIN)
    with pytest.raises(StateError, match="no incident 'small-9'"):
        page(workspace, incident="small-9")


@pytest.mark.parametrize("hours", [1, 30, 24 * 14, 24 * 400, 24 * 5_000])
def test_an_axis_has_a_few_round_dates_within_its_span(hours: int) -> None:
    start = parse_utc("2026-01-31T17:20", "start")
    axis = TimeAxis(start, start + timedelta(hours=hours))
    ticks = axis.ticks()
    assert len(ticks) <= 10
    assert all(axis.start <= tick <= axis.end for tick in ticks)
    assert (axis.x(axis.start), axis.x(axis.end)) == (LEFT, WIDTH - RIGHT)


def test_the_command_writes_the_page(workspace: Workspace) -> None:
    folder = workspace.project_file.parent
    words = ("report", "--root", "state", "--out", "r.html", "--incident", "small-1")
    command = [sys.executable, "-c", "from setpoint.cli import main; main()", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "open r.html in a browser", done.stderr
    assert "small-1: performance" in (folder / "r.html").read_text("utf-8")
