"""Fixtures of the adapter tests."""

from tests.adapters.s3 import s3_server as s3_server
