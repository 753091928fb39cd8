"""A stand-in for a Kubernetes cluster, for tests: what an API server, controllers and a gateway do.

``ApiServer`` stores objects of one namespace and holds them against their schemas. It knows no
field ownership (an applied object replaces the one before), no admission, no rights and no watch.
``Controllers`` say of every Deployment that its pods are ready, unless its bundle is called
``broken``, and of every route whether its Services exist. ``Gateway`` answers as a route says.
Nothing is run: there are no pods.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from setpoint.adapters.kubernetes_api import APPLY, KubernetesApi
from setpoint.adapters.kubernetes_manifests import BUNDLE, Cluster
from setpoint.adapters.kubernetes_router import KubernetesRouter
from setpoint.adapters.kubernetes_runtime import KubernetesRuntime
from tests.infra.schemas import check

NAMESPACE = "setpoint"
ROUTES = f"apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
DEPLOYMENTS = f"apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SERVICES = f"api/v1/namespaces/{NAMESPACE}/services"

Json = dict[str, Any]


class ApiServer:
    """Objects of one namespace by path, e.g. ``apis/apps/v1/.../deployments/x``."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self.deny: set[str] = set()
        """Kinds, in the plural, that the caller has no right to."""
        self.unknown: set[str] = set()
        """Kinds, in the plural, that are not installed."""
        self._lock = threading.Lock()
        self._version = 0

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any
    ) -> tuple[int, Json | str]:
        """Status and content."""
        with self._lock:
            self.calls.append((method, path))
            if f"/namespaces/{NAMESPACE}/" not in f"/{path}":
                return 404, {"message": "no such namespace"}
            parts = path.split("/")
            plural = parts[parts.index(NAMESPACE) + 1]
            if plural in self.unknown:
                return 404, "404 page not found\n"
            if plural in self.deny:
                return 403, {"message": f"{plural} is forbidden"}
            if parts[-1] == plural:
                return self._list(path, query)
            if parts[-1] == "status":
                return self._set_status(path.removesuffix("/status"), body)
            if method == "PATCH":
                return self._apply(path, query, body)
            if path not in self.objects:
                return 404, {"message": "not found", "details": {"name": parts[-1]}}
            if method == "DELETE":
                return 200, self.objects.pop(path)
            return 200, self.objects[path]

    def _list(self, path: str, query: Mapping[str, str]) -> tuple[int, Json]:
        wanted = [one.split("=") for one in query.get("labelSelector", "").split(",") if one]
        found = [
            item
            for place, item in sorted(self.objects.items())
            if place.rpartition("/")[0] == path
            and all(item["metadata"].get("labels", {}).get(k) == v for k, v in wanted)
        ]
        return 200, {"items": found}

    def _set_status(self, path: str, body: Json) -> tuple[int, Json]:
        if path in self.objects:
            self._version += 1
            self.objects[path]["status"] = body["status"]
            self.objects[path]["metadata"]["resourceVersion"] = str(self._version)
        return 200, {}

    def _apply(self, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Json]:
        if not query.get("fieldManager"):
            return 400, {"message": "fieldManager is required for apply patch"}
        item = copy.deepcopy(body)
        known = self.objects.get(path, {"metadata": {"generation": 0}})
        state = item["metadata"].pop("resourceVersion", None)
        if state is not None and state != known["metadata"].get("resourceVersion"):
            return 409, {"message": "the object has been modified"}
        try:
            check(item)
        except ValueError as err:
            return 422, {"message": str(err)}
        self._version += 1
        changed = item.get("spec") != known.get("spec")
        item["metadata"]["generation"] = known["metadata"]["generation"] + changed
        item["metadata"]["resourceVersion"] = str(self._version)
        item["status"] = known.get("status", {})
        self.objects[path] = item
        return 200, item


