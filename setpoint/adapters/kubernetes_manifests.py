"""What Kubernetes is told of a model version and of the traffic: pure, plans in, objects out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from setpoint.adapters.envoy_config import (
    ASSIGNED_HEADER,
    PLAN_HEADER,
    PROPENSITY_HEADER,
)
from setpoint.config.fields import Section
from setpoint.errors import PlatformError
from setpoint.ports import TrafficPlan

PORT = 8080
USER = 10001
DOMAIN = "setpoint.io"
VERSION, BUNDLE, DIGEST, PLAN = (
    f"{DOMAIN}/{name}" for name in ("version", "bundle", "digest", "plan")
)
STATE = "/var/lib/setpoint"
KEYS = "/etc/setpoint/keys"
TRUSTED = "/etc/setpoint/trusted"
DRAIN_SECONDS = 30
GONE_SECONDS = 5
"""From leaving the Service until SIGTERM: gateways hear of it meanwhile."""

Json = dict[str, Any]


class Cluster(Section):
    """How versions run in a cluster: the file that ``SETPOINT_CLUSTER`` names.

    Attributes:
        namespace: Where everything is.
        gateway: Name of the ``Gateway`` that the route hangs on.
        gateway_url: Where the platform reaches that gateway, to see that a plan is in force.
        server: Address of the API server.
        replicas: Pods of a new version.
        max_replicas: Up to which its autoscaler goes; no autoscaler if not above ``replicas``.
        cpu: Processor time that a pod asks for and is held to, e.g. ``1`` or ``500m``.
        memory: Memory, likewise.
        claim: Name of the volume claim with the shared store; empty for one of each pod's own,
            which ends with it.
        decisions_secret: Secret whose key ``url`` is the address of the decision log; empty if
            decisions are in the store.
        keys_secret: Secret whose key ``keys`` is the file of API keys that versions ask for; empty
            for none.
        pull_secret: Secret with the login of the image registry; empty for none.
        ready_seconds: How long a new version may take.
    """

    namespace: str
    gateway: str
    gateway_url: str
    server: str = "https://kubernetes.default.svc"
    replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)] = 1
    cpu: str = "1"
    memory: str = "512Mi"
    claim: str = ""
    decisions_secret: str = ""
    keys_secret: str = ""
    pull_secret: str = ""
    ready_seconds: Annotated[float, Field(ge=2)] = 180.0


def read_cluster(file: Path) -> Cluster:
    """Read the description of a cluster.

    Raises:
        PlatformError: The file is missing, no mapping, or has a field that is unknown, missing or
            of another type.
    """
    try:
        return Cluster.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, ValidationError, yaml.YAMLError) as err:
        raise PlatformError(
            f"the description of the cluster cannot be used: {err}",
            where=str(file),
            fix=f"its fields are {', '.join(Cluster.model_fields)}; see docs/scaled-out.md",
        ) from err


def object_name(project: str, version: str) -> str:
    """Name of a version's objects: a DNS label, another one for every version."""
    wanted = f"{project}-{version}"
    name = re.sub(r"[^a-z0-9-]", "-", wanted.lower())
    if name != wanted or len(name) > 52 or name.endswith("-"):
        # What the rewriting made alike is told apart by the digest of what it was.
        digest = hashlib.sha256(wanted.encode()).hexdigest()[:10]
        name = f"{name[:41].rstrip('-')}-{digest}"
    return name


def project_labels(project: str) -> dict[str, str]:
    """Labels of all objects of a project's versions; network policies select by them."""
    return {
        "app.kubernetes.io/part-of": object_name(project, "all"),
        "app.kubernetes.io/component": "scoring",
        "app.kubernetes.io/managed-by": "setpoint",
    }


