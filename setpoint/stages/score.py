"""Scores a table offline: the scores that the service would have given, in a Parquet file.

It is an answer to a question and no served decision: nothing of it goes into the decision log.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from setpoint.adapters.table_stream import TableStream
from setpoint.domain.arrivals import floats
from setpoint.domain.bundle import Bundle, read_bundle
from setpoint.domain.validation import MASK
from setpoint.errors import BundleError, StateError
from setpoint.serving.problems import Refusal
from setpoint.serving.rows import Row, RowReader
from setpoint.serving.scorer import Scorer
from setpoint.stages.assemble import history
from setpoint.stages.requests import requests_of
from setpoint.workspace import Workspace

if TYPE_CHECKING:
    from setpoint.adapters.staged_rows import StagedRows

_TEXT = pa.string()
SCORED = pa.schema(
    [
        ("id", _TEXT),
        ("score", pa.float64()),
        ("action", _TEXT),
        ("threshold", pa.float64()),
        ("reasons", pa.list_(_TEXT)),
        ("version", _TEXT),
        ("bundle_digest", _TEXT),
    ]
)
REFUSED = pa.schema(
    [
        ("row", pa.int64()),
        ("id", _TEXT),
        ("rule", _TEXT),
        ("field", _TEXT),
        ("detail", _TEXT),
        ("fix", _TEXT),
    ]
)
REPEATED = ("repeated", "an earlier row has this id", "give each row an id of its own")
"""Rule, detail and fix of a row whose id was there before."""


@dataclass(frozen=True)
class Scoring:
    """What a scoring did.

    Attributes:
        version: Model version.
        bundle_digest: Digest of its bundle.
        source: The table, as named.
        source_digest: Digest of its declared columns, row by row.
        output: The file written.
        output_digest: SHA-256 of its bytes.
        rows: Rows of the table.
        refused: Rows that got no score; they are in the file beside.
        adverse: Rows that got the adverse action.
    """

    version: str
    bundle_digest: str
    source: str
    source_digest: str
    output: str
    output_digest: str
    rows: int
    refused: int
    adverse: int

    def __str__(self) -> str:
        beside = refused_beside(Path(self.output))
        return (
            f"{self.rows - self.refused:,} of {self.rows:,} rows scored by {self.version}, "
            f"{self.adverse:,} got the adverse action: {self.output}\n"
            f"{self.refused:,} rows refused: {beside}"
        )


def score(workspace: Workspace, source: str, output: Path, version: str | None = None) -> Scoring:
    """Score every row of a table; the same table, version and history give the same bytes.

    Features are as of each row's event time, over the history and the table itself, like those
    of training. Rows that the service would refuse are written beside, with the reason; so are
    those whose id an earlier row has. Both files are whole or absent; memory does not grow with
    the table, but with the events of the largest entity.

    Args:
        workspace: The project.
        source: Parquet or CSV file, folder of them, Delta Lake table, or ``s3://`` address.
        output: The Parquet file; ``.refused.parquet`` beside it holds what was refused.
        version: Model version; the champion if ``None``.

    Raises:
        DataError: The table cannot be read, or lacks a column.
        BundleError: The version's bundle is not what was registered.
        StateError: There is no such version, or the files cannot be written.
    """
    from setpoint.adapters.staged_rows import staged

    bundle, version = _bundle(workspace, version)
    with _work_folder(output) as work:
        with staged(work, bundle.features, bundle.table) as rows:
            stream = TableStream(source, work, workspace.s3)
            with _Refusals(work / "refused", bundle) as refusals:
                total, digest = _stage(workspace, bundle, stream, rows, refusals)
            if bundle.features.windows or bundle.features.risks:
                known = history(workspace)
                rows.look_back(known.events, known.labels)
            adverse = _write(bundle, version, rows, work / "scored")
        (work / "refused").replace(refused_beside(output))
        (work / "scored").replace(output)
    done = Scoring(
        version, bundle.digest, source, digest, str(output), _sha256(output),
        total, refusals.count, adverse,
    )  # fmt: skip
    subject = f"{workspace.project.name}/{version}"
    workspace.state.record(workspace.clock.now(), "scored", subject, asdict(done))
    return done


def refused_beside(output: Path) -> Path:
    """The file that holds the rows without a score."""
    return output.with_name(f"{output.name.removesuffix('.parquet')}.refused.parquet")


def _bundle(workspace: Workspace, version: str | None) -> tuple[Bundle, str]:
    version = version or workspace.champion()
    if version is None:
        raise StateError(
            "no version is in service",
            where=f"project {workspace.project.name}",
            fix="run 'setpoint deliver' first, or name a version with --version",
        )
    digest = workspace.registry.digest(version)
    return read_bundle(workspace.bundle(version), digest), version


@contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """A folder beside the output; what a killed run left there is removed first."""
    work = output.with_name(f".{output.name}.work")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        yield work
    except OSError as error:
        raise StateError(
            f"the file cannot be written: {error}",
            where=str(output),
            fix="name a file in a folder that is writable and has room for the table twice",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Refusals:
    """Writes the rows that get no score."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        self._path = path
        self._personal = {column.name for column in bundle.table.columns if column.personal}
        self._id = bundle.table.event_id
        self._waiting: list[dict[str, Any]] = []
        self.count = 0

    def __enter__(self) -> _Refusals:
        self._writer = pq.ParquetWriter(self._path, REFUSED)
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        self._writer.close()

    def refuse(self, row: int, identity: Any, refusal: Refusal) -> None:
        """Note a row, without the values of personal columns."""
        masked = refusal.where in self._personal
        self._note(
            row, None if identity is None else str(identity)[:200], refusal.rule, refusal.where,
            f"{refusal.where} is {MASK}" if masked else refusal.what, refusal.fix,
        )  # fmt: skip

    def repeated(self, row: int, identity: str) -> None:
        """Note a row whose id was there before."""
        rule, detail, fix = REPEATED
        self._note(row, identity, rule, self._id, detail, fix)

    def _note(self, *values: Any) -> None:
        self._waiting.append(dict(zip(REFUSED.names, values, strict=True)))
        self.count += 1
        if len(self._waiting) >= 4096:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, REFUSED))
            self._waiting.clear()


