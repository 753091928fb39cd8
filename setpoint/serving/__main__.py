"""``python -m setpoint.serving``: one process, one model version."""

from __future__ import annotations

import argparse
from pathlib import Path

from setpoint.errors import SetpointError
from setpoint.serving.engine import REQUEST_SECONDS
from setpoint.serving.server import Settings, run, say

LONGEST_SECONDS = 3600


def main() -> int:
    """Serve a bundle.

    Returns:
        Exit code: 0 after an orderly stop, 1 if the service could not start.
    """
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
    parser.add_argument("--keys", type=Path, help="file of API keys; without it all may ask")
    try:
        run(Settings(**vars(parser.parse_args())))
    except SetpointError as error:
        say(str(error))
        return 1
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST_SECONDS}")
    return seconds


if __name__ == "__main__":
    raise SystemExit(main())
