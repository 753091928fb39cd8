"""The command line: ``setpoint COMMAND``."""

from __future__ import annotations

import sys

from rich.console import Console

# each registers its commands, in the order in which help lists them
from setpoint.cli import (  # noqa: F401
    account,
    data,
    documents,
    incidents,
    keys,
    oversight,
    platform,
    psi,
    record,
    supply,
)
from setpoint.cli.common import app
from setpoint.errors import SetpointError

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: errors that are meant for people are shown without a trace."""
    try:
        app()
    except SetpointError as err:
        # Never wrapped: paths and commands in it can be copied.
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(f"[red]error[/red] {type(err).__name__}")
        errors.print(str(err), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
