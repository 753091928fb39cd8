"""What a service with a keys file lets through, and what one without it never asks for."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from setpoint.adapters.processes import free_port
from setpoint.adapters.scoring_metrics import read_denied
from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.refusals import Denied
from setpoint.ports import Endpoint
from setpoint.serving.keys import ROLES, Key, new_key
from tests.serving.test_failures import ended_start
from tests.serving.tiny import Service, row

Start = Callable[..., Service]

LABELS = [{"id": "p1", "label": 1, "known_at": "2024-05-03T00:00:00Z"}]
ROUTES: dict[str, tuple[str, str, Any]] = {
    "score": ("POST", "/v1/decisions", row(1)),
    "label": ("POST", "/v1/labels", LABELS),
    "audit": ("GET", "/v1/decisions/p1", None),
    "admin": ("GET", "/metrics", None),
}
OPEN = ("/health/live", "/health/ready", "/openapi.json")


class Keys:
    """A keys file with one key for each role, and their tokens."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        made = {role: new_key(role, [role], 10_000) for role in ROLES}
        made["all"] = new_key("all", ROLES, 100_000)
        made["few"] = new_key("few", ["score"], 2)
        self.tokens = {name: token for name, (token, _) in made.items()}
        self.write([entry for _, entry in made.values()])

    def write(self, entries: list[Key]) -> None:
        """Write the file."""
        self.path.write_bytes(msgspec.json.encode(entries))

    def of(self, name: str) -> dict[str, str]:
        """The header of a key."""
        return {"authorization": self.bearer(name)}

    def bearer(self, name: str) -> str:
        """Its value."""
        return f"Bearer {self.tokens[name]}"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of the guarded service."""
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def guarded(
    bundle: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that asks for keys and has decided p1."""
    store = tmp_path_factory.mktemp("guarded") / "store.db"
    service = Service(bundle, store, "7", ("--keys", str(keys.path)))
    try:
        service.wait_ready()
        assert service.call("POST", "/v1/decisions", row(1), keys.of("score"))[0] == 200
        yield service
    finally:
        service.kill()


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_opens_to_its_role_alone(guarded: Service, keys: Keys, route: str) -> None:
    method, path, body = ROUTES[route]
    statuses = {role: guarded.raw(method, path, body, keys.of(role))[0] for role in ROLES}
    assert statuses == {role: 200 if role == route else 403 for role in ROLES}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("authorization", [None, "Bearer nobody", "Basic c2hvcDo="])
def test_without_a_known_key_it_is_a_401_problem(
    guarded: Service, route: str, authorization: str | None
) -> None:
    method, path, body = ROUTES[route]
    sent = {"authorization": authorization} if authorization else {}
    status, headers, data = guarded.exchange(method, path, body, sent)
    problem = json.loads(data)
    assert (status, problem["status"]) == (401, 401)
    assert problem["type"] == "urn:setpoint:problem:key"
    assert headers["content-type"] == "application/problem+json"
    assert headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", OPEN)
def test_health_and_description_are_open(guarded: Service, path: str) -> None:
    assert guarded.raw("GET", path)[0] == 200


def test_over_its_limit_a_key_is_told_when_to_come_back(guarded: Service, keys: Keys) -> None:
    statuses = [guarded.decide(row(1), **keys.of("few"))[0] for _ in range(2)]
    assert statuses == [200, 200]
    status, headers, data = guarded.exchange("POST", "/v1/decisions", row(1), keys.of("few"))
    problem = json.loads(data)
    assert (status, problem["type"]) == (429, "urn:setpoint:problem:rate")
    assert 1 <= int(headers["retry-after"]) <= 30
    assert guarded.decide(row(1), **keys.of("score"))[0] == 200


def test_a_refused_request_is_counted_and_leaves_nothing(guarded: Service, keys: Keys) -> None:
    for name in ("label", "audit", "admin"):
        assert guarded.decide(row(50), **keys.of(name))[0] == 403
    assert guarded.decide(row(50))[0] == 401
    assert guarded.raw("GET", "/v1/decisions/p50", None, keys.of("audit"))[0] == 404
    text = guarded.raw("GET", "/metrics", None, keys.of("admin"))[1].decode()
    assert 'setpoint_refused_total{rule="key"' in text
    assert 'setpoint_refused_total{rule="role"' in text


