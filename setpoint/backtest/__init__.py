"""Play a history through the whole loop in event time, and price it against doing less.

``run`` streams it, ``log`` is what stands in for the decision log, ``figures`` reckons what it was
worth and tells it.
"""

from setpoint.backtest.figures import show_backtest
from setpoint.backtest.run import run_backtest

__all__ = ["run_backtest", "show_backtest"]
