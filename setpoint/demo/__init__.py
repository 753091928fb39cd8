"""The main job: the card world through the whole loop, with a drift that it has to heal.

``script`` says what is played and writes the world's history. ``player`` plays the bank: payments
to the gateway in accelerated event time, events and late labels to where the project file says
the data are. ``observer`` tells what the loop does about it, ``summary`` reckons what it was
worth, ``show`` prints it, ``run`` does all of it in order.
"""

from setpoint.demo.run import first_champion, run_demo
from setpoint.demo.script import Script, prepare
from setpoint.demo.show import show_summary

__all__ = ["Script", "first_champion", "prepare", "run_demo", "show_summary"]
