"""Notifications through Apprise: webhook, Slack, e-mail and a hundred services more, by one URL.

The URL holds a secret. Apprise and the HTTP client under it write parts of URLs to their logs, so
what they log while something is sent is dropped, and no error says more than the channel's name.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from setpoint.errors import NotificationError

LOGGERS = ("apprise", "urllib3.connectionpool", "httpx")
"""Who logs parts of a URL."""


def send(channel: str, url: str, title: str, body: str) -> None:
    """Send one notification.

    Args:
        channel: Its name in the project file.
        url: An Apprise URL.
        title: One line.
        body: Plain text.

    Raises:
        NotificationError: The URL is none that Apprise knows, or the other side did not take it.
    """
    from apprise import Apprise, AppriseAsset, NotifyFormat

    asset = AppriseAsset(app_id="Setpoint", app_desc="Setpoint", async_mode=False)
    with quiet():
        # not Apprise.add, which would split the URL at its commas
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise NotificationError(
                "its address is no Apprise URL",
                where=f"notify.channels.{channel}",
                fix="set the variable to one, e.g. json://HOST or mailto://HOST?to=ADDRESS",
            )
        apprise = Apprise(asset=asset)
        apprise.add(service)
        taken = apprise.notify(body=body, title=title, body_format=NotifyFormat.TEXT)
    if not taken:
        raise not_taken(channel)


def not_taken(channel: str) -> NotificationError:
    """The error of a channel that is there and takes nothing."""
    return NotificationError(
        "it did not take the notification",
        where=f"notify.channels.{channel}",
        fix="see whether its address still holds and is reached; the next sweep tells it again",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what this thread logs through libraries that log parts of URLs."""
    thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread

    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)
