"""Counters of a running scoring service, read from its ``/metrics``."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from setpoint.config import read_environment
from setpoint.domain.analysis import Traffic
from setpoint.domain.refusals import Counts, Denied
from setpoint.errors import PlatformError
from setpoint.ports import Endpoint

SLOW = "0.05"
"""Upper edge, seconds, of the latency bucket that counts as fast."""


@dataclass(frozen=True)
class ServiceCounts:
    """Scoring requests that a process of the service answered since it started.

    Attributes:
        requests: All that were not refused for bad input.
        failed: Answered with 5xx.
        slow: Slower than 50 ms.
        refused: Refused for bad input, 4xx.
        started: When the process started, seconds since the epoch.
        stood_in: Requests that were meant for another version and answered here, by version.
    """

    requests: int
    failed: int
    slow: int
    refused: int = 0
    started: float = 0.0
    stood_in: Mapping[str, int] = field(default_factory=dict)

    def stood_in_since(self, before: ServiceCounts, version: str) -> int:
        """Requests meant for ``version`` that were answered here since ``before``."""
        known = 0 if self.started != before.started else before.stood_in.get(version, 0)
        return self.stood_in.get(version, 0) - known

    @property
    def total(self) -> Traffic:
        """All that happened since the process started."""
        return Traffic(self.requests, self.failed, self.slow, self.refused, restarted=False)

    def since(self, before: ServiceCounts) -> Traffic:
        """What happened since ``before``; a restarted service counts from 0 again."""
        if self.started != before.started:
            return replace(self.total, restarted=True)
        return Traffic(
            self.requests - before.requests,
            self.failed - before.failed,
            self.slow - before.slow,
            self.refused - before.refused,
            restarted=False,
        )


def read_counts(
    endpoint: Endpoint, timeout: float = 5.0, api_key: str | None = None
) -> ServiceCounts:
    """Read the counters.

    Args:
        endpoint: Of the service.
        timeout: Seconds to wait.
        api_key: A key with the role admin; ``SETPOINT_API_KEY`` if ``None``, none if empty.

    Raises:
        PlatformError: The service does not answer, or not to this key.
    """
    from prometheus_client.parser import text_string_to_metric_families

    text = _read(endpoint, timeout, api_key)
    stood_in: dict[str, int] = {}
    answered = failed = refused = fast = total = started = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "setpoint_requests_total" and _scoring(sample.labels):
                code = sample.labels.get("code", "")
                answered += sample.value if code[:1] in "25" else 0
                failed += sample.value if code[:1] == "5" else 0
                refused += sample.value if code[:1] == "4" else 0
            elif sample.name == "setpoint_latency_seconds_bucket":
                fast += sample.value if sample.labels.get("le") == SLOW else 0
            elif sample.name == "setpoint_latency_seconds_count":
                total += sample.value
            elif sample.name == "setpoint_started_seconds":
                started = sample.value
            elif sample.name == "setpoint_stood_in_total":
                stood_in[sample.labels["for_version"]] = int(sample.value)
    slow = int(total - fast)
    return ServiceCounts(int(answered), int(failed), slow, int(refused), started, stood_in)


def read_denied(
    endpoint: Endpoint, timeout: float = 5.0, api_key: str | None = None
) -> tuple[float, Counts]:
    """What a process refused for its key, and when it started, seconds since the epoch.

    Args:
        endpoint: Of the service.
        timeout: Seconds to wait.
        api_key: As for ``read_counts``.

    Raises:
        PlatformError: As for ``read_counts``.
    """
    from prometheus_client.parser import text_string_to_metric_families

    started, denied = 0.0, {}
    for family in text_string_to_metric_families(_read(endpoint, timeout, api_key)):
        for sample in family.samples:
            if sample.name == "setpoint_started_seconds":
                started = sample.value
            elif sample.name == "setpoint_denied_total":
                told = sample.labels
                kind = Denied(told["version"], told["rule"], told["key"], told["needs"])
                denied[kind] = int(sample.value)
    return started, denied


def _read(endpoint: Endpoint, timeout: float, api_key: str | None) -> str:
    url = f"http://{endpoint.host}:{endpoint.port}/metrics"
    try:
        key = read_environment().api_key if api_key is None else api_key
        request = urllib.request.Request(url, headers=bearer(key))
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as err:
        fix = "see its log under logs/"
        if err.code in (401, 403):
            fix = "set SETPOINT_API_KEY to a key of its keys file with the role admin"
        raise PlatformError(f"the scoring service answered {err}", where=url, fix=fix) from err
    except (OSError, http.client.HTTPException) as err:  # URLError is an OSError
        raise PlatformError(
            f"the scoring service does not answer: {err}", where=url, fix="see its log under logs/"
        ) from err


def bearer(api_key: str) -> dict[str, str]:
    """The header that a key is sent in; none without a key."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _scoring(labels: dict[str, str]) -> bool:
    return labels.get("route", "decisions") == "decisions"
