"""The catalog: create and evolve tables, list what snapshots hold, append, replace."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform

from perennial.errors import TerminalDataError, TerminalSettingError, TransientConflictError
from perennial.settings import Settings
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS, RENAMED_COLUMNS, TABLES, Table
from perennial.warehouse.align import align, set_columns
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.commits import FileChange, commit_change
from perennial.warehouse.files import LiveFile, SourceTotal, files_of
from perennial.warehouse.foreign import (
    as_declared,
    lacks_declared_partitioning,
    refuse_unreadable,
    refuse_unwritable,
)
from perennial.warehouse.name_mappings import with_columns
from perennial.warehouse.open import is_embedded, open_catalog
from perennial.warehouse.schemas import completed, declared_schema, refuse_broken, refuse_required
from perennial.warehouse.totals import count_sources

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

log = logging.getLogger(__name__)

# Arrow bytes of one staged data file.
STAGED_BYTES = 64 * 2**20
_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # M6: an append by another writer does not make a removal fail.
    "write.delete.isolation-level": "snapshot",
    "write.update.isolation-level": "snapshot",
    "write.merge.isolation-level": "snapshot",
    # Loads append every few minutes; without merging, planning would open one manifest for each.
    "commit.manifest-merge.enabled": "true",
    # Without these two every commit would leave its metadata file behind for ever.
    "write.metadata.previous-versions-max": "20",
    "write.metadata.delete-after-commit.enabled": "true",
}


class Warehouse:
    """The tables of one workspace in one Iceberg catalog.

    Every call reads the table as it is at that moment; nothing is cached between calls.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._operations_uri = ""
        with catalog_errors(settings.catalog):
            self.catalog = open_catalog(settings)
        # Without waiting for the garbage collector: until then each would keep a connection to the catalog's database.
        weakref.finalize(self, self.catalog.close).atexit = False

    def create_tables(self) -> list[str]:
        """Create the namespace and every table of the contract; give existing tables the columns they lack.

        Hot and archive get the same columns and field ids.

        Returns:
            What was changed, one sentence each.

        Raises:
            TerminalSettingError: Somebody has added a column with the name of one of ours.
        """
        with catalog_errors(self.settings.catalog):
            self.catalog.create_namespace_if_not_exists(self.settings.namespace)
            missing = self.missing_tables()
            changes = [
                change
                for table in TABLES
                for change in (self._create(table) if table.name in missing else self._evolve(table))
            ]
            return changes + align(self._load, INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)

    def missing_tables(self) -> set[str]:
        """Return the tables of the contract that the catalog does not have."""
        try:
            with catalog_errors(self.settings.catalog):
                present = {name for *_, name in self.catalog.list_tables(self.settings.namespace)}
        except NoSuchNamespaceError:
            present = set()
        return {table.name for table in TABLES} - present

    def table(self, name: str) -> IcebergTable:
        """Load a table's current metadata, to be written by the contract, whatever other writers have set.

        Raises:
            TerminalSettingError: The table does not exist, or lacks a column of the contract.
        """
        table = self._load(name)
        refuse_broken(name, table)
        return table

    def _load(self, name: str) -> IcebergTable:
        try:
            with catalog_errors(self.settings.catalog):
                return as_declared(self.catalog.load_table((self.settings.namespace, name)))
        except NoSuchTableError as error:
            raise TerminalSettingError(
                f"Catalog {self.settings.catalog!r} has no table {self.settings.namespace}.{name}; "
                "run `perennial init`, or check PERENNIAL_HOME, PERENNIAL_CATALOG and PERENNIAL_NAMESPACE."
            ) from error
        except FileNotFoundError as error:
            # A table forgets its oldest metadata files, so a catalog from an old backup may name one of them.
            raise TerminalDataError(
                f"The metadata file that the catalog names for table {self.settings.namespace}.{name} is missing: "
                f"{error}. Bring it back from a backup or a bucket version, at the same address, then run "
                "`perennial check`; without one, see docs/runbooks/backup.md."
            ) from error

    def committed_at(self, name: str) -> datetime | None:
        """Return when the newest snapshot of a table was made (wall clock); None if it never had one."""
        snapshot = self.table(name).current_snapshot()
        return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC) if snapshot else None

    def operations_uri(self) -> str:
        """Return the directory of plans, pending records and reports.

        It is beside the archived files unless the warehouse is on this machine: a table bucket accepts only files of
        tables.
        """
        if not self._operations_uri:  # A table keeps its address and its id.
            table, shared = self._load(LIFECYCLE_EVENTS.name), self.settings.operations_uri
            if shared is None and self.settings.archive_uri is not None and not is_embedded(self.settings):
                shared = f"{self._load(INTERACTIONS_ARCHIVE.name).location_provider().data_path}/operations"
            # Workspaces that share a location must not mistake each other's operations for their own.
            own = f"{shared.rstrip('/')}/{table.metadata.table_uuid}" if shared else f"{table.location()}/operations"
            self._operations_uri = own
        return self._operations_uri

    # --- what a snapshot holds ------------------------------------------------------------------------------------

    def live_files(
        self, table: IcebergTable, source_ids: Collection[str] | None = None, snapshot_id: int | None = None
    ) -> Iterator[LiveFile]:
        """List the data files of a snapshot, with the delete files that apply to each.

        Args:
            table: As loaded; its current snapshot is used if none is given.
            source_ids: Only files of these sources; None for all. Only for tables partitioned by source.
            snapshot_id: An earlier snapshot.

        Raises:
            TransientConflictError: The earlier snapshot is no longer there.
            TerminalDataError: The table holds delete files that cannot be applied.
        """
        snapshot = table.snapshot_by_id(snapshot_id) if snapshot_id is not None else table.current_snapshot()
        if snapshot is None and snapshot_id is not None:
            raise TransientConflictError(
                f"Snapshot {snapshot_id} of {table.name()[-1]} has been expired by another program while a move was "
                "under way; run it again, so that it plans anew. Nothing was lost."
            )
        if snapshot is None or (source_ids is not None and not source_ids):
            return
        chosen = None if source_ids is None else set(source_ids)
        # Around all of it: manifests are read one by one, while the caller iterates.
        with catalog_errors(self.settings.catalog):
            yield from files_of(table, snapshot, chosen)

    def source_totals(self, name: str, source_ids: Collection[str] | None = None) -> dict[str, SourceTotal]:
        """Sum up how much a table has of each source, or of each of some sources; see `source_counts`."""
        counts = self.source_counts(name, source_ids)
        rows = zip(*(column.to_pylist() for column in counts.columns), strict=True)
        return {source_id: SourceTotal(source_id, *total) for source_id, *total in rows}

    def source_counts(self, name: str, source_ids: Collection[str] | None = None) -> pa.Table:
        """Return the same as columns: source_id, file_count, row_count, total_bytes."""
        table = self.table(name)
        with catalog_errors(self.settings.catalog):
            return count_sources(self, table, source_ids)

    def read(self, name: str) -> pa.Table:
        """Read a whole (small) table."""
        table = self.table(name)
        refuse_unreadable(table, self.live_files(table))
        with catalog_errors(self.settings.catalog):
            return table.scan().to_arrow()

    def refuse_unwritable(self, names: Iterable[str]) -> None:
        """Refuse tables that another writer has made unwritable for us, before anything moves.

        Raises:
            TerminalSettingError: Names the table, what was found, and what to do.
        """
        for name in names:
            refuse_unwritable(self.table(name))

    # --- writing --------------------------------------------------------------------------------------------------

    def arrow_schema(self, name: str) -> pa.Schema:
        """Return the Arrow schema of a table's rows."""
        return self.table(name).schema().as_arrow()

    def append_files(self, name: str, data_files: Iterable[DataFile], operation: str) -> bool:
        """Append data files in one commit, once: repeating the operation does nothing.

        Returns:
            Whether this call made the commit.
        """
        added = list(data_files)
        return commit_change(self, name, lambda _: FileChange(add=added), operation) is not None

    def append_rows(self, name: str, rows: list[dict[str, object]], operation: str) -> None:
        """Append rows to a small, unpartitioned table, once: repeating the operation does nothing."""
        import pyarrow as pa

        self.append_table(name, pa.Table.from_pylist(rows, schema=self.arrow_schema(name)), operation)

    def append_table(self, name: str, rows: pa.Table, operation: str) -> None:
        """Append rows with the table's Arrow schema, once."""
        if rows.num_rows:
            self.append_files(name, self._written(self.table(name), rows), operation)

    def append_decided(
        self, name: str, decide: Callable[[IcebergTable], list[dict[str, object]]], operation: str
    ) -> None:
        """Append, once, rows that are decided from the table as it is when they are committed.

        Args:
            name: A small, unpartitioned table.
            decide: Returns the rows for the loaded table; called again after each lost race.
            operation: Repeating it does nothing.
        """
        import pyarrow as pa

        def change(table: IcebergTable) -> FileChange:
            rows = pa.Table.from_pylist(decide(table), schema=table.schema().as_arrow())
            return FileChange(add=list(self._written(table, rows)) if rows.num_rows else [])

        commit_change(self, name, change, operation)

    def replace_rows(self, name: str, rows: pa.RecordBatchReader, operation: str) -> None:
        """Replace a table's whole content by a stream of rows, in one commit; an empty stream empties the table."""
        self.replace_files(name, self.stage_rows(name, rows), operation)

    def stage_rows(self, name: str, rows: pa.RecordBatchReader) -> list[DataFile]:
        """Write a stream of rows to data files that no snapshot lists yet; unless committed, they are purged later.

        Memory is bounded by STAGED_BYTES, whatever the number of rows.
        """
        import pyarrow as pa

        table = self.table(name)
        # pyiceberg queues the whole stream before it writes the first file, so it is fed one file's worth at a time.
        return [
            data_file
            for batches in _chunked(rows)
            for data_file in self._written(table, pa.Table.from_batches(batches, rows.schema))
        ]

    def replace_files(
        self, name: str, data_files: Iterable[DataFile], operation: str, look: Callable[[], None] = lambda: None
    ) -> None:
        """Make staged data files a table's whole content, in one commit.

        Args:
            name: The table.
            data_files: From `stage_rows`.
            operation: As in `commit_change`.
            look: Called once the table is loaded, again after each lost race. If it raises, nothing is replaced.
        """
        added = list(data_files)

        def change(table: IcebergTable) -> FileChange:
            look()
            return FileChange(add=added, remove=[live.data_file for live in self.live_files(table)], forced=True)

        commit_change(self, name, change, operation)

    @staticmethod
    def _written(table: IcebergTable, rows: pa.Table | pa.RecordBatchReader) -> Iterator[DataFile]:
        # pyiceberg offers no public way to write files now and commit them later.
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        refuse_required(table.name()[-1], table.schema())
        return iter(_dataframe_to_data_files(table_metadata=table.metadata, df=rows, io=table.io))

    # --- creation -------------------------------------------------------------------------------------------------

    def _create(self, declared: Table) -> list[str]:
        identifier = (self.settings.namespace, declared.name)
        try:
            self.catalog.create_table(
                identifier,
                schema=declared_schema(declared),
                partition_spec=_partition_spec(declared),
                properties={**_PROPERTIES, **self._location_properties(declared), "comment": declared.doc},
            )
        except TableAlreadyExistsError:
            return self._evolve(declared)
        return [f"created table {declared.name}"]

    def _location_properties(self, declared: Table) -> dict[str, str]:
        """Place archived data files below ARCHIVE_URI; metadata stays in the warehouse (M9)."""
        if declared.name != INTERACTIONS_ARCHIVE.name:
            return {}
        uri = self.settings.archive_uri
        if uri is None and is_embedded(self.settings):
            uri = f"file://{self.settings.below_home('archive')}"
        if uri is not None and "://" not in uri:
            uri = f"file://{self.settings.below_home(uri)}"
        return {} if uri is None else {"write.data.path": uri.rstrip("/")}

    def _evolve(self, declared: Table) -> list[str]:
        changes = self._rename(declared) + self._complete(declared) + self._partition(declared)
        table = self._load(declared.name)
        # Properties that somebody has set take precedence, except for the archive's location, which is a setting.
        wanted = {"comment": declared.doc, **_PROPERTIES, **table.properties, **self._location_properties(declared)}
        wanted.pop("format-version", None)
        if stale := {key: value for key, value in wanted.items() if table.properties.get(key) != value}:
            with table.transaction() as transaction:
                transaction.set_properties(stale)
            changes += [f"set {declared.name} {key} = {value}" for key, value in stale.items()]
        return changes

    def _partition(self, declared: Table) -> list[str]:
        """Give a table that somebody else created the contract's format and partitioning; its files are kept."""
        table, changes = self._load(declared.name), []
        if table.metadata.format_version < 2:
            # A table of version 1 cannot remove a partition field, and has no row-level deletes.
            with table.transaction() as transaction:
                transaction.upgrade_table_version(2)
            table, changes = self._load(declared.name), [f"upgraded {declared.name} to format version 2"]
        if not lacks_declared_partitioning(table):
            return changes
        with table.update_spec() as update:
            for field in table.spec().fields:
                update.remove_field(field.name)
            if declared.partition_by is not None:
                update.add_identity(declared.partition_by)
        return [*changes, f"partitioned {declared.name} by {declared.partition_by or 'nothing'}"]

    def _complete(self, declared: Table) -> list[str]:
        table = self._load(declared.name)
        fields = completed(declared, table)
        # The archive gets its columns from hot, with the same ids.
        if declared.name == INTERACTIONS_ARCHIVE.name:
            return []
        return set_columns(table, fields, with_columns(table, fields))

    def _rename(self, declared: Table) -> list[str]:
        renamed = RENAMED_COLUMNS.get(declared.name)
        if renamed is None:
            return []
        table = self._load(declared.name)
        present = {field.name for field in table.schema().fields}
        former = {new: old for new, old in renamed.items() if old in present}
        if former:
            with table.update_schema() as update:
                for new, old in former.items():
                    update.rename_column(old, new)
        return [f"renamed column {declared.name}.{old} to {new}" for new, old in former.items()]

    def align_facts(self) -> None:
        """Give hot and archive the same columns, so that files can move between them.

        Raises:
            TerminalSettingError: Somebody has given them columns that contradict each other; nothing was changed.
            TransientConflictError: Other writers kept committing first.
        """
        align(self.table, INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)


def _chunked(rows: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    """Group a stream's batches into lists of about STAGED_BYTES each."""
    chunk: list[pa.RecordBatch] = []
    chunk_bytes = 0
    for batch in rows:
        chunk.append(batch)
        chunk_bytes += batch.nbytes
        if chunk_bytes >= STAGED_BYTES:
            yield chunk
            chunk, chunk_bytes = [], 0
    if chunk:
        yield chunk


def _partition_spec(declared: Table) -> PartitionSpec:
    if declared.partition_by is None:
        return UNPARTITIONED_PARTITION_SPEC
    position = [column.name for column in declared.columns].index(declared.partition_by) + 1
    return PartitionSpec(PartitionField(position, 1000, IdentityTransform(), declared.partition_by))
