"""Our service without a durable decision log, to see what the log costs. Not a product.

``python -m benchmarks.peers.no_log`` takes the options of ``python -m setpoint.serving``. The
decision log keeps nothing and finds nothing. Online features are looked up and kept as ever; give
``--durability normal``, so that nothing waits for the disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from setpoint.adapters.sqlite_decisions import SqliteDecisionLog
from setpoint.ports import Decision
from setpoint.serving import __main__ as service


def _keep_nothing(log: SqliteDecisionLog, decisions: Sequence[Decision]) -> None:
    return None


def _find_nothing(log: SqliteDecisionLog, ids: Iterable[str]) -> dict[str, Decision]:
    return {}


def main() -> int:
    """Serve a bundle; the exit code is the service's."""
    # On the class, not a subclass: the service makes its log itself and has no switch for this.
    SqliteDecisionLog.append = _keep_nothing  # type: ignore[method-assign, assignment]
    SqliteDecisionLog.find = _find_nothing  # type: ignore[method-assign, assignment]
    return service.main()


if __name__ == "__main__":
    raise SystemExit(main())
