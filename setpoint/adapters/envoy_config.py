"""What Envoy reads: a traffic plan as files of its file-based configuration service.

Pure: plans in, plain data for JSON out. Every field stands in the Envoy v3 API; Envoy runs with
``--reject-unknown-dynamic-fields``, since it drops a misspelt field in silence otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from setpoint.ports import Endpoint, TrafficPlan

ENTITY_HEADER = "x-entity"
PLAN_HEADER = "x-plan"
ASSIGNED_HEADER = "x-assigned"
"""The version that a request is meant for, told to whoever answers it."""
PROPENSITY_HEADER = "x-propensity"
"""Share of the entities that this version is meant to answer, above 0 to 1."""
READY_PATH = "/health/ready"
NO_PLAN = "none"

_TYPES = "type.googleapis.com/envoy"
_CIRCUIT = {
    "max_connections": 4096,
    "max_pending_requests": 4096,
    "max_requests": 4096,
    # The default budget of 3 concurrent retries loses requests when a version fails.
    "max_retries": 1024,
}
_BROKEN = "connect-failure,refused-stream,reset,reset-before-request"
_CONNECTIONS = 4096
_SHADOW_REQUESTS = 64

Json = dict[str, Any]


@dataclass(frozen=True)
class GatewayOptions:
    """Where the gateway listens and how long it waits.

    Attributes:
        host: Address to listen on.
        port: Port for clients.
        admin_port: Port of Envoy's own pages, loopback only.
        try_seconds: How long one try may take before another version is asked, if there is one.
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
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": _typed(
                        "extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        {"max_active_downstream_connections": _CONNECTIONS},
                    ),
                }
            ]
        },
    }


def clusters(plans: list[TrafficPlan], folder: Path, version: str) -> Json:
    """``cds.json``: what all of ``plans`` send to.

    Args:
        plans: The plan in force and the coming one while routes move, else one.
        folder: Watched folder, absolute.
        version: Any text that names this state.
    """
    found = {one["name"]: one for plan in plans for one in _plan_clusters(plan, folder)}
    return _response(version, list(found.values()), "config.cluster.v3.Cluster")


def cluster_names(plan: TrafficPlan, folder: Path) -> set[str]:
    """Names of the clusters that ``plan`` needs."""
    return {one["name"] for one in _plan_clusters(plan, folder)}


def answering(plan: TrafficPlan) -> dict[str, tuple[str, ...]]:
    """For each version with a share of the traffic who answers for it, first itself.

    A failing version is replaced by the stable one, a failing stable one by the others that the
    plan trusts with traffic.
    """
    trusted = [version for version, weight in plan.weights.items() if weight > 0]
    others = tuple(version for version in trusted if version != plan.stable)
    return {v: (v, *others) if v == plan.stable else (v, plan.stable) for v in trusted}


def shares(plan: TrafficPlan) -> list[tuple[str, int]]:
    """Who answers which part of all entities, in the order of their hashes: version, percent.

    The share of the last version begins at the plan's offset and grows from there, round the
    circle of a hundred parts; so a version can come twice.
    """
    *others, last = plan.weights
    circle = [version for version in (last, *others) for _ in range(plan.weights[version])]
    placed = [circle[(part - plan.offset) % 100] for part in range(100)]
    return [(version, len(list(parts))) for version, parts in groupby(placed)]


def routes(plan: TrafficPlan | None, options: GatewayOptions) -> Json:
    """``rds.json``; without a plan every request is answered 503 with the reason.

    Its version is the plan's id (``none`` without one).
    """
    plan_id = plan.id if plan is not None else NO_PLAN
    table = {
        "name": "gateway",
        "validate_clusters": True,
        "response_headers_to_add": [_header(PLAN_HEADER, plan_id)],
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
    chains = answering(plan)
    alone = all(len(chain) == 1 for chain in chains.values())
    weighted = [
        {
            "name": _route_target(chains[version]),
            "weight": slots,
            # What the client sent under these names is overwritten.
            "request_headers_to_add": [
                _header(ASSIGNED_HEADER, version),
                _header(PROPENSITY_HEADER, f"{plan.weights[version] / 100:g}"),
            ],
        }
        for version, slots in shares(plan)
    ]
    action: Json = {
        # Always in the order of ``shares``: with another order entities would change sides.
        "weighted_clusters": {"clusters": weighted, "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": ENTITY_HEADER}}],
        # A client's own host could end with what Envoy adds to mirrored requests.
        "host_rewrite_literal": "setpoint",
        "timeout": f"{options.request_seconds:g}s",
        "retry_policy": _ask_again() if alone else _ask_another(options),
    }
    if plan.shadow is not None:
        action["request_mirror_policies"] = [{"cluster": f"shadow-{plan.shadow}"}]
    return {"match": {"prefix": "/"}, "route": action}


def _header(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _ask_another(options: GatewayOptions) -> Json:
    """Several versions run: one that fails or hangs is replaced at once."""
    name = "envoy.retry_priorities.previous_priorities"
    kind = "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        "retry_on": f"{_BROKEN},5xx",
        "num_retries": 5,
        "per_try_timeout": f"{options.try_seconds:g}s",
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.05s"},
        "retry_priority": {"name": name, "typed_config": _typed(kind, {"update_frequency": 1})},
    }


def _ask_again() -> Json:
    """One version runs: wait while it restarts; its own 503 goes to the client at once."""
    return {
        "retry_on": _BROKEN,
        "num_retries": 30,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.5s"},
    }


def _plan_clusters(plan: TrafficPlan, folder: Path) -> list[Json]:
    found = []
    for version, chain in answering(plan).items():
        if len(chain) > 1:
            found += [_watched_cluster(one, folder) for one in chain]
            found.append(_aggregate(chain, plan.stable))
            found.append(_plain_cluster(plan.stable, folder))
        else:
            found.append(_plain_cluster(version, folder))
    if plan.shadow is not None:
        found.append(_shadow_cluster(plan.shadow, folder))
    return found


def _watched_cluster(version: str, folder: Path) -> Json:
    """A version that others can stand in for: out of service as soon as it fails."""
    return {
        **_eds_cluster(f"v-{version}", version, folder),
        # Zero: when its only process fails, requests go on to the next of the aggregate.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                # A stall on a busy machine is no fault.
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
            # Short: out of service for little longer than its fault lasts.
            "interval": "1s",
            "base_ejection_time": "1s",
            "max_ejection_time": "5s",
        },
        "circuit_breakers": {"thresholds": [_CIRCUIT]},
    }


def _plain_cluster(version: str, folder: Path) -> Json:
    """A version that nobody stands in for: never out of service, whatever it does."""
    return {
        **_eds_cluster(_route_target((version,)), version, folder),
        "circuit_breakers": {"thresholds": [_CIRCUIT]},
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


def _aggregate(chain: tuple[str, ...], stable: str) -> Json:
    """Asks one after the other; when all are out of service, the stable one all the same."""
    kind = "extensions.clusters.aggregate.v3.ClusterConfig"
    members = [*(f"v-{version}" for version in chain), _route_target((stable,))]
    return {
        "name": _route_target(chain),
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": _typed(kind, {"clusters": members}),
        },
        # Its own, as those of its members do not count for retries through it.
        "circuit_breakers": {"thresholds": [_CIRCUIT]},
    }


def _route_target(chain: tuple[str, ...]) -> str:
    return f"any-{'-or-'.join(chain)}" if len(chain) > 1 else f"only-{chain[0]}"


def _listener(options: GatewayOptions, folder: Path) -> Json:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": _typed("extensions.filters.http.router.v3.Router", {}),
    }
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
