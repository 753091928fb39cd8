"""The service described as OpenAPI 3.1, from the bundle that it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from setpoint.domain.bundle import Bundle
from setpoint.serving.arrow import MEDIA_TYPE
from setpoint.serving.batch import LARGEST_BATCH, MOST_ROWS
from setpoint.serving.keys import Role
from setpoint.serving.problems import PREFIX
from setpoint.serving.rows import LARGEST_LABELS, LARGEST_ROW, LONGEST_ID
from setpoint.serving.schemas import (
    CONTRIBUTIONS,
    DIGEST,
    IDENTITY,
    OUTCOMES,
    ROWS,
    TEXT,
    TIME,
    example_row,
    row_schema,
)

Json = dict[str, Any]

TIMED = {500: ("unavailable",), 503: ("unavailable", "timeout")}
"""Problems of all that waits for the engine, by status."""
KEYED = {401: ("key",), 403: ("role",), 429: ("rate",)}
"""Further problems where keys are asked for."""
BODY = {400: ("bad_json",), 413: ("too_large",)}
LARGE_BODY = {**BODY, 408: ("slow_body",)}
ROW_RULES = ("not_object", "missing", "extra", "null", "type", "range", "category", "time")
LABEL_RULES = ("labels", "type", "range", "time", "unknown_decision")


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        path: Its path.
        method: Its method, lower case.
        id: Its operation id.
        summary: What it does, one line.
        text: More about it.
        role: The role that a key needs; ``None`` for everybody.
        answer: The name of the answer's schema; empty for plain text.
        problems: Rules by status of what can be refused.
        body: The name of the request's schema; empty without a body.
        arrow: Whether request and answer can be Arrow IPC streams too.
    """

    path: str
    method: str
    id: str
    summary: str
    text: str
    role: Role | None
    answer: str
    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)
    body: str = ""
    arrow: bool = False


OPERATIONS = (
    Operation(
        "/v1/decisions",
        "post",
        "decide",
        "Decide one row",
        "The decision is durable before it is answered. The same request again gets the same "
        f"answer. At most {LARGEST_ROW} bytes.",
        "score",
        "Decision",
        {**BODY, 409: ("conflict",), 422: ROW_RULES, **TIMED},
        "Row",
    ),
    Operation(
        "/v1/batch",
        "post",
        "decideBatch",
        "Decide many rows",
        "Each row is decided and logged as if it had come alone; the answer has one entry for "
        "each, in order: its decision, or the problem with it. On 503 the same request can be "
        "sent again: what was decided gets the same answer. The answer is of the request's type "
        "unless `accept` names the other. Arrow streams are uncompressed and flat. At most "
        f"{MOST_ROWS} rows and {LARGEST_BATCH} bytes.",
        "score",
        "Outcomes",
        {
            **LARGE_BODY,
            400: ("bad_json", "bad_arrow"),
            415: ("media_type",),
            422: ("batch", "arrow"),
        }
        | TIMED,
        "Rows",
        arrow=True,
    ),
    Operation(
        "/v1/decisions/{id}",
        "get",
        "findDecision",
        "A served decision, with the features as used",
        "",
        "audit",
        "LoggedDecision",
        {404: ("unknown_decision", "path"), **TIMED},
    ),
    Operation(
        "/v1/labels",
        "post",
        "learn",
        "Record labels",
        "A label for an id that has one replaces it. Labels of unknown decisions are answered 422 "
        "with the counts and the first ids; the others are recorded, and the unknown ones are "
        f"kept until their decisions come. At most {LARGEST_LABELS} bytes.",
        "label",
        "Counts",
        {**LARGE_BODY, 422: LABEL_RULES, **TIMED},
        "Labels",
    ),
    Operation("/health/live", "get", "live", "Whether the process runs", "", None, "Live"),
    Operation(
        "/health/ready",
        "get",
        "ready",
        "Whether requests can be sent",
        "The model is verified and the store can be written.",
        None,
        "Ready",
        TIMED,
    ),
    Operation("/metrics", "get", "metrics", "Counters for Prometheus", "", "admin", ""),
    Operation("/openapi.json", "get", "describe", "This description", "", None, "Description"),
)


