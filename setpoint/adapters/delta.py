"""Snapshots of the training data as versions of one Delta Lake table, local or on S3.

Each commit carries, in its metadata, everything about the snapshot: rows, content digest and the
batches applied. Data and metadata become visible in one atomic step, so a crash leaves either
the old version or the new one; files without a commit are never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from setpoint.adapters.delta_check import altered, check_record, same_columns, same_content
from setpoint.adapters.delta_state import EMPTY, Signing, State
from setpoint.adapters.quarantine import quarantine
from setpoint.domain.table_digest import plain_table, table_digest
from setpoint.domain.validation import bounded
from setpoint.errors import DataError, StateError

__all__ = ["ARRIVAL", "DeltaSnapshots", "Snapshot", "quarantine"]

ARRIVAL = "_arrival"
_ATTEMPTS = 50
_KEEP = "interval 36500 days"
_TABLE_CONFIG = {
    # Time travel to every snapshot must go on working for as long as decisions are accounted for.
    "delta.logRetentionDuration": _KEEP,
    "delta.deletedFileRetentionDuration": _KEEP,
    "delta.enableExpiredLogCleanup": "false",
}


@dataclass(frozen=True)
class Snapshot:
    """An immutable version of the data.

    Attributes:
        version: Delta version.
        digest: Content digest of all rows, the arrival column included (``table_digest``).
        rows: Number of rows.
        uri: Where the Delta table lies.
        batches: Names of the batches applied, in order.
        notes: What was noted of each batch when it was applied; empty text for nothing.
        sizes: Rows of each batch; those of the first are the first to have arrived.
        state: All that its commit says of it, with who signed that.
    """

    version: int
    digest: str
    rows: int
    uri: str
    batches: tuple[str, ...]
    notes: tuple[str, ...]
    sizes: tuple[int, ...] = ()
    state: State = EMPTY


class DeltaSnapshots:
    """The snapshot store.

    Args:
        uri: Local folder or ``s3://bucket/folder``.
        storage_options: As Delta Lake takes them (``S3Options.delta_options()``).
        signing: How snapshots are signed; ``None``: they are not.
    """

    def __init__(
        self,
        uri: str,
        storage_options: Mapping[str, str] | None = None,
        signing: Signing | None = None,
    ) -> None:
        self.uri = str(uri)
        self.table = self.uri.rstrip("/").rpartition("/")[2]
        self._signing = signing
        self._options = dict(storage_options or {})
        if self.uri.startswith("s3://"):
            self._options.setdefault("aws_conditional_put", "etag")

    def append(self, table: pa.Table, batch_name: str, note: str = "") -> Snapshot:
        """Add a batch once; the rows get ``_arrival`` numbers that go on from the last.

        Safe against other writers and against a crash: repeat it until it returns.

        Args:
            table: Conformed rows, at least one, without ``_arrival``.
            batch_name: Name of the batch; one that was applied already adds nothing.
            note: Kept with the batch, in the same commit; says nothing to the store.

        Returns:
            The newest snapshot, with the batch in it.

        Raises:
            DataError: The columns differ from the stored ones, the table is empty, or another
                content was applied under that name.
            StateError: The table is damaged or was written by another program.
        """
        table = plain_table(table)
        batch = (batch_name, self._check_batch(table, batch_name), note)
        for _ in range(_ATTEMPTS):
            # A conflict means that another writer got through: look again, there is progress.
            newest = self._newest()
            if newest is None:
                done = self._create(table, batch)
            else:
                done = self._extend(*newest, table, batch)
            if done is not None:
                if self._signing is not None:
                    self._signing.begin(self.table)
                return done
        raise self._too_busy(f"appending batch {batch_name}")

    def latest(self) -> Snapshot | None:
        """The newest snapshot, ``None`` before the first.

        Raises:
            StateError: The table is damaged or was written by another program.
        """
        newest = self._newest()
        return None if newest is None else self._snapshot(newest[0].version(), newest[1])

    def get(self, version: int) -> Snapshot:
        """The snapshot of that version.

        Raises:
            DataError: There is none.
        """
        for snapshot in self.history():
            if snapshot.version == version:
                return snapshot
        raise self._no_version(version)

    def history(self) -> list[Snapshot]:
        """All snapshots, oldest first. Versions that changed no data carry the digest on."""
        settled = self._settled(None)
        found: list[Snapshot] = []
        state: State | None = None
        for entry in sorted(settled[1] if settled else [], key=lambda e: int(e["version"])):
            state = State.of_commit(entry) or state
            if state is not None:
                found.append(self._snapshot(int(entry["version"]), state))
        return found

    def read(
        self,
        version: int,
        columns: Sequence[str] | None = None,
        *,
        time_column: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pa.Table:
        """Rows of a version in the order of arrival.

        Args:
            version: Which snapshot.
            columns: Columns wanted; ``None`` for all, ``_arrival`` included.
            time_column: Column that ``start`` and ``end`` are held against.
            start: Time from, inclusive, UTC; ``None`` for all.
            end: Time to, exclusive, UTC; ``None`` for all.

        Raises:
            DataError: There is no such version or column, or a time without a zone is given.
        """
        delta = self._open(version)
        if delta is None:
            raise self._no_version(version)
        return self._rows(delta, columns, self._time_filter(time_column, start, end))

    def columns(self, version: int) -> tuple[str, ...]:
        """Names of a version's columns, in order, ``_arrival`` included.

        Raises:
            DataError: There is no such version.
        """
        delta = self._open(version)
        if delta is None:
            raise self._no_version(version)
        return tuple(field.name for field in delta.schema().fields)

    def verify(self, snapshot: Snapshot) -> None:
        """Read a snapshot back and compare its content with its digest.

        Raises:
            StateError: The stored rows are not those that were appended; it names the files.
        """
        self.read_verified(snapshot)

    def read_verified(self, snapshot: Snapshot) -> pa.Table:
        """All rows of a snapshot, once they are known to be those that were appended.

        Raises:
            StateError: The rows are not those that were appended (it names the files), or no
                trusted key signed what the commit says of them.
        """
        if self._signing is not None:
            check_record(self.uri, self.table, snapshot.state, self._signing.check)
        try:
            rows = self.read(snapshot.version)
            found = table_digest(rows)
        except (StateError, DataError, pa.ArrowException) as error:
            raise self._altered(snapshot, str(error)) from error
        if found != snapshot.digest:
            raise self._altered(snapshot, f"digest {found}, expected {snapshot.digest}")
        return rows

    def _altered(self, snapshot: Snapshot, reason: str) -> StateError:
        return altered(self.uri, self._open(snapshot.version), snapshot.state, reason)

    # -- writing ---------------------------------------------------------------------------

    def _check_batch(self, table: pa.Table, name: str) -> str:
        if table.num_rows == 0 or ARRIVAL in table.column_names:
            what = "it holds no row" if table.num_rows == 0 else f"it has a column {ARRIVAL}"
            raise DataError(
                f"the batch cannot be appended: {what}",
                where=f"batch {name}",
                fix=f"append conformed rows without {ARRIVAL}",
            )
        return table_digest(table)

    def _create(self, table: pa.Table, batch: tuple[str, str, str]) -> Snapshot | None:
        rows = _with_arrival(table, 0)
        state = EMPTY.extended(rows, rows, batch).signed(self.table, self._signing)
        try:
            write_deltalake(
                self.uri,
                rows,
                mode="error",
                configuration=_TABLE_CONFIG,
                storage_options=self._options or None,
                commit_properties=state.commit(),
            )
        except DeltaError as error:
            if self._open() is None:
                raise self._damaged(error) from error
            return None
        return self._snapshot(0, state)

    def _extend(
        self, delta: DeltaTable, old: State, table: pa.Table, batch: tuple[str, str, str]
    ) -> Snapshot | None:
        name, digest, _ = batch
        version = delta.version()
        known = {batch_name: content for batch_name, content, *_ in old.batches}
        if name in known:
            same_content(name, known[name], digest)
            return self._snapshot(version, old)
        if self._signing is not None and (old.signature or self._signing.begun(self.table)):
            # Signing goes on from the record: one that was altered would be covered up.
            check_record(self.uri, self.table, old, self._signing.check)
        rows = _with_arrival(table, old.rows)
        tail = self._rows(delta, None, pads.field(ARRIVAL) >= old.chain_rows, old.chain_rows)
        same_columns(tail.schema, rows.schema, name)
        state = old.extended(pa.concat_tables([tail, rows]), rows, batch)
        state = state.signed(self.table, self._signing)
        try:
            write_deltalake(delta, rows, mode="append", commit_properties=state.commit())
        except CommitFailedError as error:
            now = self._open()
            if now is None or now.version() == version:  # nobody was faster: it is no race
                raise self._damaged(error) from error
            return None
        except DeltaError as error:
            raise self._damaged(error) from error
        return self._snapshot(delta.version(), state)

    # -- reading ---------------------------------------------------------------------------

    def _open(self, version: int | None = None) -> DeltaTable | None:
        try:
            if "://" not in self.uri and not Path(self.uri).is_dir():
                return None
            delta = DeltaTable(self.uri, storage_options=self._options or None)
            if version is not None and version != delta.version():
                if not 0 <= version < delta.version():
                    raise self._no_version(version)
                delta.load_as_version(version)
            return delta
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise self._damaged(error) from error

    def _rows(
        self,
        delta: DeltaTable,
        columns: Sequence[str] | None,
        condition: pads.Expression | None,
        first: int = 0,
    ) -> pa.Table:
        names = [field.name for field in delta.schema().fields]
        wanted = list(columns) if columns is not None else names
        unknown = sorted(set(wanted) - set(names))
        if unknown:
            raise DataError(
                f"there is no column {', '.join(unknown)}; the columns are {', '.join(names)}",
                where=self.uri,
                fix="ask for columns that the snapshot has",
            )
        try:
            # Each file costs milliseconds to prepare, so old ones are left out beforehand.
            prune = f"{ARRIVAL} >= {first}" if first else None
            dataset = delta.to_pyarrow_dataset(file_pruning_predicate=prune)
            rows = dataset.to_table(columns=[*dict.fromkeys([*wanted, ARRIVAL])], filter=condition)
        except (DeltaError, pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error
        return plain_table(rows.sort_by(ARRIVAL).select(wanted).replace_schema_metadata(None))

    def _time_filter(
        self, column: str, start: datetime | None, end: datetime | None
    ) -> pads.Expression | None:
        bounds = [bound for bound in (start, end) if bound is not None]
        if bounds and (not column or any(bound.tzinfo is None for bound in bounds)):
            raise DataError(
                f"the range {start} to {end} needs a time column and times with a zone",
                where=self.uri,
                fix="give time_column, and aware UTC times",
            )
        parts = []
        if start is not None:
            parts.append(pads.field(column) >= pa.scalar(start, pa.timestamp("us", tz="UTC")))
        if end is not None:
            parts.append(pads.field(column) < pa.scalar(end, pa.timestamp("us", tz="UTC")))
        return parts[0] & parts[1] if len(parts) == 2 else next(iter(parts), None)

    def _settled(self, limit: int | None) -> tuple[DeltaTable, list[dict[str, Any]]] | None:
        """The newest version and its history, newest first; ``None`` without a table.

        ``DeltaTable.history`` reads the log as it is now and numbers its entries back from the
        version that was opened, so it tells the truth only while nobody commits in between.
        """
        delta = self._open()
        if delta is None:
            return None
        for _ in range(_ATTEMPTS):
            try:
                version, entries = delta.version(), delta.history(limit)
                delta.update_incremental()
            except (DeltaError, OSError) as error:
                raise self._damaged(error) from error
            if delta.version() == version:
                return delta, entries
        raise self._too_busy("reading")

    def _newest(self) -> tuple[DeltaTable, State] | None:
        for limit in (1, None):
            settled = self._settled(limit)
            if settled is None:
                return None
            delta, entries = settled
            states = (State.of_commit(entry) for entry in entries)
            state = next((s for s in states if s is not None), None)
            if state is not None:
                break  # else others committed last, e.g. a compaction: look further back
        rows = delta.count()
        if state is None or rows != state.rows:
            raise StateError(
                f"the table has {rows} rows, Setpoint wrote {state.rows if state else 0}",
                where=self.uri,
                fix="another program wrote to it: restore the last version that Setpoint wrote, or "
                "give Setpoint a folder of its own",
            )
        return delta, state

    def _snapshot(self, version: int, state: State) -> Snapshot:
        names = tuple(name for name, *_ in state.batches)
        notes = tuple(note for *_, note in state.batches)
        sizes = tuple(rows for _, _, rows, _ in state.batches)
        return Snapshot(version, state.digest, state.rows, self.uri, names, notes, sizes, state)

    def _no_version(self, version: int) -> DataError:
        return DataError(
            f"there is no snapshot version {version}",
            where=self.uri,
            fix="ask for a version that history() names",
        )

    def _too_busy(self, doing: str) -> StateError:
        return StateError(
            f"{doing} lost {_ATTEMPTS} races against other writers",
            where=self.uri,
            fix="let fewer processes append at a time, then repeat",
        )

    def _damaged(self, error: Exception) -> StateError:
        return StateError(
            f"the Delta table cannot be used: {bounded(error, 300)}",
            where=self.uri,
            fix="check the address, the rights and the folder _delta_log; restore a backup if it "
            "is damaged",
        )


def _with_arrival(table: pa.Table, first: int) -> pa.Table:
    numbers = pa.array(range(first, first + table.num_rows), pa.int64())
    return table.replace_schema_metadata(None).append_column(ARRIVAL, numbers)
