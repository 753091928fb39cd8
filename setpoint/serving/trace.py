"""The id that a request is known by beyond this service: W3C Trace Context, else a request id."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

LONGEST_ID = 200

_FIELDS = "(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(f"00-{_FIELDS}|(?!00|ff)[0-9a-f]{{2}}-{_FIELDS}(?:-[ -~]*)?")
_VERSION_0 = 55
_REQUEST_ID = re.compile(f"[!-~]{{1,{LONGEST_ID}}}")


class Trace(NamedTuple):
    """What is logged of a request and answered to it.

    Attributes:
        id: The trace id of ``traceparent``, else the request id.
        headers: Answered: ``x-request-id``, and ``traceparent`` where one was sent.
    """

    id: str
    headers: list[tuple[str, str]]


def trace_of(traceparent: str | None, request_id: str | None) -> Trace:
    """The trace of a request. What is malformed counts as not sent.

    This service starts no span of its own, so the sender's ``traceparent`` is passed on as it
    is, in the form of version 00.

    Args:
        traceparent: Header ``traceparent``.
        request_id: Header ``x-request-id``: 1 to 200 printable ASCII characters without spaces.
    """
    if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
        request_id = None
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if traceparent is not None and found is not None:
        trace_id: str = found[1] or found[2]
        parent = f"00{traceparent[2:_VERSION_0]}"
        return Trace(trace_id, [("x-request-id", request_id or trace_id), ("traceparent", parent)])
    known = request_id or f"{random.getrandbits(128) or 1:032x}"
    return Trace(known, [("x-request-id", known)])
