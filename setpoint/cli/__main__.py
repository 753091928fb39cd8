"""``python -m setpoint.cli``."""

from setpoint.cli import main

main()
