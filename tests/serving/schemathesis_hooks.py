"""What Schemathesis cannot know from a schema: the years that a time may have."""

from __future__ import annotations

from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies as st

MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2198, 12, 31), timezones=st.just(UTC))

schemathesis.openapi.format("date-time", MOMENTS.map(datetime.isoformat))
