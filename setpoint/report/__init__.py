"""Pages that a person opens in a browser: each one file, nothing fetched from outside."""

from __future__ import annotations

from setpoint.report.psi import write_psi_page
from setpoint.report.run import counted, daily_rate, write_report

__all__ = ["counted", "daily_rate", "write_psi_page", "write_report"]
