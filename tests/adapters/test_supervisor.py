from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.adapters.processes import free_port, process_identity, require_free_port
from setpoint.adapters.services import ServiceStatus, log_file, service_status, spec_file
from setpoint.adapters.supervisor import (
    ServiceSpec,
    Supervisor,
    declare,
    status,
    supervisor_pid,
    wait_ready,
    wait_stopped,
    withdraw,
)
from setpoint.errors import PlatformError, StateError
from tests.adapters.supervised import STUB, start_supervisor, supervised, until


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with supervised(tmp_path):
        yield tmp_path


def script(name: str, code: str, **more: Any) -> ServiceSpec:
    argv = (sys.executable, "-I", "-S", "-c", textwrap.dedent(code))
    return replace(ServiceSpec(name=name, argv=argv), **more)


def sleeper(**more: Any) -> ServiceSpec:
    return script("sleeper", "import time; time.sleep(600)", **more)


def web(name: str, port: int) -> ServiceSpec:
    argv = (*STUB, "--host", "127.0.0.1", "--port", str(port), "--version", name)
    return ServiceSpec(name=name, argv=argv, ready_url=f"http://127.0.0.1:{port}/health/ready")


def pid_of(state: Path, name: str) -> int:
    pid = service_status(state, name).pid
    assert pid is not None
    return pid


def has_printed(state: Path, name: str, text: str) -> bool:
    return text in log_file(state, name).read_text()


def test_a_declared_service_gets_ready_and_a_withdrawn_one_is_gone(state: Path) -> None:
    declare(state, web("one", free_port()))
    ready = wait_ready(state, "one", 20)
    assert ready.pid is not None and process_identity(ready.pid) == ready.identity
    withdraw(state, "one")
    wait_stopped(state, "one")
    assert process_identity(ready.pid) is None
    assert status(state) == {}


def test_a_killed_service_is_restarted_and_the_restart_is_counted(state: Path) -> None:
    declare(state, web("one", free_port()))
    first = wait_ready(state, "one", 20)
    os.kill(pid_of(state, "one"), signal.SIGKILL)
    until(lambda: service_status(state, "one").restarts == 1)
    again = wait_ready(state, "one", 20)
    assert again.pid != first.pid
    assert again.last_exit == "signal SIGKILL"


def test_a_service_is_not_ready_before_its_address_answers(state: Path) -> None:
    port = free_port()
    declare(state, sleeper(ready_url=f"http://127.0.0.1:{port}/health/ready"))
    with pytest.raises(PlatformError, match=r"sleeper is starting and not ready after 1 s"):
        wait_ready(state, "sleeper", 1)


def test_one_that_dies_at_start_is_reported_with_its_last_lines(state: Path) -> None:
    code = "print('line one'); raise SystemExit('no such bundle: b7')"
    declare(state, script("broken", code, ready_url="http://127.0.0.1:9/"))
    with pytest.raises(PlatformError, match=r"died 3 times \(exit code 1\)") as failure:
        wait_ready(state, "broken", 30)
    assert "no such bundle: b7" in str(failure.value)
    assert "line one" in str(failure.value)


def test_a_program_that_does_not_exist_harms_nobody_else(state: Path) -> None:
    declare(state, ServiceSpec(name="absent", argv=("/nowhere/at-all",), order=1))
    declare(state, sleeper(order=2))
    wait_ready(state, "sleeper", 20)
    assert "No such file" in service_status(state, "absent").last_exit
    assert "/nowhere/at-all" in log_file(state, "absent").read_text()


def test_a_taken_port_is_named_as_the_cause(state: Path) -> None:
    port = free_port()
    declare(state, web("owner", port))
    wait_ready(state, "owner", 20)
    for name, ready_url in (("late", web("late", port).ready_url), ("blind", None)):
        spec = replace(web(name, port), ready_url=ready_url)
        declare(state, replace(spec, ready_url=ready_url or "http://127.0.0.1:9/"))
        with pytest.raises(PlatformError, match="its port is taken"):
            wait_ready(state, name, 30)
    assert f"port {port} is taken" in service_status(state, "late").last_exit
    with pytest.raises(PlatformError, match=f"port {port} is taken"):
        require_free_port(port, "gateway")


def test_a_changed_declaration_restarts_the_service(state: Path) -> None:
    declare(state, sleeper())
    before = wait_ready(state, "sleeper", 20).pid
    declare(state, sleeper(env={"COLOUR": "blue"}))
    after = wait_ready(state, "sleeper", 20)
    assert after.pid != before and after.restarts == 0
    declare(state, sleeper(env={"COLOUR": "blue"}))
    assert wait_ready(state, "sleeper", 20).pid == after.pid


def test_the_environment_of_the_declaration_reaches_the_process(state: Path) -> None:
    code = "import os, time; print(os.environ['COLOUR'], flush=True); time.sleep(600)"
    declare(state, script("painter", code, env={"COLOUR": "blue"}))
    wait_ready(state, "painter", 20)
    assert "blue" in log_file(state, "painter").read_text()


