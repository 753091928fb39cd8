"""Tell people of incidents."""

from __future__ import annotations

import asyncio
from inspect import iscoroutine

from prefect import task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE

from setpoint.adapters.notify import not_taken, quiet
from setpoint.errors import NotificationError
from setpoint.stages import notify as stage
from setpoint.workspace import WallClock, Workspace


@task(name="notify", cache_policy=NO_CACHE)
def notify(workspace: Workspace) -> None:
    """Tell what is due, each channel once; what one does not take is told by the next sweep."""
    stage.tell(workspace, WallClock(), send_through_block)


def send_through_block(channel: str, block: str, title: str, body: str) -> None:
    """Send one notification through a block that Prefect keeps.

    Args:
        channel: Its name in the project file.
        block: Type and name of the block, e.g. ``slack-webhook/oncall``.
        title: One line.
        body: Plain text.

    Raises:
        NotificationError: There is no such block, it is none for notifications, or it failed.
    """
    where = f"notify.channels.{channel}"
    try:
        found = Block.load(block)
    except Exception:  # what is wrong with a block may quote it, and a block holds secrets
        found = None
    if not isinstance(found, NotificationBlock):
        raise NotificationError(
            f"Prefect has no notification block {block}",
            where=where,
            fix="make it in the Prefect UI under Blocks, or name another one",
        )
    try:
        with quiet(), found.raise_on_failure():
            sent = found.notify(body=body, subject=title)
            if iscoroutine(sent):  # a block of another maker may have no other form
                asyncio.run(sent)
    except Exception:  # whatever it is may hold the address: only the channel is named
        failed = True
    else:
        failed = False
    if failed:  # outside the handler, so that no trace shows what was caught
        raise not_taken(channel)
