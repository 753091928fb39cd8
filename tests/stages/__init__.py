"""Tests of the stages: real stores, small data."""
