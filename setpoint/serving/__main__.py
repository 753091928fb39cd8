"""``python -m setpoint.serving``: one process, one model version."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from setpoint.errors import PlatformError, SetpointError
from setpoint.serving.engine import REQUEST_SECONDS
from setpoint.serving.log import ServiceLog
from setpoint.serving.server import RESERVE_MEGABYTES, Settings, run

LONGEST_SECONDS = 3600
# read here too, as setpoint.config would bring all of its own dependencies along
DECISIONS = "SETPOINT_DECISIONS"
KEYS = "SETPOINT_KEYS"
TRUSTED = "SETPOINT_TRUSTED"


def main() -> int:
    """Serve a bundle.

    Returns:
        Exit code: 0 after an orderly stop, 1 if the service could not start.
    """
    flags = vars(_parser().parse_args())
    log = ServiceLog(flags["version"])
    try:
        run(Settings(**{**flags, "log": _log_address(flags["log"])}), log)
    except SetpointError as error:
        log.say("error", "not_started", error=type(error).__name__, message=str(error))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m setpoint.serving", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--store", type=Path, required=True, help="SQLite file, made if missing")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", default="", help="version answered; default: the manifest's")
    parser.add_argument("--digest", default="", help="digest that the bundle must have")
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    parser.add_argument("--busy-milliseconds", type=int, default=1000)
    parser.add_argument(
        "--request-seconds",
        type=_seconds,
        default=REQUEST_SECONDS,
        help="how long a request may wait for its turn before it is answered 503",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        default=os.environ.get(KEYS) or None,
        help=f"file of API keys; default: {KEYS}; without either all may ask",
    )
    parser.add_argument(
        "--trusted",
        type=Path,
        default=os.environ.get(TRUSTED) or None,
        help="folder of public keys, one of which must have signed the bundle; default: "
        f"{TRUSTED}; without either only its digest is checked",
    )
    parser.add_argument(
        "--reserve-megabytes",
        type=int,
        default=RESERVE_MEGABYTES,
        help="disk space kept back, so that a full disk costs nobody an answer at once; 0: none",
    )
    parser.add_argument(
        "--log",
        help=f"PostgreSQL that takes the decisions, without password; default: {DECISIONS}; "
        "without either they are in the store",
    )
    return parser


def _log_address(flag: str | None) -> str:
    """The address of the decision log; its password is never a flag, which all could read.

    Raises:
        StateError: It is not one of PostgreSQL.
        PlatformError: The flag has a password.
    """
    known = os.environ.get(DECISIONS, "")
    if not flag:
        return known
    from setpoint.adapters.postgres_link import without_password

    if without_password(flag) != flag:
        raise PlatformError(
            "the address has a password, which every user of this machine can read there",
            where="--log",
            fix=f"leave it out, and give the whole address as {DECISIONS}, or set PGPASSWORD",
        )
    return known if known and without_password(known) == flag else flag


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST_SECONDS}")
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