def test_what_a_key_does_not_allow_is_counted_by_its_name_and_never_shows_the_key(
    start: Start, keys: Keys
) -> None:
    service = start("--keys", str(keys.path))
    for _ in range(3):
        service.decide(row(60), **keys.of("label"))
    service.decide(row(60), **{**keys.of("label"), "host": "here-shadow"})  # mirrored
    for token in ("guess-one", "guess-two"):
        service.decide(row(60), authorization=f"Bearer {token}")
    token = keys.of("admin")["authorization"].removeprefix("Bearer ")
    _, counts = read_denied(Endpoint("127.0.0.1", service.port), api_key=token)
    version = next(iter(counts)).version
    assert counts == {
        Denied(version, "role", "label", "score"): 3,
        Denied(version, "key", "", "score"): 2,
    }
    text = service.raw("GET", "/metrics", None, keys.of("admin"))[1].decode()
    assert "guess" not in text and keys.of("label")["authorization"].split()[1] not in text


def test_a_body_that_comes_after_its_refusal_does_not_break_the_connection(
    guarded: Service, keys: Keys
) -> None:
    head = "POST /v1/decisions HTTP/1.1\r\nhost: here\r\n"
    good = json.dumps(row(1)).encode()
    second = f"{head}authorization: {keys.bearer('score')}\r\ncontent-length: {len(good)}\r\n\r\n"
    for size in (60_000, 3_000_000):
        with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as connection:
            connection.sendall(f"{head}content-length: {size}\r\n\r\n".encode())
            time.sleep(0.1)  # time enough to answer before the body is there
            connection.sendall(b"x" * size + second.encode() + good)
            answers = connection.makefile("rb")
            assert _status(answers) == 401
            assert _status(answers) == 200


def _status(answers: BinaryIO) -> int:
    status = int(answers.readline().split()[1])
    headers = http.client.parse_headers(answers)
    answers.read(int(headers["content-length"]))
    return status


def test_no_key_is_said_or_answered(bundle: Path, tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    service = Service(bundle, tmp_path / "store.db", "7", ("--keys", str(keys.path)))
    try:
        service.wait_ready()
        texts = [service.raw("GET", path, None, keys.of("score"))[1].decode() for path in OPEN]
        texts.append(service.raw("GET", "/metrics", None, keys.of("admin"))[1].decode())
        texts.append(service.raw("GET", "/metrics", None, keys.of("score"))[1].decode())
        texts.append(service.stop()[1])
    finally:
        service.kill()
    assert not [token for token in keys.tokens.values() if any(token in text for text in texts)]
    assert not [token for token in keys.tokens.values() if token in keys.path.read_text()]


def test_without_a_keys_file_nobody_is_asked(start: Start) -> None:
    service = start()
    assert service.decide(row(1))[0] == 200
    assert service.decide(row(1), authorization="Bearer whatever")[0] == 200


def test_a_malformed_keys_file_does_not_start(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('[{"name": "shop", "sha256": "abc", "roles": ["score"], "per_minute": 1}]')
    ended = ended_start(bundle, tmp_path, free_port(), "--keys", str(path))
    assert ended.returncode == 1
    assert f"{path}: the keys file is not usable" in ended.stderr
    assert "$[0].sha256" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_decision_is_logged_with_the_name_of_its_key_and_the_score_that_was_not_told(
    bundle: Path, tmp_path: Path
) -> None:
    token, made = new_key("outsider", ["score"], 1000, 1)
    other, whole = new_key("shop", ["score"], 1000)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode([made, whole]))
    service = Service(bundle, tmp_path / "store.db", "7", ("--keys", str(tmp_path / "keys.json")))
    try:
        service.wait_ready()
        sent = {"authorization": f"Bearer {token}"}
        told = service.decide(row(1, amount=590.5), **sent)[1]
        [batch] = json.loads(service.raw("POST", "/v1/batch", [row(2, amount=590.5)], sent)[1])
        again = service.decide(row(1, amount=590.5), authorization=f"Bearer {other}")[1]
    finally:
        service.kill()
    log = SqliteDecisionLog(tmp_path / "store.db")
    logged = log.find(["p1", "p2"])
    log.close()
    assert {one.client for one in logged.values()} == {"outsider"}
    scores = [logged[name].score for name in ("p1", "p2")]
    assert [told["score"], batch["score"]] == [round(score, 1) for score in scores]
    assert told["score"] != scores[0] == again["score"]


def test_without_keys_a_decision_has_no_client(start: Start, tmp_path: Path) -> None:
    start().decide(row(1), authorization="Bearer whatever")
    log = SqliteDecisionLog(tmp_path / "store.db")
    assert log.find(["p1"])["p1"].client == ""
    log.close()