def test_one_that_ignores_sigterm_is_killed_with_its_children(state: Path) -> None:
    code = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(child.pid, flush=True)
        time.sleep(600)
    """
    declare(state, script("stubborn", code, stop_seconds=0.3))
    leader = wait_ready(state, "stubborn", 20).pid
    until(lambda: log_file(state, "stubborn").read_text().strip())
    child = int(log_file(state, "stubborn").read_text())
    withdraw(state, "stubborn")
    wait_stopped(state, "stubborn")
    assert leader is not None and process_identity(leader) is None
    until(lambda: process_identity(child) is None)


@pytest.mark.parametrize(
    "text", ['{"name": "half", "ar', "[]", '{"name": "half", "argv": []}', '{"name": "other"}']
)
def test_a_damaged_declaration_is_set_aside_and_the_others_run_on(state: Path, text: str) -> None:
    declare(state, sleeper())
    before = wait_ready(state, "sleeper", 20).pid
    spec_file(state, "half").write_text(text)
    until(lambda: service_status(state, "half").error)
    assert "half.json" in service_status(state, "half").error
    assert (state / "services" / "half.json.bad").read_text() == text
    assert wait_ready(state, "sleeper", 1).pid == before
    with pytest.raises(PlatformError, match="service half is not declared"):
        wait_ready(state, "half", 1)


def test_damage_to_its_declaration_does_not_stop_what_runs(state: Path) -> None:
    declare(state, sleeper())
    before = wait_ready(state, "sleeper", 20).pid
    spec_file(state, "sleeper").write_text('{"name": "sl')
    until(lambda: service_status(state, "sleeper").error)
    assert service_status(state, "sleeper").pid == before
    withdraw(state, "sleeper")
    wait_stopped(state, "sleeper")


def test_a_second_supervisor_is_refused_and_told_the_pid_of_the_first(state: Path) -> None:
    second = start_supervisor(state)
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    assert f"supervisor with pid {supervisor_pid(state)} already keeps it" in errors


def test_services_stop_in_reverse_order_and_the_supervisor_exits_0(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = f"""
        import signal, sys, time
        def end(*_):
            open({str(told)!r}, "a").write(sys.argv[1] + " ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        print("up", flush=True)
        time.sleep(600)
    """
    with supervised(tmp_path) as process:
        for order, name in enumerate(("first", "second", "third")):
            spec = script(name, code, order=order)
            declare(tmp_path, replace(spec, argv=(*spec.argv, name)))
        for name in ("first", "second", "third"):
            wait_ready(tmp_path, name, 20)
            until(partial(has_printed, tmp_path, name, "up"))
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert told.read_text().split() == ["third", "second", "first"]
    assert {one.state for one in status(tmp_path).values()} == {"stopped"}


def test_a_killed_supervisor_leaves_no_orphan_and_its_successor_takes_over(tmp_path: Path) -> None:
    code = """
        import subprocess, sys, time
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
        )
        print(child.pid, flush=True)
        time.sleep(600)
    """
    first = start_supervisor(tmp_path)
    declare(tmp_path, script("parent", code))
    leader = wait_ready(tmp_path, "parent", 20).pid
    until(lambda: log_file(tmp_path, "parent").read_text().strip())
    child = int(log_file(tmp_path, "parent").read_text())
    first.kill()
    first.communicate()
    assert leader is not None
    with supervised(tmp_path):
        assert wait_ready(tmp_path, "parent", 20).pid != leader
        assert process_identity(leader) is None
        if sys.platform == "linux":  # elsewhere a grandchild in its own session is not found
            assert process_identity(child) is None


def test_what_a_killed_supervisor_left_can_be_cleared_before_the_next_one_starts(
    tmp_path: Path,
) -> None:
    first = start_supervisor(tmp_path)
    declare(tmp_path, sleeper())
    pid = wait_ready(tmp_path, "sleeper", 20).pid
    assert pid is not None
    with pytest.raises(StateError, match="already keeps it"):
        Supervisor(tmp_path).clear()
    first.kill()
    first.communicate()
    Supervisor(tmp_path).clear()
    assert process_identity(pid) is None


def test_a_foreign_process_with_a_recorded_pid_is_never_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as foreign:
        told = ServiceStatus(name="old", state="ready", pid=foreign.pid, identity="boot:1")
        folder = tmp_path / "services" / "status"
        folder.mkdir(parents=True)
        (folder / "old.json").write_text(
            f'{{"name": "old", "state": "ready", "pid": {told.pid}, "identity": "boot:1"}}'
        )
        with supervised(tmp_path):
            declare(tmp_path, sleeper())
            wait_ready(tmp_path, "sleeper", 20)
        alive = foreign.poll() is None
        foreign.kill()
    assert alive


def test_what_a_killed_supervisor_wrote_is_not_believed(tmp_path: Path) -> None:
    first = start_supervisor(tmp_path)
    declare(tmp_path, sleeper())
    pid = wait_ready(tmp_path, "sleeper", 20).pid
    first.kill()
    first.communicate()
    assert pid is not None
    until(lambda: process_identity(pid) is None)
    assert service_status(tmp_path, "sleeper").state == "stopped"
    with pytest.raises(PlatformError, match="no supervisor runs"):
        wait_ready(tmp_path, "sleeper", 0.2)


@given(
    spec=st.builds(
        ServiceSpec,
        name=st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True),
        argv=st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1).map(
            tuple
        ),
        env=st.dictionaries(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), st.just("x")),
        stop_seconds=st.floats(0.1, 100),
        order=st.integers(0, 100),
    )
)
def test_a_declaration_survives_writing_and_reading(spec: ServiceSpec) -> None:
    assert ServiceSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("name", ["", "../x", ".hidden", "a/b", "ä"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StateError, match="name"):
        declare(tmp_path, ServiceSpec(name=name, argv=("true",)))


def test_free_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 30_000 for port in ports)