def describe(bundle: Bundle, version: str, keyed: bool) -> Json:
    """Describe the service of a bundle.

    Args:
        bundle: The verified bundle.
        version: Model version as answered.
        keyed: Whether API keys are asked for.

    Returns:
        An OpenAPI 3.1 document; equal arguments give equal documents.
    """
    paths: Json = {}
    for operation in OPERATIONS:
        described = _operation(operation, bundle, keyed)
        paths.setdefault(operation.path, {})[operation.method] = described
    components: Json = {
        "schemas": _schemas(bundle),
        "headers": _headers(),
        "parameters": _parameters(),
    }
    if keyed:
        text = "A key of the keys file. Roles: score, label, audit, admin; none contains another."
        scheme = {"type": "http", "scheme": "bearer", "description": text}
        components["securitySchemes"] = {"key": scheme}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{bundle.manifest.project} scoring service",
            "version": version,
            "description": "One model version. Every error is a problem as of RFC 9457, its type "
            f"`{PREFIX}RULE`. A path that is not listed is answered 404 (`path`), a method that "
            "is not listed 405 (`method`).",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


def _operation(operation: Operation, bundle: Bundle, keyed: bool) -> Json:
    problems = dict(operation.problems)
    described: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": {"200": _answer(operation)},
    }
    if operation.text:
        described["description"] = operation.text
    if operation.path.startswith("/v1/"):
        names = ["traceparent", "request_id", *(["id"] if "{id}" in operation.path else [])]
        names += ["propensity"] if operation.role == "score" else []
        described["parameters"] = [_ref("parameters", name) for name in names]
    if operation.body:
        example = _body_example(operation.body, bundle)
        content = _content(operation, operation.body)
        content["application/json"]["example"] = example
        described["requestBody"] = {"required": True, "content": content}
    if keyed and operation.role is not None:
        problems |= KEYED
        described["security"] = [{"key": [operation.role]}]
    for status, rules in sorted(problems.items()):
        described["responses"][str(status)] = _problem(status, rules)
    return described


def _answer(operation: Operation) -> Json:
    content: Json = {"text/plain": {"schema": {"type": "string"}}}
    if operation.answer:
        content = _content(operation, operation.answer)
    headers = {name: _ref("headers", name) for name in ("x-request-id", "traceparent")}
    return {"description": operation.summary, "headers": headers, "content": content}


def _content(operation: Operation, schema: str) -> Json:
    content: Json = {"application/json": {"schema": _ref("schemas", schema)}}
    if operation.arrow:
        content[MEDIA_TYPE] = {"schema": {"type": "string", "format": "binary"}}
    return content


def _problem(status: int, rules: Sequence[str]) -> Json:
    narrowed = {"status": {"const": status}, "type": {"enum": [PREFIX + rule for rule in rules]}}
    schema = {"allOf": [_ref("schemas", "Problem"), {"properties": narrowed}]}
    names = ["x-request-id", "traceparent"]
    names += ["retry-after"] if status in (429, 500, 503) else []
    names += ["www-authenticate"] if status == 401 else []
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(rules)}",
        "headers": {name: _ref("headers", name) for name in names},
        "content": {"application/problem+json": {"schema": schema}},
    }


def _schemas(bundle: Bundle) -> Json:
    decision = _decision_shape(bundle)
    version_and_digest = {"model_version": TEXT, "model_digest": DIGEST}
    return {
        "Row": row_schema(bundle.table),
        "Decision": {**_object(decision), "examples": [_decision_example(bundle)]},
        "LoggedDecision": _object(decision | _logged_shape()),
        "Rows": ROWS,
        "Outcomes": OUTCOMES,
        "Label": _object({"id": IDENTITY, "label": {"enum": [0, 1]}, "known_at": TIME}, True),
        "Labels": _labels_schema(),
        "Counts": _object({"accepted": _count(), "unknown": _count()}),
        "Live": _object({"status": {"const": "live"}}),
        "Ready": _object({"status": {"const": "ready"}, **version_and_digest}),
        "Description": {"type": "object"},
        "Problem": _problem_schema(),
    }


