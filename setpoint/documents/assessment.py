"""How far the loop has come: the ML Test Score and the MLOps maturity level, from evidence."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.documents.evidence import Evidence, read_evidence
from setpoint.documents.levels import LEVELS, Level
from setpoint.documents.markup import Block, Document, Part, Table, Text
from setpoint.documents.ml_test_score import SECTIONS, Shown, TestCase
from setpoint.errors import BundleError, StateError
from setpoint.workspace import Workspace


@dataclass(frozen=True)
class Scored:
    """One of the 28 tests.

    Attributes:
        name: As the paper has it.
        points: 0, 0.5 (by hand) or 1 (automated).
        evidence: What shows it; empty for nothing.
        missing: What would show it as automated.
    """

    name: str
    points: float
    evidence: str
    missing: str


@dataclass(frozen=True)
class Assessment:
    """What the last runs left as evidence.

    Attributes:
        sections: The tests by section: data, model, infrastructure, monitoring.
        level: The maturity level that is reached.
        reached: What shows each level, lowest first.
        next: What is missing for the next level.
        about: The version it is about; empty where there is none.
    """

    sections: dict[str, tuple[Scored, ...]]
    level: Level
    reached: tuple[str, ...]
    next: tuple[str, ...]
    about: str

    @property
    def sums(self) -> dict[str, float]:
        """Points by section."""
        return {name: sum(t.points for t in tests) for name, tests in self.sections.items()}

    @property
    def score(self) -> float:
        """The ML Test Score: the least of the sections' sums, as in Breck et al. 2017."""
        return min(self.sums.values())

    @property
    def points(self) -> float:
        """Points of all tests together."""
        return sum(self.sums.values())

    @property
    def most(self) -> int:
        """How many tests there are."""
        return sum(len(tests) for tests in self.sections.values())

    @property
    def passing(self) -> int:
        """Tests that are automated."""
        return sum(t.points == 1 for tests in self.sections.values() for t in tests)


def assess(workspace: Workspace) -> Assessment:
    """Look at registry, ledger, windows, snapshots and decisions; declarations count for nothing.

    Raises:
        DataError: What is stored cannot be read.
    """
    fault = "there is no model version yet"
    try:
        evidence = read_evidence(workspace)
    except (BundleError, StateError) as err:
        evidence, fault = None, f"{err.where}: {err.what}"
    return judge_evidence(evidence, fault)


def judge_evidence(evidence: Evidence | None, fault: str = "") -> Assessment:
    """The assessment of what was left.

    Args:
        evidence: What was left; ``None`` for nothing.
        fault: Why there is none.
    """
    sections = {
        name: tuple(_scored(test, evidence, fault) for test in tests)
        for name, tests in SECTIONS.items()
    }
    reached: list[str] = []
    missing: tuple[str, ...] = (fault,)
    level = LEVELS[0]
    for higher in LEVELS[1:]:
        if evidence is None:
            break
        shown, missing = higher.look(evidence)
        if missing:
            break
        level, reached = higher, [*reached, f"{higher.number} {higher.name}: {'; '.join(shown)}"]
    about = "" if evidence is None else evidence.record.version
    return Assessment(sections, level, tuple(reached), missing, about)


def _scored(test: TestCase, evidence: Evidence | None, fault: str) -> Scored:
    shown = Shown(0.0, "") if evidence is None else test.look(evidence)
    missing = "" if shown.points == 1 else (fault if evidence is None else test.missing)
    if shown.fault:
        missing = f"{shown.fault}; asked for: {test.missing}"
    return Scored(test.name, shown.points, shown.evidence, missing)


def assessment_document(name: str, found: Assessment, beside: str = "") -> Document:
    """The assessment as a document.

    Args:
        name: Of the project.
        found: What was found.
        beside: Version that the documents beside it are about; it is said if it is another one.
    """
    sums = ", ".join(f"{section} {points:g}" for section, points in found.sums.items())
    level: list[Block] = [Text(f"Level {found.level.number}: {found.level.name}.")]
    level += [Text(line) for line in found.reached]
    level += [Text(f"For the next level: {line}") for line in found.next]
    head = (
        Text(
            f"{found.score:g}: the least of {sums}. {found.points:g} points of {found.most}, "
            f"{found.passing} tests automated."
        ),
    )
    parts = (
        Part("MLOps maturity level", tuple(level)),
        Part("ML Test Score", head),
        *(
            Part(f"Tests of {section}", (_table(tests),))
            for section, tests in found.sections.items()
        ),
    )
    about = f"From what the last runs left; version {found.about or 'none'}."
    if beside and beside != found.about:
        about += f" It is of the loop as it stands; the documents beside it are about {beside}."
    title = f"Assessment: {name} {found.about}".rstrip()
    return Document("assessment", title, about, parts)


def _table(tests: tuple[Scored, ...]) -> Table:
    rows = tuple((f"{t.points:g}", t.name, t.evidence, t.missing) for t in tests)
    return Table(("points", "test", "evidence", "missing"), rows)
