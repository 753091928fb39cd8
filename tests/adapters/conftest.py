"""Fixtures of the adapter tests."""

from tests.adapters.decision_homes import home as home
from tests.adapters.decision_homes import log as log
from tests.adapters.postgres import postgres as postgres
from tests.adapters.s3 import s3_server as s3_server
