"""Schemas that Kubernetes objects are held against, offline.

Kubernetes' own kinds: the package ``kubernetes-validate``, where it is installed. The Gateway API
comes in no package; its schemas here are written from its public specification (v1.2, standard
channel) for the fields that are used, and know no others.
"""

from __future__ import annotations

from typing import Any

import jsonschema

VERSION = "1.33"
"""Of Kubernetes, whose schemas are taken."""

LABEL = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
NAME = {
    "type": "string",
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "maxLength": 253,
}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"}


def closed(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def many(item: Any, most: int, least: int = 0) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


HEADER = closed(
    ("name", "value"),
    name={"type": "string", "pattern": r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$", "maxLength": 256},
    value={"type": "string", "minLength": 1, "maxLength": 4096},
)
HEADERS = closed(set=many(HEADER, 16), add=many(HEADER, 16), remove=many({"type": "string"}, 16))
BACKEND = {"name": NAME, "port": PORT, "namespace": LABEL}


def _filter(kind: str, field: str, content: Any) -> dict[str, Any]:
    return closed(("type", field), type={"const": kind}, **{field: content})


MODIFIERS = [
    _filter("RequestHeaderModifier", "requestHeaderModifier", HEADERS),
    _filter("ResponseHeaderModifier", "responseHeaderModifier", HEADERS),
]
MIRROR = _filter(
    "RequestMirror",
    "requestMirror",
    closed(("backendRef",), backendRef=closed(("name", "port"), **BACKEND)),
)
METADATA = {
    "type": "object",
    "properties": {
        "name": NAME,
        "namespace": LABEL,
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
    },
    "required": ["name"],
}
RULE = closed(
    matches=many(
        closed(
            path=closed(
                type={"enum": ["Exact", "PathPrefix", "RegularExpression"]},
                value={"type": "string", "pattern": "^/", "maxLength": 1024},
            )
        ),
        64,
    ),
    filters=many({"anyOf": [*MODIFIERS, MIRROR]}, 16),
    backendRefs=many(
        closed(
            ("name", "port"),
            **BACKEND,
            weight={"type": "integer", "minimum": 0, "maximum": 1_000_000},
            filters=many({"anyOf": MODIFIERS}, 16),
        ),
        16,
    ),
    timeouts=closed(request=DURATION, backendRequest=DURATION),
)
LISTENER = closed(
    ("name", "port", "protocol"),
    name=NAME,
    port=PORT,
    protocol={"enum": ["HTTP", "HTTPS", "TLS", "TCP", "UDP"]},
    hostname=NAME,
    tls=closed(
        mode={"enum": ["Terminate", "Passthrough"]},
        certificateRefs=many(closed(("name",), name=NAME, kind={"const": "Secret"}), 64),
    ),
    allowedRoutes=closed(
        namespaces=closed(**{"from": {"enum": ["All", "Selector", "Same"]}}),
        kinds=many(closed(("kind",), kind=NAME | {"pattern": "^[A-Z]"}), 8),
    ),
)


def _kind(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return closed(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": "gateway.networking.k8s.io/v1"},
        kind={"const": name},
        metadata=METADATA,
        spec=spec,
        status={"type": "object"},
    )


GATEWAY_API = {
    "HTTPRoute": _kind(
        "HTTPRoute",
        closed(
            parentRefs=many(
                closed(("name",), name=NAME, namespace=LABEL, sectionName=NAME, port=PORT), 32
            ),
            hostnames=many(NAME, 16),
            rules=many(RULE, 16, 1),
        ),
    ),
    "Gateway": _kind(
        "Gateway",
        closed(
            ("gatewayClassName", "listeners"),
            gatewayClassName=NAME,
            listeners=many(LISTENER, 64, 1),
        ),
    ),
}


def check(item: dict[str, Any]) -> None:
    """Refuse an object that its schema does not allow; kinds without a schema here pass.

    Raises:
        ValueError: Names the field.
    """
    if item["kind"] in GATEWAY_API:
        try:
            jsonschema.validate(item, GATEWAY_API[item["kind"]])
        except jsonschema.ValidationError as err:
            raise ValueError(f"{err.json_path}: {err.message}") from err
        return
    try:
        import kubernetes_validate
    except ImportError:
        return
    try:
        kubernetes_validate.validate(item, VERSION, strict=True)
    except kubernetes_validate.ValidationError as err:
        raise ValueError(f"{list(err.path)}: {err.message}") from err
    except kubernetes_validate.SchemaNotFoundError:
        return
