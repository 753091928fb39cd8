"""What the service counts, in Prometheus' text format."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from setpoint.ports import Decision

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Latency buckets; 50 ms is the objective."""
SCORES = tuple(i / 20 for i in range(1, 21))
MOST_VERSIONS = 32
"""Versions that are told apart for which this one stood in."""
SHADOW = {False: "false", True: "true"}
"""Label of what was mirrored or not: objectives are for those whose answer is waited for."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one service; every sample carries the model version.

    Args:
        version: Model version.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Gauge(
            "setpoint_started_seconds",
            "When this process started, seconds since the epoch",
            registry=self._registry,
        ).set(time.time())
        self._requests = Counter(
            "setpoint_requests",
            "Requests by route and status code; only decisions are told apart by mirrored or not",
            ("version", "route", "code", "shadow"),
            registry=self._registry,
        )
        seconds = Histogram(
            "setpoint_latency_seconds",
            "Time from request to answer of decisions that were not refused",
            ("version", "shadow"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._seconds = {shadow: seconds.labels(version, told) for shadow, told in SHADOW.items()}
        self._decisions = Counter(
            "setpoint_decisions",
            "Decisions by action; a retry counts again",
            ("version", "action", "shadow"),
            registry=self._registry,
        )
        self._scores = Histogram(
            "setpoint_score",
            "Calibrated scores, without mirrored requests",
            ("version",),
            buckets=SCORES,
            registry=self._registry,
        ).labels(version)
        self._refused = Counter(
            "setpoint_refused",
            "Refused requests by the rule they broke",
            ("version", "rule"),
            registry=self._registry,
        )
        self._denied = Counter(
            "setpoint_denied",
            "Requests whose key, or the lack of one, did not allow them, by the role they need",
            ("version", "rule", "key", "needs"),
            registry=self._registry,
        )
        self._stood_in = Counter(
            "setpoint_stood_in",
            "Decisions on requests that the gateway meant for another version",
            ("version", "for_version"),
            registry=self._registry,
        )
        self._known: set[str] = set()

    def stood_in(self, version: str) -> None:
        """Count a decision on a request that was meant for another version."""
        if len(self._known) < MOST_VERSIONS:
            self._known.add(version)
        if version in self._known:  # what a client makes up must not fill the memory
            self._stood_in.labels(self._version, version).inc()

    def answered(self, route: str, code: int, seconds: float, *, shadow: bool = False) -> None:
        """Count an answer; the latency is kept of decisions that were not refused.

        Args:
            route: One of the known routes, or ``other``.
            code: HTTP status.
            seconds: Time from request to answer.
            shadow: Whether the gateway mirrored it: nobody waited for the answer.
        """
        self._requests.labels(self._version, route, str(code), SHADOW[shadow]).inc()
        if route == "decisions" and not 400 <= code < 500:
            self._seconds[shadow].observe(seconds)

    def decided(self, decision: Decision) -> None:
        """Count a decision."""
        self._decisions.labels(self._version, decision.action, SHADOW[decision.shadow]).inc()
        if not decision.shadow:
            self._scores.observe(decision.score)

    def refused(self, rule: str) -> None:
        """Count a refused request."""
        self._refused.labels(self._version, rule).inc()

    def denied(self, rule: str, key: str, needs: str) -> None:
        """Count a request that its key did not allow.

        Args:
            rule: ``key`` or ``role``.
            key: Name of the key, which is in the keys file; empty for an unknown one.
            needs: The role it lacks.
        """
        self._denied.labels(self._version, rule, key, needs).inc()

    def text(self) -> bytes:
        """All of it, as ``CONTENT_TYPE``."""
        return generate_latest(self._registry)
