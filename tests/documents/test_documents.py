"""Documents of a version: every section, every value from the record, nothing invented."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from setpoint.config import Project, load_project
from setpoint.config.documents import Documents
from setpoint.documents import publish_documents, write_documents
from setpoint.documents.ai_act import ANNEX, ARTICLES, BESIDE, ai_act_pack
from setpoint.documents.assessment import assessment_document, judge_evidence
from setpoint.documents.datasheet import SECTIONS as OF_DATA
from setpoint.documents.datasheet import datasheet
from setpoint.documents.markup import (
    NOT_SHOWN,
    Document,
    Missing,
    Part,
    Table,
    Text,
    to_html,
    to_markdown,
)
from setpoint.documents.model_card import SECTIONS as OF_MODEL
from setpoint.documents.model_card import model_card
from setpoint.documents.record import Record, link, number, read_record
from setpoint.documents.statistics import snapshot_statistics
from setpoint.documents.tier import tier_of
from setpoint.domain.ledger import link as chained
from setpoint.errors import BundleError, StateError
from setpoint.workspace import Workspace
from tests.documents.conftest import HOSTILE, Made
from tests.documents.full import passed
from tests.stages.small import T0, make_frame

NAMES = ("model-card", "datasheet", "ai-act", "security-map", "assessment")


def cells(document: Document, part: str) -> dict[str, tuple[str, ...]]:
    """Rows of all tables of a part, by their first cell."""
    blocks = next(p.blocks for p in document.parts if p.title == part)
    return {row[0]: row for b in blocks if isinstance(b, Table) for row in b.rows}


def with_documents(record: Record, **words: str) -> Record:
    """The record of a project whose file says these words and no others."""
    project: Project = record.today.model_copy(update={"documents": Documents(**words)})
    return replace(record, today=project)


def test_the_model_card_has_the_nine_sections_of_mitchell_in_order(made: Made) -> None:
    assert [part.title for part in model_card(made.record).parts] == list(OF_MODEL)
    assert len(OF_MODEL) == 9 and all(part.blocks for part in model_card(made.record).parts)


def test_the_datasheet_has_the_seven_sections_of_gebru_in_order(made: Made) -> None:
    sheet = datasheet(made.record, snapshot_statistics(made.workspace, made.record))
    assert [part.title for part in sheet.parts] == list(OF_DATA)
    assert len(OF_DATA) == 7 and all(part.blocks for part in sheet.parts)


def test_every_finding_of_the_verdict_is_in_the_card_as_it_was_found(made: Made) -> None:
    told = cells(model_card(made.record), "Quantitative Analyses")
    assert {f.label for f in made.verdict} <= set(told)
    for finding in made.verdict:
        row = told[finding.label]
        assert (row[1], row[2]) == (str(finding.outcome), number(finding.value))
        assert row[5] == f"{finding.sample:,}" and row[7] == finding.reason
        if finding.interval:
            assert row[4] == " to ".join(number(bound) for bound in finding.interval)


def test_a_finding_of_a_gate_that_nobody_knew_is_in_the_card(made: Made) -> None:
    record = made.record
    told = replace(made.verdict.findings[0], name="of_tomorrow", slice="kind=a", value=0.123)
    record.__dict__["findings"] = (told,)
    assert cells(model_card(record), "Quantitative Analyses")["of_tomorrow[kind=a]"][2] == "0.123"


def test_details_are_those_of_manifest_and_registry(made: Made) -> None:
    record, told = made.record, cells(model_card(made.record), "Model Details")
    manifest = record.bundle.manifest
    assert told["bundle digest"][1] == made.candidate.digest
    assert told["MLflow run"][1] == made.candidate.run_id
    assert told["code commit"][1] == manifest.commit
    assert told["environment digest"][1] == manifest.environment_digest
    assert told["threshold"][1] == number(record.bundle.decision.threshold)
    assert "TreeEnsembleClassifier" in told["kind of model (ONNX operators)"][1]
    metrics = cells(model_card(record), "Metrics")
    assert metrics["ranking"][1:3] == ("roc_auc", "≥ 0.6")
    assert metrics["false negative"][1] == "5"


def test_the_datasheet_counts_what_is_in_the_snapshot(made: Made) -> None:
    frame = make_frame()
    sheet = datasheet(made.record, snapshot_statistics(made.workspace, made.record))
    blocks = next(p.blocks for p in sheet.parts if p.title == "Composition")
    rows = {(r[0], r[1]): r for b in blocks if isinstance(b, Table) for r in b.rows}
    assert rows["events", "0"][2] == rows["labels", "0"][2] == "1,200"
    assert rows["events", "y"][3] == f"{frame['y'].isna().mean():.2%}"
    assert number(float(frame["x"].max())) in rows["events", "x"][4]
    assert f"a {(frame['kind'] == 'a').mean():.1%}" in rows["events", "kind"][4]
    assert rows["events", "id"][4] == "1,200 different"
    positive = int((frame["bad"] == "1").sum())
    told = cells(sheet, "Composition")["labels that are positive"][1]
    assert told == f"{positive:,} of 1,200 ({positive / 1200:.2%}), for 1,200 events"


def test_values_of_a_personal_column_are_in_no_statistic(made: Made) -> None:
    tables = snapshot_statistics(made.workspace, made.record)
    told = {c.name: c.values for t in tables for c in t.columns}
    assert told["sex"] == "personal"


@pytest.mark.parametrize("name", ["model-card", "datasheet"])
def test_what_nobody_wrote_is_shown_as_missing_until_it_is_written(made: Made, name: str) -> None:
    def written(record: Record) -> Document:
        tables = snapshot_statistics(made.workspace, record)
        return model_card(record) if name == "model-card" else datasheet(record, tables)

    empty = written(with_documents(made.record))
    assert empty.missing
    for field in empty.missing:
        note = f"Missing: write documents.{field} in the project file"
        assert note in to_markdown(empty) and note in to_html(empty)
        value = "other" if field == "use" else f"Words about {field}."
        full = written(with_documents(made.record, **{field: value}))
        assert field not in full.missing and note not in to_markdown(full)
        assert field == "use" or value in to_html(full)


def test_every_field_of_the_project_file_has_a_place(made: Made) -> None:
    tables = snapshot_statistics(made.workspace, made.record)
    for field in set(Documents.model_fields) - {"use"}:
        record = with_documents(made.record, use="other", **{field: "Words of a person."})
        made_of = (model_card(record), datasheet(record, tables), ai_act_pack(record))
        assert any("Words of a person." in to_markdown(one) for one in made_of), field


def test_blank_words_are_missing(made: Made) -> None:
    card = model_card(with_documents(made.record, intended_use=" \n"))
    assert "intended_use" in card.missing


class _Tags(HTMLParser):
    """Names and attributes of all elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_pages_fetch_nothing_and_words_are_text(made: Made, tmp_path: Path) -> None:
    files = write_documents(made.workspace, tmp_path)
    assert {f.name for f in files} == {f"{n}.{e}" for n in NAMES for e in ("md", "html")}
    assert {p.name for p in tmp_path.iterdir()} == {f.name for f in files}
    for file in tmp_path.glob("*.html"):
        text = file.read_text("utf-8")
        tags = _Tags(text)
        assert not tags.names & {"script", "link", "iframe", "object", "form"}, file.name
        assert all(v.startswith("#") for n, v in tags.attributes if n == "href")
        inside = "data:image/png;base64,"
        assert all(v.startswith(inside) for n, v in tags.attributes if n in ("src", "srcset"))
        assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;" in (tmp_path / "model-card.html").read_text("utf-8")