def _stage(
    workspace: Workspace,
    bundle: Bundle,
    stream: TableStream,
    rows: StagedRows,
    refusals: _Refusals,
) -> tuple[int, str]:
    """Check all rows and put the valid ones on disk; number of rows, and their digest."""
    project, table = workspace.project, bundle.table
    reader, digest, number = RowReader(table), hashlib.sha256(), 0
    for batch in stream.batches():
        valid = []
        for request in requests_of(batch, table, project.sources(), project.data.time_zone):
            digest.update(msgspec.json.encode(list(request.values())))
            try:
                valid.append(_staged_row(number, reader.check(request), bundle))
            except Refusal as refusal:
                refusals.refuse(number, request[table.event_id], refusal)
            number += 1
        rows.add(valid)
    for repeated, identity in rows.drop_repeated():
        refusals.repeated(repeated, identity)
    return number, digest.hexdigest()


def _staged_row(number: int, row: Row, bundle: Bundle) -> dict[str, Any]:
    ids = {column.name for column in bundle.table.columns if column.kind == "id"}
    event = {k: str(v) if k in ids and v is not None else v for k, v in row.event.items()}
    return {"_row": number, **event}


def _write(bundle: Bundle, version: str, rows: StagedRows, path: Path) -> int:
    """Score what is staged; how many got the adverse action."""
    scorer, spec, adverse = Scorer(bundle), bundle.decision, 0
    with pq.ParquetWriter(path, SCORED) as writer:
        for events, features in rows.features():
            numbers = [floats(features[name]).tolist() for name in bundle.features.number_names]
            texts = [features[name].to_pylist() for name in bundle.features.categories]
            n = events.num_rows
            by_row = zip(
                list(zip(*numbers, strict=True)) or [()] * n,
                list(zip(*texts, strict=True)) or [()] * n,
                strict=True,
            )
            inputs = [(list(a), list(b)) for a, b in by_row]
            scores, raw = scorer.score(inputs)
            if not np.isfinite(scores).all():
                raise BundleError(
                    "the model gave a score that is no number",
                    where=str(bundle.folder),
                    fix="score with another version; this one must not serve",
                )
            ids = events[bundle.table.event_id].to_pylist()
            found = scorer.adverse(inputs, scores, raw, ids)
            adverse += len(found)
            action = [spec.actions["positive" if i in found else "negative"] for i in range(n)]
            columns = {
                "id": ids,
                "score": scores.tolist(),
                "action": action,
                "threshold": [spec.threshold] * n,
                "reasons": [found.get(i, []) for i in range(n)],
                "version": [version] * n,
                "bundle_digest": [bundle.digest] * n,
            }
            writer.write_table(pa.table(columns, SCORED))
    return adverse


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
