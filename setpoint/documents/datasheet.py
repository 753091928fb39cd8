"""The datasheet: the seven sections of Gebru et al. 2021, "Datasheets for Datasets"."""

from __future__ import annotations

from collections.abc import Sequence

from setpoint.documents.markup import Block, Document, Part, Text, facts, table
from setpoint.documents.record import Record, link, number
from setpoint.documents.statistics import TableStatistics, rows_of
from setpoint.documents.words import written
from setpoint.domain.features import duration_label

SECTIONS = (
    "Motivation",
    "Composition",
    "Collection Process",
    "Preprocessing/cleaning/labeling",
    "Uses",
    "Distribution",
    "Maintenance",
)
"""Section 3 of the paper, in its order."""


def datasheet(record: Record, tables: Sequence[TableStatistics]) -> Document:
    """The datasheet of the snapshot that a version was trained on."""
    made = (
        _motivation(record),
        _composition(record, tables),
        _collection(record, tables),
        _preprocessing(record),
        _uses(record),
        _distribution(record, tables),
        _maintenance(record, tables),
    )
    parts = tuple(Part(title, tuple(blocks)) for title, blocks in zip(SECTIONS, made, strict=True))
    digest = record.bundle.manifest.snapshot.digest
    title = f"Datasheet: training data of {record.project.name} {record.version}"
    about = f"Snapshot {digest}. Made of the record up to {record.head}. {record.declared}"
    return Document("datasheet", title, about, parts)


def _motivation(record: Record) -> list[Block]:
    project = record.project
    return [
        written(record, "motivation"),
        facts((("used for", project.description), ("by", project.owner.team))),
    ]


def _composition(record: Record, tables: Sequence[TableStatistics]) -> list[Block]:
    data, target = record.project.data, record.project.target
    return [
        table(
            ("table", "version", "rows", "content digest"),
            [(t.name, str(t.snapshot.version), f"{t.snapshot.rows:,}", t.snapshot.digest)
             for t in tables],
            "",
        ),
        table(("table", "column", "kind", "missing", "values"), rows_of(tables), ""),
        facts(
            (
                ("label", f"{target.column} = {target.positive}"),
                ("labels that are positive", _positive(tables)),
                ("columns that name a person", ", ".join(sorted(record.personal))),
                ("protected columns", ", ".join(data.protected)),
                ("entities", ", ".join(f"{n} by {c}" for n, c in data.entities.items())),
            )
        ),
    ]  # fmt: skip


def _positive(tables: Sequence[TableStatistics]) -> str:
    found = next((t.positives for t in tables if t.positives is not None), None)
    if found is None or not found[1]:
        return ""
    events = next(t.snapshot.rows for t in tables if t.positives is None)
    return f"{found[0]:,} of {found[1]:,} ({found[0] / found[1]:.2%}), for {events:,} events"


def _collection(record: Record, tables: Sequence[TableStatistics]) -> list[Block]:
    data, target = record.project.data, record.project.target
    return [
        written(record, "collection"),
        facts(
            (
                ("events come from", ", ".join(data.events)),
                ("labels come from", ", ".join(data.labels) or "the events"),
                ("labels are complete after", duration_label(int(target.delay.total_seconds()))),
                ("rows explored by lot", number(record.project.exploration.share)),
            )
        ),
        table(
            ("table", "batches", "first", "last"),
            [(t.name, f"{len(t.snapshot.batches):,}", t.snapshot.batches[0], t.snapshot.batches[-1])
             for t in tables if t.snapshot.batches],
            "No batch is named.",
        ),
    ]  # fmt: skip


def _preprocessing(record: Record) -> list[Block]:
    project = record.project
    unlabelled = project.target.unlabelled
    return [
        written(record, "labelling"),
        table(("column", "must be", "null allowed", "largest share of nulls"), _rules(record), ""),
        facts(
            (
                ("an old row without a label counts as", unlabelled),
                ("time zone of times without one", project.data.time_zone or ""),
                ("columns left out", ", ".join(project.data.ignore)),
                ("batches in quarantine", f"{record.quarantined:,}"),
                ("inputs made of it", ", ".join(record.bundle.features.names)),
            )
        ),
    ]


def _rules(record: Record) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, column in record.project.data.columns.items():
        low, high = number(column.min), number(column.max)
        bounds = f", {low} to {high}" if low or high else ""
        allowed = f", one of {', '.join(column.values)}" if column.values else ""
        share = number(column.max_null_share) if column.nullable else ""
        rows.append((name, f"{column.type}{bounds}{allowed}", str(column.nullable).lower(), share))
    return rows


def _uses(record: Record) -> list[Block]:
    scored = record.of("scored")
    return [
        written(record, "intended_use", "Trains a model for: {}"),
        written(record, "out_of_scope", "Out of scope: {}"),
        facts(
            (
                ("trained on it", f"{record.subject}, MLflow run {record.run.id}"),
                ("judged on it", link(record.verdict_entry) if record.verdict_entry else ""),
                ("tables scored offline by its models", f"{len(scored):,}" if scored else ""),
            )
        ),
    ]


def _distribution(record: Record, tables: Sequence[TableStatistics]) -> list[Block]:
    home = record.project.data.snapshots or "the state folder"
    kept = ", ".join(t.name for t in tables)
    return [
        written(record, "distribution"),
        facts((("kept in", home), ("as", f"Delta Lake tables: {kept}"))),
    ]


def _maintenance(record: Record, tables: Sequence[TableStatistics]) -> list[Block]:
    keep = record.project.decisions.keep
    kept = "" if keep is None else duration_label(int(keep.total_seconds()))
    dropped = record.of("decisions_dropped")
    return [
        written(record, "maintenance_contact"),
        facts(
            (
                ("model owner", f"{record.project.owner.team}, {record.project.owner.contact}"),
                ("versions up to this one",
                 ", ".join(f"{t.name} {t.snapshot.version + 1:,}" for t in tables)),
                ("decisions are kept for", kept),
                ("decisions dropped", f"{len(dropped):,} times, last {link(dropped[-1])}"
                 if dropped else ""),
            )
        ),
        Text(f"Every version can be read again by its digest ({link(record.verdict_entry)})."
             if record.verdict_entry else "No verdict names this snapshot."),
    ]  # fmt: skip
