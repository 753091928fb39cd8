"""The few calls of the Kubernetes API that Setpoint makes: plain HTTPS, no client library.

Objects are written by server-side apply, so that a field that somebody else owns (the replicas
that an autoscaler sets) stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from setpoint.errors import PlatformError

MANAGER = "setpoint"
"""Under this name the API server keeps which fields are ours."""
APPLY = "application/apply-patch+yaml"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Json = dict[str, Any]

_GROUPS = {
    "Deployment": ("apis/apps/v1", "deployments"),
    "Service": ("api/v1", "services"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
}
_FIXES = {
    401: "mount a valid token of the platform's service account",
    403: "give the platform's service account the Role of infra/kubernetes/base/rbac.yaml",
    404: "create the namespace, and install the Gateway API where it is the kind that is missing",
    409: "somebody else changed it meanwhile: try again",
    422: "see the field that the message names",
}


class ApiError(PlatformError):
    """An answer of the API server that is no success.

    Args:
        what: What is wrong.
        where: The object.
        fix: What to do.
        status: HTTP status; 0 without an answer.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", status: int = 0) -> None:
        self.status = status
        super().__init__(what, where=where, fix=fix)


class KubernetesApi:
    """One namespace of one cluster.

    Args:
        namespace: The namespace.
        server: Address of the API server.
        token_file: File with the bearer token, read at every call as the cluster renews it; a
            file that is not there means no token.
        ca_file: Certificates that the server's is signed by; the system's if the file is not
            there.
        timeout: Longest wait for one answer, seconds.
        headers: Sent with every call.
    """

    def __init__(
        self,
        namespace: str,
        server: str = "https://kubernetes.default.svc",
        *,
        token_file: Path = ACCOUNT / "token",
        ca_file: Path = ACCOUNT / "ca.crt",
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.namespace = namespace
        self.server = server.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._timeout = timeout
        self._headers = dict(headers or {})

    def get(self, kind: str, name: str) -> Json | None:
        """An object, ``None`` if there is none.

        Raises:
            ApiError: The server does not answer or refuses.
        """
        return self._call("GET", kind, name, missing=True)

    def select(self, kind: str, labels: Mapping[str, str]) -> list[Json]:
        """All objects with these labels.

        Raises:
            ApiError: The server does not answer or refuses.
        """
        query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
        return list((self._call("GET", kind, "", query) or {}).get("items", []))

    def apply(self, item: Json) -> Json:
        """Write an object by server-side apply; fields that were ours and are not in it go.

        With ``metadata.resourceVersion`` it is written only over that state.

        Raises:
            ApiError: The server does not answer or refuses; ``status`` 409 if the state is another.
        """
        query = {"fieldManager": MANAGER, "force": "true"}
        kind, name = item["kind"], item["metadata"]["name"]
        return self._call("PATCH", kind, name, query, body=item) or {}

    def delete(self, kind: str, name: str) -> None:
        """Delete an object and what belongs to it; deleting what is not there is no error.

        Raises:
            ApiError: The server does not answer or refuses.
        """
        self._call("DELETE", kind, name, {"propagationPolicy": "Background"}, missing=True)

    def _call(
        self,
        method: str,
        kind: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        missing: bool = False,
    ) -> Json | None:
        group, plural = _GROUPS[kind]
        path = f"{self.server}/{group}/namespaces/{quote(self.namespace)}/{plural}"
        where = f"{kind} {self.namespace}/{name or '*'}"
        headers = {**self._headers, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = APPLY  # JSON is YAML
        if self._token_file.exists():
            headers["Authorization"] = f"Bearer {self._token_file.read_text('utf-8').strip()}"
        try:
            answer = requests.request(
                method,
                f"{path}/{quote(name)}" if name else path,
                params=dict(query or {}),
                data=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=self._timeout,
                verify=str(self._ca_file) if self._ca_file.exists() else True,
            )
        except requests.RequestException as err:
            raise ApiError(
                f"the API server {self.server} does not answer: {err!s:.300}",
                where=where,
                fix="see whether the server, and the network policy towards it, are as they should",
            ) from err
        content = _content(answer)
        if answer.status_code == 404 and missing and content.get("details", {}).get("name"):
            return None  # that object; without its name it is the kind that is not there
        if not answer.ok:
            told = str(content.get("message", "no reason given"))[:600]
            raise ApiError(
                f"the API server refused with {answer.status_code}: {told}",
                where=where,
                fix=_FIXES.get(answer.status_code, "see the API server's log"),
                status=answer.status_code,
            )
        return content


def _content(answer: requests.Response) -> Json:
    """The object of an answer; a path that the server does not know is answered in plain text."""
    try:
        content = answer.json()
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {"message": answer.text.strip()}
