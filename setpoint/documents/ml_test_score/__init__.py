"""The 28 tests of Breck et al. 2017, "The ML Test Score", each read off the evidence.

A test that ran by itself in the last runs and held gives 1; one that a person did, or that held in
part, 0.5; all else 0: a declaration alone gives nothing, and neither does a finding that failed.
One does not have to hold: that inputs moved, the paper wants seen and told.
"""

from __future__ import annotations

from setpoint.documents.ml_test_score.data import DATA
from setpoint.documents.ml_test_score.infrastructure import INFRASTRUCTURE
from setpoint.documents.ml_test_score.model import MODEL
from setpoint.documents.ml_test_score.monitoring import MONITORING
from setpoint.documents.ml_test_score.shown import Shown, TestCase

SECTIONS = {
    "data": DATA,
    "model": MODEL,
    "infrastructure": INFRASTRUCTURE,
    "monitoring": MONITORING,
}
"""Seven tests each."""
__all__ = ["SECTIONS", "Shown", "TestCase"]