def test_words_are_no_markdown(made: Made) -> None:
    text = to_markdown(model_card(made.record))
    line = next(line for line in text.splitlines() if "Loans" in line)
    assert re.sub(r"\\(.)", r"\1", line) == HOSTILE
    assert not re.search(r"(?<!\\)[|<`\[]", line)
    assert "\n\\# no heading\n" in text


@pytest.mark.parametrize(
    "line", ["~~~", "=====", "```python", "-----", "- - -", "___", "=", "~~x~~"]
)
def test_a_line_of_words_is_no_fence_heading_or_rule(line: str) -> None:
    text = f"Above.\n{line}\nBelow."
    document = Document("d", "t", "a", (Part("p", (Text(text),)),))
    written = to_markdown(document).split("Above.\n")[1].split("\nBelow.")[0]
    assert written.startswith("\\") and re.sub(r"\\(.)", r"\1", written) == line
    assert not re.search(r"(?<!\\)[~`]", written)


def test_the_card_names_metrics_groups_and_slices_for_what_they_are(made: Made) -> None:
    record = made.record
    found = [replace(passed("missing_input"), slice="amount"),
             replace(passed("fairness_sex"), slice="adverse_ratio"),
             replace(passed("costs_more_in_slice"), slice="kind=a")]  # fmt: skip
    record.__dict__["findings"] = tuple(found)
    card = model_card(record)
    assert cells(card, "Metrics")["fairness"][1].startswith("equal_opportunity_ratio ≥ 0.5, groups")
    told = cells(card, "Factors")
    assert told["groups judged for fairness"][1] == "sex"
    assert told["slices judged beside the champion"][1] == "kind=a"
    assert "parts of the rows with a finding" not in told


