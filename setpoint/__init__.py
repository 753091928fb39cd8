"""Setpoint keeps a tabular decision model at its setpoint.

Layers, arrows down: ``deployments → flows → tasks → setpoint.adapters → setpoint.ports |
setpoint.config → setpoint.domain``. ``setpoint.serving`` stands beside ``tasks``. Nothing in
this package imports Prefect; the command line starts it as a program.
"""

__version__ = "0.1.0"