def version_objects(
    cluster: Cluster, project: str, version: str, image: str, bundle: str, digest: str
) -> list[Json]:
    """Deployment, Service, disruption budget and, if asked for, autoscaler of a version.

    Its pods mount its config map of trusted keys, see ``trusted_keys``, and wait until it is there.

    Args:
        cluster: The cluster.
        project: Name of the project.
        version: Model version.
        image: Image of that version.
        bundle: Folder of its bundle, to know it again.
        digest: Digest that the bundle in the image must have; any if empty.
    """
    name = object_name(project, version)
    labels = project_labels(project) | {"app.kubernetes.io/name": name}
    notes = {VERSION: version, BUNDLE: bundle, DIGEST: digest}
    selector = {"matchLabels": {"app.kubernetes.io/name": name}}
    meta = {"name": name, "namespace": cluster.namespace, "labels": labels, "annotations": notes}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": cluster.replicas,
            "selector": selector,
            "progressDeadlineSeconds": max(1, int(cluster.ready_seconds)),
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": labels, "annotations": notes},
                "spec": _pod(cluster, project, version, image, digest),
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "type": "ClusterIP",
            "selector": selector["matchLabels"],
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"maxUnavailable": 1, "selector": selector},
    }
    return [deployment, service, budget, *_autoscaler(cluster, meta)]


def trusted_keys(cluster: Cluster, project: str, version: str, keys: Mapping[str, str]) -> Json:
    """Config map of the public keys, one of which must have signed the bundle of a version.

    Args:
        cluster: The cluster.
        project: Name of the project.
        version: Model version.
        keys: Name of each file, ``ID.pem``, and the public key in it.
    """
    name = object_name(project, version)
    labels = project_labels(project) | {"app.kubernetes.io/name": name}
    meta = {"name": name, "namespace": cluster.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(keys)}


def _autoscaler(cluster: Cluster, meta: Json) -> list[Json]:
    if cluster.max_replicas <= cluster.replicas:
        return []
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    return [
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": meta,
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": meta["name"],
                },
                "minReplicas": cluster.replicas,
                "maxReplicas": cluster.max_replicas,
                "metrics": [{"type": "Resource", "resource": cpu}],
            },
        }
    ]


def _pod(cluster: Cluster, project: str, version: str, image: str, digest: str) -> Json:
    spec: Json = {
        "serviceAccountName": "setpoint-scoring",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": GONE_SECONDS + DRAIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(cluster, version, image, digest)],
        "volumes": [
            {"name": "state", **_state(cluster)},
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "trusted", "configMap": {"name": object_name(project, version)}},
        ],
        **_placement(cluster, project),
    }
    if cluster.keys_secret:
        spec["volumes"].append({"name": "keys", "secret": {"secretName": cluster.keys_secret}})
    if cluster.pull_secret:
        spec["imagePullSecrets"] = [{"name": cluster.pull_secret}]
    return spec


def _state(cluster: Cluster) -> Json:
    if cluster.claim:
        return {"persistentVolumeClaim": {"claimName": cluster.claim}}
    return {"emptyDir": {"sizeLimit": "1Gi"}}


def _placement(cluster: Cluster, project: str) -> Json:
    """One node where all share a SQLite store, whose write-ahead log is memory of that node."""
    selector = {"labelSelector": {"matchLabels": project_labels(project)}}
    if cluster.claim:
        together = {**selector, "topologyKey": "kubernetes.io/hostname"}
        affinity = {"requiredDuringSchedulingIgnoredDuringExecution": [together]}
        return {"affinity": {"podAffinity": affinity}}
    apart = {
        **selector,
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
    }
    return {"topologySpreadConstraints": [apart]}