def test_an_assessment_says_which_version_it_is_of_beside_documents_of_another() -> None:
    found = replace(judge_evidence(None), about="v2")
    told = assessment_document("small", found, "v1")
    assert told.title == "Assessment: small v2"
    assert "the documents beside it are about v1" in told.about
    assert "beside it" not in assessment_document("small", found, "v2").about


def test_a_table_of_markdown_has_as_many_cells_in_each_row(made: Made) -> None:
    for document in (model_card(made.record), ai_act_pack(made.record)):
        rows = [x for x in to_markdown(document).split("\n\n") if x.startswith("| ")]
        assert rows
        for block in rows:
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
            assert len(counts) == 1, block


def test_a_version_gets_card_and_sheet_as_artifacts_of_its_run(made: Made) -> None:
    registry, version = made.workspace.registry, made.candidate.version
    for _ in range(2):
        publish_documents(made.workspace, version)
        kept = registry.attached(version, "documents")
        assert kept == [f"documents/{n}.{e}" for n in ("datasheet", "model-card")
                        for e in ("html", "md")]  # fmt: skip
    text = registry.read_attached(version, "documents/model-card.md").decode()
    assert made.candidate.digest in text and link(made.workspace.state.ledger()[0]) in text
    shown = cells(ai_act_pack(made.record), "Articles 9 to 15, 17, 19, 72")
    assert "model-card.html" in shown["Art. 11(1)"][2]


def test_the_pack_has_all_articles_and_the_nine_points() -> None:
    articles = {re.match(r"Art\. (\d+)", duty.point)[1] for duty in ARTICLES}  # type: ignore[index]
    assert articles == {"9", "10", "11", "12", "13", "14", "15", "17", "19", "72"}
    assert [duty.point for duty in ANNEX] == [f"Annex IV {i}" for i in range(1, 10)]


def test_a_duty_without_evidence_is_not_shown_and_one_with_it_names_entry_and_digest(
    made: Made,
) -> None:
    pack = ai_act_pack(made.record)
    annex = cells(pack, "Technical documentation: Annex IV")
    assert annex["Annex IV 8"][2:] == (NOT_SHOWN, "")
    entry = made.record.verdict_entry
    assert entry is not None
    tested = cells(pack, "Articles 9 to 15, 17, 19, 72")["Art. 9(6)-(8)"]
    assert f"#{entry.seq} {entry.digest[:16]}" in tested[3]
    words = {"declaration": "In the register."}
    shown = cells(ai_act_pack(with_documents(made.record, **words)), pack.parts[2].title)
    assert shown["Annex IV 8"][2:] == (
        "1. In the register.",
        "1. documents.declaration of today's project file",
    )


ARTICLES_OF = "Articles 9 to 15, 17, 19, 72"
ANNEX_OF = "Technical documentation: Annex IV"


def with_entry(record: Record, kind: str, **evidence: str) -> Record:
    """The record with one more entry in its ledger."""
    entry = chained(record.entries[-1], T0.isoformat(), kind, record.subject, evidence)
    return replace(record, entries=(*record.entries, entry))


def test_the_policy_oversees_nothing(made: Made) -> None:
    written = with_documents(made.record, oversight="The team does.")
    record = with_entry(written, "approved", by="policy")
    told = cells(ai_act_pack(record), ARTICLES_OF)["Art. 14(1)-(4)"][2]
    assert told.startswith(f"{NOT_SHOWN}\n{BESIDE}\n1. The team does.") and "×" not in told
    assert "override a decision" in told and "approved by: the policy, no person" in told


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [("approved", {"by": "ada"}), ("stopped", {"person": "ada"}), ("overridden", {"person": "ada"}),
     ("release_answered", {"person": "ada"}), ("incident_resolved", {"person": "ada"})],
)  # fmt: skip
def test_an_act_of_a_person_shows_oversight(
    made: Made, kind: str, evidence: dict[str, str]
) -> None:
    told = cells(ai_act_pack(with_entry(made.record, kind, **evidence)), ARTICLES_OF)
    words = kind.replace("_", " ")
    assert told["Art. 14(1)-(4)"][2].startswith(f"1. 1 × {words} by a person, last of small/v1")


@pytest.mark.parametrize(
    ("part", "point", "field"),
    [(ARTICLES_OF, "Art. 9(1)-(2)", "risk_management"), (ANNEX_OF, "Annex IV 5", "risk_management"),
     (ARTICLES_OF, "Art. 17(1)", "quality_management")],
)  # fmt: skip
def test_a_system_of_people_is_shown_by_words_alone(
    made: Made, part: str, point: str, field: str
) -> None:
    told = cells(ai_act_pack(made.record), part)[point]
    assert told[2].startswith(f"{NOT_SHOWN}\n{BESIDE}\n1. ") and told[3]
    words = with_documents(made.record, **{field: "In the handbook."})
    assert cells(ai_act_pack(words), part)[point][2].startswith("1. In the handbook.")
    assert "class=lone>not shown<br>" in to_html(ai_act_pack(made.record))


