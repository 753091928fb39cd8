"""Counters of a running scoring service, read from its ``/metrics``."""

from __future__ import annotations

import http.client
import urllib.request
from dataclasses import dataclass, replace

from setpoint.domain.analysis import Traffic
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
    """

    requests: int
    failed: int
    slow: int
    refused: int = 0
    started: float = 0.0

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


def read_counts(endpoint: Endpoint, timeout: float = 5.0) -> ServiceCounts:
    """Read the counters.

    Raises:
        PlatformError: The service does not answer.
    """
    from prometheus_client.parser import text_string_to_metric_families

    url = f"http://{endpoint.host}:{endpoint.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            text = answer.read().decode()
    except (OSError, http.client.HTTPException) as err:  # URLError is an OSError
        raise PlatformError(
            f"the scoring service does not answer: {err}", where=url, fix="see its log under logs/"
        ) from err
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
    return ServiceCounts(int(answered), int(failed), int(total - fast), int(refused), started)


def _scoring(labels: dict[str, str]) -> bool:
    return labels.get("route", "decisions") == "decisions"