def _container(cluster: Cluster, version: str, image: str, digest: str) -> Json:
    environment: list[Json] = [
        {"name": "SETPOINT_MODEL_VERSION", "value": version},
        {"name": "SETPOINT_TRUSTED", "value": TRUSTED},
        *([{"name": "SETPOINT_BUNDLE_DIGEST", "value": digest}] if digest else []),
    ]
    if cluster.decisions_secret:
        key = {"name": cluster.decisions_secret, "key": "url"}
        environment.append({"name": "SETPOINT_DECISIONS", "valueFrom": {"secretKeyRef": key}})
    mounts: list[Json] = [
        {"name": "state", "mountPath": STATE},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "trusted", "mountPath": TRUSTED, "readOnly": True},
    ]
    if cluster.keys_secret:
        environment.append({"name": "SETPOINT_KEYS", "value": f"{KEYS}/keys"})
        mounts.append({"name": "keys", "mountPath": KEYS, "readOnly": True})
    wait = f"import time; time.sleep({GONE_SECONDS})"
    resources = {"cpu": cluster.cpu, "memory": cluster.memory}
    return {
        "name": "scoring",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": environment,
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/health/ready", 2, int(cluster.ready_seconds // 2) or 1),
        "readinessProbe": _probe("/health/ready", 2, 3),
        "livenessProbe": _probe("/health/live", 10, 6),
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-I", "-S", "-c", wait]}}},
        "volumeMounts": mounts,
    }


def _probe(path: str, seconds: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": seconds,
        "timeoutSeconds": 2 if seconds < 10 else 5,
        "failureThreshold": failures,
    }


def route(cluster: Cluster, project: str, plan: TrafficPlan) -> Json:
    """The ``HTTPRoute`` of a plan; the plan itself stands in an annotation of it.

    Versions without a share are backends too, with weight 0, so that the weights can be held
    against the plan.

    Args:
        cluster: The cluster.
        project: Name of the project.
        plan: The plan.
    """
    filters: list[Json] = [
        {
            "type": "ResponseHeaderModifier",
            "responseHeaderModifier": {"set": [{"name": PLAN_HEADER, "value": plan.id}]},
        }
    ]
    if plan.shadow is not None:
        mirror = {"backendRef": _backend(project, plan.shadow)}
        filters.append({"type": "RequestMirror", "requestMirror": mirror})
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "filters": filters,
        "backendRefs": [_weighted(project, plan, version) for version in plan.weights],
        "timeouts": {"request": "10s"},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": object_name(project, "all"),
            "namespace": cluster.namespace,
            "labels": project_labels(project),
            "annotations": {PLAN: json.dumps(_plan_data(plan))},
        },
        "spec": {"parentRefs": [{"name": cluster.gateway}], "rules": [rule]},
    }


def _weighted(project: str, plan: TrafficPlan, version: str) -> Json:
    backend = {**_backend(project, version), "weight": plan.weights[version]}
    if plan.weights[version] == 0:
        return backend
    # What the client sent under these names is overwritten.
    told = [
        {"name": ASSIGNED_HEADER, "value": version},
        {"name": PROPENSITY_HEADER, "value": f"{plan.weights[version] / 100:g}"},
    ]
    change = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": told}}
    return {**backend, "filters": [change]}


def _backend(project: str, version: str) -> Json:
    return {"name": object_name(project, version), "port": PORT}


def _plan_data(plan: TrafficPlan) -> Json:
    # A list, as the order of the weights matters and must survive any writer of JSON.
    weights = [[name, weight] for name, weight in plan.weights.items()]
    return {
        "id": plan.id,
        "weights": weights,
        "stable": plan.stable,
        "shadow": plan.shadow,
        "offset": plan.offset,
    }


def plan_of(project: str, item: Mapping[str, Any]) -> TrafficPlan | None:
    """The plan that a route carries out; ``None`` if its annotation and its weights differ.

    Args:
        project: Name of the project.
        item: The ``HTTPRoute`` as the API server gives it.
    """
    try:
        data = json.loads(item["metadata"]["annotations"][PLAN])
        plan = TrafficPlan(
            data["id"], dict(data["weights"]), data["stable"], data["shadow"], data["offset"]
        )
        (rule,) = item["spec"]["rules"]
        real = [(one["name"], one["weight"]) for one in rule["backendRefs"]]
    except (KeyError, TypeError, ValueError):
        return None
    told = [(object_name(project, version), weight) for version, weight in plan.weights.items()]
    return plan if real == told else None