def test_what_no_window_could_measure_shows_nothing(made: Made) -> None:
    assert made.record.windows == ()
    text = to_markdown(ai_act_pack(made.record))
    assert "windows that end" not in text


def test_credit_is_high_risk_and_fraud_is_excepted(made: Made) -> None:
    credit, fraud = tier_of("credit_scoring"), tier_of("fraud_detection")
    assert credit is not None and credit.high and fraud is not None and not fraud.high
    assert tier_of(None) is None
    undeclared = ai_act_pack(with_documents(made.record))
    assert undeclared.parts[0].blocks == (Missing("use"),)
    assert "excepted" in to_html(ai_act_pack(made.record))


def test_no_date_of_application_is_printed(made: Made) -> None:
    text = to_markdown(ai_act_pack(made.record))
    assert not re.search(r"\b2 August\b|\b202[4-9]-08-02\b", text)


def edited(workspace: Workspace, folder: Path, *changes: tuple[str, str]) -> Workspace:
    """The same workspace whose project file was edited after the training."""
    text = workspace.project_file.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = folder / "edited.yaml"
    file.write_text(text, "utf-8")
    return replace(workspace, project=load_project(file), project_file=file)


def test_a_version_is_documented_by_the_project_file_that_it_was_trained_with(
    made: Made, tmp_path: Path
) -> None:
    changes = (("floor: 0.6", "floor: 0.9"), ("false_negative: 5", "false_negative: 50"))
    later = edited(made.workspace, tmp_path, *changes, ("# no heading", "Since then."))
    record = read_record(later, made.candidate.version)
    card = model_card(record)
    told = cells(card, "Metrics")
    assert told["ranking"][2] == "≥ 0.6" and told["false negative"][1] == "5"
    assert "today's differs in costs.false_negative.fixed, setpoints.ranking.floor." in card.about
    assert "Since then." in to_markdown(card)
    assert "documents in today's project file" in card.about
    shown = cells(ai_act_pack(record), ARTICLES_OF)["Art. 15(1)-(3)"]
    assert "≥ 0.6" in shown[2] and "setpoints of the project file of its training" in shown[3]
    assert "as today's still has it" in model_card(made.record).about


def test_a_column_that_is_marked_personal_after_the_training_is_hidden(
    made: Made, tmp_path: Path
) -> None:
    later = edited(made.workspace, tmp_path,
                   ("kind: {type: category", "kind: {personal: true, type: category"))  # fmt: skip
    record = read_record(later, made.candidate.version)
    told = {c.name: c.values for t in snapshot_statistics(later, record) for c in t.columns}
    assert told["kind"] == told["sex"] == "personal"


def test_a_training_whose_project_file_cannot_be_read_says_so(made: Made, tmp_path: Path) -> None:
    registry, version = made.workspace.registry, made.candidate.version
    (path,) = registry.attached(version, "project")
    whole, file = registry.read_attached(version, path), tmp_path / Path(path).name
    try:
        file.write_bytes(b"version: 1\n")
        registry.attach(version, "project", [file])
        record = made.record
    finally:
        file.write_bytes(whole)
        registry.attach(version, "project", [file])
    assert "The project file of its training cannot be read" in model_card(record).about
    assert not made.record.unread


def test_an_altered_bundle_gets_no_documents(made: Made, tmp_path: Path) -> None:
    model = made.workspace.bundle(made.candidate.version) / "decision.json"
    whole = model.read_bytes()
    try:
        model.write_bytes(whole.replace(b"review", b"reject"))
        with pytest.raises(BundleError, match=r"decision\.json was altered"):
            write_documents(made.workspace, tmp_path)
    finally:
        model.write_bytes(whole)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_was_not_registered_gets_no_documents(made: Made, tmp_path: Path) -> None:
    registry, version = made.workspace.registry, made.candidate.version
    registry.tag(version, "bundle_digest", "0" * 64)
    try:
        with pytest.raises(BundleError, match="another bundle's"):
            write_documents(made.workspace, tmp_path)
    finally:
        registry.tag(version, "bundle_digest", made.candidate.digest)


def test_an_unknown_version_is_refused_with_those_that_there_are(
    made: Made, tmp_path: Path
) -> None:
    with pytest.raises(StateError, match="there is no version v9") as err:
        write_documents(made.workspace, tmp_path, "v9")
    assert "name one of v1" in str(err.value)
