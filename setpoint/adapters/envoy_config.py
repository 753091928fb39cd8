"""What Envoy reads: a traffic plan as files of its file-based configuration service.

Pure: plans in, plain data for JSON out. Every field stands in the Envoy v3 API; Envoy runs with
``--reject-unknown-dynamic-fields``, since it drops a misspelt field in silence otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setpoint.ports import Endpoint, TrafficPlan

ENTITY_HEADER = "x-entity"
PLAN_HEADER = "x-plan"
READY_PATH = "/health/ready"
NO_PLAN = "none"

_TYPES = "type.googleapis.com/envoy"
_RETRY_ON = "connect-failure,refused-stream,reset,reset-before-request,5xx"
_RETRIES = 3
# The default budget of 3 concurrent retries loses requests when a version fails.
_CIRCUIT = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
_MAX_RETRIES = 256
_SHADOW_REQUESTS = 64

Json = dict[str, Any]


@dataclass(frozen=True)
class GatewayOptions:
    """Where the gateway listens and how long it waits.

    Attributes:
        host: Address to listen on.
        port: Port for clients.
        admin_port: Port of Envoy's own pages, loopback only.
        try_seconds: How long one try may take before the next, at most 3 more.
        request_seconds: How long a request may take in all.
    """

    host: str
    port: int
    admin_port: int
    try_seconds: float = 1.0
    request_seconds: float = 10.0


def bootstrap(options: GatewayOptions, folder: Path) -> Json:
    """Envoy's start file.

    Args:
        options: Where it listens.
        folder: Watched folder with ``cds.json``, ``rds.json`` and ``eds-*.json``, absolute.
    """
    return {
        "node": {"id": "setpoint-gateway", "cluster": "setpoint"},
        "admin": {"address": _address("127.0.0.1", options.admin_port)},
        "dynamic_resources": {"cds_config": _source(folder, "cds.json")},
        "static_resources": {"listeners": [_listener(options, folder)]},
    }


def clusters(plans: list[TrafficPlan], folder: Path, version: str) -> Json:
    """``cds.json``: what all of ``plans`` send to.

    Args:
        plans: The plan in force and the coming one while routes move, else one.
        folder: Watched folder, absolute.
        version: Any text that names this state.
    """
    found: dict[str, Json] = {}
    for plan in plans:
        for name in plan.weights:
            found[f"v-{name}"] = _version_cluster(name, folder)
            chain = fallbacks(plan, name)
            found[_aggregate_name(chain)] = _aggregate(chain)
        if plan.shadow is not None:
            found[f"shadow-{plan.shadow}"] = _shadow_cluster(plan.shadow, folder)
    return _response(version, list(found.values()), "config.cluster.v3.Cluster")


def cluster_names(plan: TrafficPlan) -> set[str]:
    """Names of the clusters that ``plan`` sends to."""
    names = {f"v-{name}" for name in plan.weights}
    names |= {_aggregate_name(fallbacks(plan, name)) for name in plan.weights}
    return names | ({f"shadow-{plan.shadow}"} if plan.shadow is not None else set())


def fallbacks(plan: TrafficPlan, version: str) -> tuple[str, ...]:
    """Who answers for ``version``, first itself.

    A failing version is replaced by the stable one, a failing stable one by the others that the
    plan trusts with traffic.
    """
    if version != plan.stable:
        return (version, plan.stable)
    return (version, *(v for v, weight in plan.weights.items() if v != version and weight > 0))


def routes(plan: TrafficPlan | None, options: GatewayOptions) -> Json:
    """``rds.json``; without a plan every request is answered 503 with the reason.

    Its version is the plan's id (``none`` without one).
    """
    plan_id = plan.id if plan is not None else NO_PLAN
    table = {
        "name": "gateway",
        "validate_clusters": True,
        "response_headers_to_add": [
            {
                "header": {"key": PLAN_HEADER, "value": plan_id},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(plan, options)]}],
    }
    return _response(plan_id, [table], "config.route.v3.RouteConfiguration")


def assignment(version: str, endpoint: Endpoint) -> Json:
    """``eds-<version>.json``: where a version listens. One file per cluster, or Envoy rejects it.

    Args:
        version: Model version.
        endpoint: Where it listens; an IP address.
    """
    where = {"endpoint": {"address": _address(endpoint.host, endpoint.port)}}
    resource = {"cluster_name": f"v-{version}", "endpoints": [{"lb_endpoints": [where]}]}
    label = f"{endpoint.host}:{endpoint.port}"
    return _response(label, [resource], "config.endpoint.v3.ClusterLoadAssignment")


def _route(plan: TrafficPlan | None, options: GatewayOptions) -> Json:
    if plan is None:
        body = '{"error": "no model version is released yet", "fix": "release one, then retry"}'
        return {
            "match": {"prefix": "/"},
            "direct_response": {"status": 503, "body": {"inline_string": body}},
            "response_headers_to_add": [
                {"header": {"key": "content-type", "value": "application/json"}}
            ],
        }
    weighted = [
        {"name": _aggregate_name(fallbacks(plan, version)), "weight": weight}
        for version, weight in plan.weights.items()
    ]
    action: Json = {
        # In the plan's order: with another order all entities would change sides.
        "weighted_clusters": {"clusters": weighted, "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": ENTITY_HEADER}}],
        "timeout": f"{options.request_seconds:g}s",
        "retry_policy": _retry_policy(options),
    }
    if plan.shadow is not None:
        action["request_mirror_policies"] = [{"cluster": f"shadow-{plan.shadow}"}]
    return {"match": {"prefix": "/"}, "route": action}


def _retry_policy(options: GatewayOptions) -> Json:
    name = "envoy.retry_priorities.previous_priorities"
    kind = "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "retry_on": _RETRY_ON,
        "num_retries": _RETRIES,
        "per_try_timeout": f"{options.try_seconds:g}s",
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "retry_priority": {"name": name, "typed_config": _typed(kind, {"update_frequency": 1})},
    }


def _version_cluster(version: str, folder: Path) -> Json:
    return {
        **_eds_cluster(f"v-{version}", version, folder),
        # Zero: when its only process fails, requests go on to the next of the aggregate.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                # A stall on a busy machine must not take the last version out of service.
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "http_health_check": {"path": READY_PATH},
            }
        ],
        "outlier_detection": {
            "consecutive_5xx": 5,
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "max_ejection_percent": 100,
            # Short: the last version may be out of service for no longer than its fault lasts.
            "interval": "1s",
            "base_ejection_time": "1s",
            "max_ejection_time": "5s",
        },
        "circuit_breakers": {"thresholds": [{**_CIRCUIT, "max_retries": _MAX_RETRIES}]},
    }


def _shadow_cluster(version: str, folder: Path) -> Json:
    # Its own small bound: a shadow that hangs would hold requests without end otherwise.
    limits = {"max_requests": _SHADOW_REQUESTS, "max_pending_requests": _SHADOW_REQUESTS}
    return {
        **_eds_cluster(f"shadow-{version}", version, folder),
        "circuit_breakers": {"thresholds": [{**limits, "max_retries": 0}]},
    }


def _eds_cluster(name: str, version: str, folder: Path) -> Json:
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": "0.5s",
        "lb_policy": "ROUND_ROBIN",
        "eds_cluster_config": {
            "service_name": f"v-{version}",
            "eds_config": _source(folder, f"eds-{version}.json"),
        },
    }


def _aggregate(chain: tuple[str, ...]) -> Json:
    kind = "extensions.clusters.aggregate.v3.ClusterConfig"
    members = {"clusters": [f"v-{version}" for version in chain]}
    return {
        "name": _aggregate_name(chain),
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": _typed(kind, members),
        },
        # Its own, as those of its members do not count for retries through it.
        "circuit_breakers": {"thresholds": [{**_CIRCUIT, "max_retries": _MAX_RETRIES}]},
    }


def _aggregate_name(chain: tuple[str, ...]) -> str:
    return "_or_".join(chain) if len(chain) > 1 else f"{chain[0]}_only"


def _listener(options: GatewayOptions, folder: Path) -> Json:
    router = {"name": "envoy.filters.http.router"}
    router |= {"typed_config": _typed("extensions.filters.http.router.v3.Router", {})}
    manager = {
        "stat_prefix": "gateway",
        "rds": {"route_config_name": "gateway", "config_source": _source(folder, "rds.json")},
        "http_filters": [router],
        "stream_idle_timeout": "60s",
        "normalize_path": True,
    }
    kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    chain = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": _typed(kind, manager),
            }
        ]
    }
    return {
        "name": "gateway",
        "address": _address(options.host, options.port),
        "filter_chains": [chain],
    }


def _source(folder: Path, name: str) -> Json:
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": str(folder / name),
            "watched_directory": {"path": str(folder)},
        },
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _typed(kind: str, data: Mapping[str, Any]) -> Json:
    return {"@type": f"{_TYPES}.{kind}", **data}


def _response(version: str, resources: list[Json], kind: str) -> Json:
    return {"version_info": version, "resources": [_typed(kind, one) for one in resources]}