class Controllers:
    """Write the status of Deployments and routes, as controllers of a cluster do."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asleep = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(0.02):
            with suppress(requests.RequestException):  # also where no JSON comes
                if not self.asleep:
                    self._look()

    def _look(self) -> None:
        for item in self._items(DEPLOYMENTS):
            broken = item["metadata"]["annotations"][BUNDLE].endswith("broken")
            ready = 0 if broken else item["spec"]["replicas"]
            seen = item["metadata"]["generation"]
            self._say(DEPLOYMENTS, item, {"observedGeneration": seen, "readyReplicas": ready})
        there = {item["metadata"]["name"] for item in self._items(SERVICES)}
        for item in self._items(ROUTES):
            backends = {
                one["name"] for rule in item["spec"]["rules"] for one in rule["backendRefs"]
            }
            found = backends <= there
            conditions = [
                {
                    "type": kind,
                    "status": str(good),
                    "observedGeneration": item["metadata"]["generation"],
                    "reason": kind if good else "BackendNotFound",
                    "message": "" if good else f"no Service {sorted(backends - there)}",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
                for kind, good in (("Accepted", True), ("ResolvedRefs", found))
            ]
            parent = {
                "parentRef": item["spec"]["parentRefs"][0],
                "controllerName": "example.org/tests",
                "conditions": conditions,
            }
            self._say(ROUTES, item, {"parents": [parent]})

    def _items(self, path: str) -> list[Json]:
        found: list[Json] = (
            requests.get(f"{self.address}/{path}", timeout=5).json().get("items", [])
        )
        return found

    def _say(self, path: str, item: Json, status: Json) -> None:
        if item.get("status") != status:
            requests.patch(
                f"{self.address}/{path}/{item['metadata']['name']}/status",
                data=json.dumps({"status": status}),
                headers={"Content-Type": "application/merge-patch+json"},
                timeout=5,
            )


class Gateway:
    """Answers as the one route says: 200 with the backend's name, 503 where it has no Service."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.frozen: list[Json] | None = None
        """Routes that are carried out whatever the API server says."""

    def routes(self) -> list[Json]:
        """The routes in force."""
        if self.frozen is not None:
            return self.frozen
        found: list[Json] = requests.get(f"{self.address}/{ROUTES}", timeout=5).json()["items"]
        return found

    def answer(self) -> tuple[int, dict[str, str], Json]:
        """Status, headers and content."""
        routes = self.routes()
        if not routes:
            return 404, {}, {}
        (rule,) = routes[0]["spec"]["rules"]
        weights = [one["weight"] for one in rule["backendRefs"]]
        (backend,) = random.choices(rule["backendRefs"], weights)
        head = {
            one["name"]: one["value"]
            for found in rule["filters"]
            for one in found.get("responseHeaderModifier", {}).get("set", [])
        }
        there = requests.get(f"{self.address}/{SERVICES}/{backend['name']}", timeout=5)
        return (200 if there.ok else 503), head, {"backend": backend["name"]}


@dataclass(frozen=True)
class StandIn:
    """A cluster, and Setpoint's two adapters to it."""

    server: ApiServer
    controllers: Controllers
    gateway: Gateway
    api: KubernetesApi
    router: KubernetesRouter
    runtime: KubernetesRuntime


def signed_name(version: str) -> str:
    """Name by digest of a version's image, another digest for every version."""
    return f"registry.example.org/small@sha256:{hashlib.sha256(version.encode()).hexdigest()}"


@contextmanager
def cluster(
    project: str = "small", trusted: Path = Path("/nowhere"), **options: Any
) -> Iterator[StandIn]:
    """Start the stand-in; ``options`` are fields of ``Cluster``."""
    server = ApiServer()
    with _serving(lambda request: server.answer(*_read(request))) as address:
        controllers = Controllers(address)
        gateway = Gateway(address)
        with _serving(lambda _: _spread(gateway.answer())) as url:
            where = Cluster(
                namespace=NAMESPACE,
                gateway="setpoint",
                gateway_url=url,
                server=address,
                **{"ready_seconds": 2, **options},
            )
            api = KubernetesApi(NAMESPACE, address, token_file=Path("/nowhere"))
            router = KubernetesRouter(where, project, api, timeout=5.0)
            runtime = KubernetesRuntime(where, project, signed_name, trusted, api)
            try:
                yield StandIn(server, controllers, gateway, api, router, runtime)
            finally:
                controllers.stop()


def _spread(answer: tuple[int, dict[str, str], Json]) -> tuple[Any, ...]:
    status, head, content = answer
    return status, content, head


def _read(request: BaseHTTPRequestHandler) -> tuple[str, str, dict[str, str], Any]:
    parts = urlsplit(request.path)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    size = int(request.headers.get("Content-Length") or 0)
    body = json.loads(request.rfile.read(size)) if size else None
    if request.command == "PATCH" and not parts.path.endswith("/status"):
        assert request.headers["Content-Type"] == APPLY
    return request.command, parts.path.strip("/"), query, body


@contextmanager
def _serving(answer: Callable[[BaseHTTPRequestHandler], tuple[Any, ...]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content, *more = answer(self)
            raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_PATCH = do_DELETE = do_GET

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
