"""The project file ``setpoint.yaml``, typed; and the environment.

``project`` is the file as a whole. Its sections are in ``data``, ``features``, ``decisions``,
``policies`` and ``notify``, the types of their fields in ``fields``. ``reader`` reads the YAML;
``environment`` reads the environment, and is the only module that does.
"""

from setpoint.config.access import Access
from setpoint.config.data import Column, Data, Target
from setpoint.config.decisions import Actions, CostCell, Costs
from setpoint.config.environment import (
    Environment,
    clean_variables,
    read_address,
    read_environment,
    read_login,
)
from setpoint.config.features import Features, Risk, Window
from setpoint.config.fields import parse_duration
from setpoint.config.gates import Explainability, Fairness, Gates
from setpoint.config.notify import Channel, Notify
from setpoint.config.policies import Bands, Package, Release, Respond, Setpoint, Train, Watch
from setpoint.config.project import Owner, Project, json_schema
from setpoint.config.reader import load_project, parse_project, read_project

__all__ = [
    "Access",
    "Actions",
    "Bands",
    "Channel",
    "Column",
    "CostCell",
    "Costs",
    "Data",
    "Environment",
    "Explainability",
    "Fairness",
    "Features",
    "Gates",
    "Notify",
    "Owner",
    "Package",
    "Project",
    "Release",
    "Respond",
    "Risk",
    "Setpoint",
    "Target",
    "Train",
    "Watch",
    "Window",
    "clean_variables",
    "json_schema",
    "load_project",
    "parse_duration",
    "parse_project",
    "read_address",
    "read_environment",
    "read_login",
    "read_project",
]
