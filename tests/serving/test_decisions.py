"""What a client of the scoring service can rely on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.domain.bundle import read_bundle
from setpoint.ports import DecisionQuery
from tests.serving.tiny import DECISION, Service, row

Start = Callable[..., Service]

KNOWN_AT = "2024-05-03T00:00:00Z"


def test_a_decision_names_score_action_reasons_and_model(start: Start) -> None:
    service = start()
    status, answer = service.decide(row(1, amount=900, country="CH"))
    assert status == 200
    assert answer["decision_id"] == "p1"
    assert answer["action"] == "review"
    assert answer["score"] >= answer["threshold"] == 0.5
    assert answer["reason_codes"][0] == "amount"
    assert answer["model_version"] == "7"
    assert len(answer["model_digest"]) == 64


def test_the_favourable_action_has_no_reasons(start: Start) -> None:
    _, answer = start().decide(row(1))
    assert (answer["action"], answer["reason_codes"]) == ("approve", [])


def test_the_score_is_the_calibrated_one_of_the_logged_features(start: Start) -> None:
    service = start()
    _, answer = service.decide(row(1, amount=610.25, age=None))
    _, logged = service.call("GET", "/v1/decisions/p1")
    bundle = read_bundle(service.bundle)
    values = [logged["features"][name] for name in bundle.features.number_names]
    numbers = np.array([[np.nan if v is None else v for v in values]], np.float32)
    session = onnxruntime.InferenceSession(bundle.model, providers=["CPUExecutionProvider"])
    feed = {"numbers": numbers, "categories": np.array([["DE"]], object)}
    raw = float(session.run(["probabilities"], feed)[0][0, 1])
    assert answer["score"] == np.interp(raw, DECISION.knots.x, DECISION.knots.y)
    assert logged["features"]["age"] is None


def test_earlier_requests_count_into_the_features_of_later_ones(start: Start) -> None:
    service = start()
    for number in (1, 2, 3):
        service.decide(row(number, customer_id=8))
    _, logged = service.call("GET", "/v1/decisions/p3")
    assert logged["features"]["customer_count_1d"] == 3


def test_an_id_written_as_1_0_is_1(start: Start) -> None:
    service = start()
    service.decide(row(1, payment_id=1, customer_id=8))
    _, answer = service.decide(row(2, payment_id=2.0, customer_id=8.0))
    assert answer["decision_id"] == "2"
    _, logged = service.call("GET", "/v1/decisions/2")
    assert logged["features"]["customer_count_1d"] == 2


def test_the_same_request_again_gets_the_same_answer_and_one_row(start: Start) -> None:
    service = start()
    first = service.decide(row(1))
    service.decide(row(6))  # same customer: would change the features of a new decision
    assert service.decide(row(1)) == first
    assert service.decide(row(1, at="2024-05-01T02:00:01+02:00", amount=20.50)) == first
    assert _ids(service) == ["p1", "p6"]


def test_the_same_id_with_another_row_is_a_conflict(start: Start) -> None:
    service = start()
    service.decide(row(1))
    status, problem = service.decide(row(1, amount=21))
    assert (status, problem["field"]) == (409, "id")
    assert _ids(service) == ["p1"]


def test_a_retry_that_reaches_another_version_gets_the_first_answer(start: Start) -> None:
    first = start(version="7").decide(row(1))
    second = start(version="8")
    assert second.decide(row(1)) == first
    assert second.decide(row(2))[1]["model_version"] == "8"


def test_a_mirrored_request_is_logged_as_shadow_and_is_no_decision(start: Start) -> None:
    service = start()
    mirrored = {"host": "scoring-shadow:8080", "x-request-id": "r-1"}
    assert service.decide(row(1), **mirrored)[0] == 200
    assert service.call("GET", "/v1/decisions/p1")[0] == 404
    assert _ids(service) == []
    service.decide(row(1), **mirrored)
    service.decide(row(1), **{"x-request-id": "r-1"})
    assert _ids(service) == ["p1"]
    assert _ids(service, shadow=True) == ["p1"]
    assert service.call("GET", "/v1/decisions/p1")[1]["trace_id"] == "r-1"


def test_a_mirror_sees_the_features_that_the_served_request_saw(start: Start) -> None:
    service = start()
    service.decide(row(1))
    service.decide(row(6))
    service.decide(row(1), host="scoring-shadow")
    log = SqliteDecisionLog(service.store)
    names = ("customer_count_1d",)
    served = log.read(DecisionQuery(features=names))
    shadow = log.read(DecisionQuery(features=names, shadow=True))
    assert served["f_customer_count_1d"][0] == shadow["f_customer_count_1d"][0]
    assert served["score"][0] == shadow["score"][0]


def test_labels_reach_their_decisions(start: Start) -> None:
    service = start()
    service.decide(row(1))
    status, answer = service.call("POST", "/v1/labels", {"labels": [_label("p1", 1)]})
    assert (status, answer) == (200, {"accepted": 1, "unknown": 0})
    assert SqliteDecisionLog(service.store).read(DecisionQuery())["label"].to_pylist() == [1]


def test_labels_of_unknown_decisions_are_named_and_kept(start: Start) -> None:
    service = start()
    service.decide(row(1))
    labels = [_label("p1", 0), *(_label(f"x{i}", 1) for i in range(7)), _label("p2", 1)]
    status, problem = service.call("POST", "/v1/labels", labels)
    assert status == 422
    assert (problem["accepted"], problem["unknown"]) == (1, 8)
    assert problem["ids"] == ["x0", "x1", "x2", "x3", "x4"]
    service.decide(row(2))
    read = SqliteDecisionLog(service.store).read(DecisionQuery())
    assert read["label"].to_pylist() == [0, 1]


def test_the_counters_say_what_happened(start: Start) -> None:
    service = start()
    service.decide(row(1))
    service.decide(row(2, amount=900, country="CH"))
    service.decide(row(3, amount=-1))
    assert service.metric("setpoint_requests_total", route="decisions", code="200") == 2
    assert service.metric("setpoint_requests_total", route="decisions", code="422") == 1
    assert service.metric("setpoint_decisions_total", action="review", shadow="false") == 1
    assert service.metric("setpoint_refused_total", rule="range", version="7") == 1
    assert service.metric("setpoint_latency_seconds_bucket", le="0.05") >= 1
    assert service.metric("setpoint_latency_seconds_count") == 2  # the refused one is no decision
    assert service.metric("setpoint_score_count") == 2


def test_the_counters_tell_apart_whose_answer_is_waited_for(start: Start) -> None:
    service = start()
    service.decide(row(1))
    service.decide(row(2), host="scoring-shadow")
    service.decide(row(3), host="scoring-shadow")
    for shadow, n in (("false", 1), ("true", 2)):
        told = {"route": "decisions", "code": "200", "shadow": shadow}
        assert service.metric("setpoint_requests_total", **told) == n
        assert service.metric("setpoint_latency_seconds_count", shadow=shadow) == n


def test_a_restart_keeps_decisions_and_history(start: Start) -> None:
    service = start()
    first = service.decide(row(1))
    assert service.stop()[0] == 0
    again = start()
    assert again.decide(row(1)) == first
    again.decide(row(6))
    features = again.call("GET", "/v1/decisions/p6")[1]["features"]
    assert features["customer_count_1d"] == 2


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_a_started_service_is_healthy(start: Start, path: str) -> None:
    assert start().call("GET", path)[0] == 200


def _label(identity: str, label: int) -> dict[str, object]:
    return {"id": identity, "label": label, "known_at": KNOWN_AT}


def _ids(service: Service, shadow: bool = False) -> list[str]:
    log = SqliteDecisionLog(service.store)
    try:
        ids: list[str] = log.read(DecisionQuery(shadow=shadow))["id"].to_pylist()
        return ids
    finally:
        log.close()