def _decision_shape(bundle: Bundle) -> Json:
    """Nothing in it is this version's alone: a retry gets what another version answered first."""
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    codes = "Features that raised the odds most, strongest first; none for the favourable action"
    return {
        "decision_id": {**TEXT, "description": "The event's id, as text"},
        "score": {**chance, "description": "Calibrated probability of the positive class"},
        "action": {
            **TEXT,
            "description": "What to do",
            "examples": list(bundle.decision.actions.values()),
        },
        "threshold": {**chance, "description": "Score from which the adverse action is taken"},
        "reason_codes": {"type": "array", "items": TEXT, "description": codes},
        "model_version": {**TEXT, "description": "The version that decided"},
        "model_digest": {**DIGEST, "description": "SHA-256 of its bundle"},
    }


def _decision_example(bundle: Bundle) -> Json:
    return {
        "decision_id": str(example_row(bundle)[bundle.table.event_id]),
        "score": 0.0,
        "action": bundle.decision.actions["negative"],
        "threshold": bundle.decision.threshold,
        "reason_codes": [],
        "model_version": bundle.manifest.version,
        "model_digest": bundle.digest,
    }


def _logged_shape() -> Json:
    value = {"type": ["number", "string", "null"]}
    inputs = "Model inputs as used, by name; null where missing"
    unknown = "null if another bundle decided"
    text_or_null = {"type": ["string", "null"]}
    return {
        "event_time": {"type": "string", "format": "date-time"},
        "features": {"type": "object", "additionalProperties": value, "description": inputs},
        "reasons": {"type": "array", "items": TEXT, "description": "The codes, for people"},
        "contributions": CONTRIBUTIONS,
        "trace_id": {**TEXT, "description": "Trace id or request id of the request"},
        "snapshot": {**text_or_null, "description": f"Digest of the training data; {unknown}"},
        "commit": {**text_or_null, "description": f"Code that trained; {unknown}"},
    }


def _body_example(body: str, bundle: Bundle) -> Any:
    if body == "Labels":
        return _labels_example(bundle)
    return [example_row(bundle)] if body == "Rows" else example_row(bundle)


def _labels_schema() -> Json:
    labels = {"type": "array", "items": _ref("schemas", "Label"), "minItems": 1}
    return {"anyOf": [_object({"labels": labels}, closed=True), labels]}


def _labels_example(bundle: Bundle) -> Json:
    row = example_row(bundle)
    identity, moment = row[bundle.table.event_id], row[bundle.table.event_time]
    return {"labels": [{"id": identity, "label": 1, "known_at": moment}]}


def _problem_schema() -> Json:
    shape: Json = {
        "type": {"type": "string", "format": "uri", "description": f"`{PREFIX}RULE`"},
        "title": {**TEXT, "description": "The phrase of the status"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {**TEXT, "description": "What is wrong, with field and value"},
        "field": {**TEXT, "description": "The field; empty if it is no single one"},
        "fix": {**TEXT, "description": "What is allowed, or what to do"},
    }
    example = {
        "type": f"{PREFIX}missing",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "amount is missing",
        "field": "amount",
        "fix": "send it",
    }
    return {**_object(shape), "examples": [example]}


def _headers() -> Json:
    number = {"type": "string", "pattern": "^[0-9]+$"}
    same = "The request's, if it sent one"
    return {
        "x-request-id": {
            "required": True,
            "schema": TEXT,
            "description": f"{same}; else a new one",
        },
        "traceparent": {"schema": TEXT, "description": same},
        "retry-after": {"required": True, "schema": number, "description": "Seconds"},
        "www-authenticate": {"required": True, "schema": {"const": "Bearer"}},
    }


def _parameters() -> Json:
    trace = "W3C Trace Context. Its trace id is logged; a malformed one is ignored."
    request = f"Logged where there is no trace: up to {LONGEST_ID} ASCII characters, no spaces."
    share = "Set by the gateway: the share of traffic that this version was given, above 0 to 1."
    return {
        "traceparent": {
            "name": "traceparent",
            "in": "header",
            "schema": TEXT,
            "description": trace,
        },
        "request_id": {
            "name": "x-request-id",
            "in": "header",
            "schema": TEXT,
            "description": request,
        },
        "propensity": {
            "name": "x-propensity",
            "in": "header",
            "schema": TEXT,
            "description": share,
        },
        "id": {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "description": "The event's id",
        },
    }


def _object(properties: Json, closed: bool = False) -> Json:
    schema: Json = {"type": "object", "properties": properties, "required": list(properties)}
    return {**schema, "additionalProperties": False} if closed else schema


def _count() -> Json:
    return {"type": "integer", "minimum": 0}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
