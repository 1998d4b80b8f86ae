"""The catalog: open it, create and evolve tables, list what snapshots hold, append, replace."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import NestedField
from pyiceberg.utils.config import Config

from perennial.errors import TerminalSettingError, TransientConflictError
from perennial.settings import Settings
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS, RENAMED_COLUMNS, TABLES, Table
from perennial.warehouse.aligning import align, set_columns
from perennial.warehouse.commits import FileChange, commit_change
from perennial.warehouse.files import LiveFile, SourceTotal, files_of
from perennial.warehouse.name_mappings import with_columns
from perennial.warehouse.schemas import completed, iceberg_type, refuse_broken, refuse_unwritable
from perennial.warehouse.telling import told

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

log = logging.getLogger(__name__)

# Arrow bytes of one staged data file.
STAGED_BYTES = 64 * 2**20
# The one property that pyiceberg wants as a number; it reads the others from text.
_MAX_RETRIES = "glue.max-retries"

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

    Every call looks at the table as it is at that moment; nothing of it is remembered between calls.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._operations_uri = ""
        with told(settings.catalog):
            self.catalog = _open_catalog(settings)

    # --- tables ---------------------------------------------------------------------------------------------------

    def create_tables(self) -> list[str]:
        """Create the namespace and every table of the contract; give existing tables the columns they lack.

        Hot and archive get the same columns and field ids.

        Returns:
            What was changed, one sentence each; empty when everything was in place.

        Raises:
            TerminalSettingError: Somebody has added a column that stands where ours belongs.
        """
        with told(self.settings.catalog):
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
            with told(self.settings.catalog):
                present = {name for *_, name in self.catalog.list_tables(self.settings.namespace)}
        except NoSuchNamespaceError:
            present = set()
        return {table.name for table in TABLES} - present

    def table(self, name: str) -> IcebergTable:
        """Load a table's current metadata.

        Raises:
            TerminalSettingError: The table is not there, or lacks what the contract says it has.
        """
        table = self._load(name)
        refuse_broken(name, table)
        return table

    def _load(self, name: str) -> IcebergTable:
        try:
            with told(self.settings.catalog):
                return self.catalog.load_table((self.settings.namespace, name))
        except NoSuchTableError as error:
            raise TerminalSettingError(
                f"Catalog {self.settings.catalog!r} has no table {self.settings.namespace}.{name}; "
                "run `perennial init`, or check PERENNIAL_HOME, PERENNIAL_CATALOG and PERENNIAL_NAMESPACE."
            ) from error

    def committed_at(self, name: str) -> datetime | None:
        """Return when the newest snapshot of a table was made (wall clock); None if it never had one."""
        snapshot = self.table(name).current_snapshot()
        return datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC) if snapshot else None

    def operations_uri(self) -> str:
        """Return the directory of plans, pending records and reports.

        Beside the archived files where the warehouse is not on this machine: a bucket that is made for tables takes
        nothing but their files.
        """
        if not self._operations_uri:  # A table keeps its address and its id.
            table, shared = self.table(LIFECYCLE_EVENTS.name), self.settings.operations_uri
            if shared is None and self.settings.archive_uri is not None and not _is_embedded(self.settings):
                shared = f"{self.table(INTERACTIONS_ARCHIVE.name).location_provider().data_path}/operations"
            # Workspaces that share a place must not take each other's operations for their own.
            own = f"{shared.rstrip('/')}/{table.metadata.table_uuid}" if shared else f"{table.location()}/operations"
            self._operations_uri = own
        return self._operations_uri

    # --- what a snapshot holds ------------------------------------------------------------------------------------

    def live_files(
        self, table: IcebergTable, source_ids: Collection[str] | None = None, snapshot_id: int | None = None
    ) -> Iterator[LiveFile]:
        """List the data files of a snapshot, with the delete files that apply to each.

        Args:
            table: As loaded; its current snapshot is meant where none is named.
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
        # Around all of it: manifests are read one by one, while the files are asked for.
        with told(self.settings.catalog):
            yield from files_of(table, snapshot, chosen)

    def source_totals(self, name: str, source_ids: Collection[str] | None = None) -> dict[str, SourceTotal]:
        """Sum up what a table holds of each source, or of each of some, from its manifests."""
        totals: dict[str, list[int]] = {}
        for live in self.live_files(self.table(name), source_ids):
            total = totals.setdefault(live.source_id, [0, 0, 0])
            total[0] += 1
            total[1] += live.row_count
            total[2] += live.file_bytes
        return {source_id: SourceTotal(source_id, *total) for source_id, total in totals.items()}

    def read(self, name: str) -> pa.Table:
        """Read a whole (small) table."""
        with told(self.settings.catalog):
            return self.table(name).scan().to_arrow()

    # --- writing --------------------------------------------------------------------------------------------------

    def arrow_schema(self, name: str) -> pa.Schema:
        """Return the Arrow schema that rows of a table have."""
        return self.table(name).schema().as_arrow()

    def append_files(self, name: str, data_files: Iterable[DataFile], operation: str) -> bool:
        """Append data files in one commit, once: repeating the operation does nothing.

        Returns:
            Whether this call made the commit.
        """
        added = list(data_files)
        return commit_change(lambda: self.table(name), lambda _: FileChange(add=added), operation)

    def append_rows(self, name: str, rows: list[dict[str, object]], operation: str) -> None:
        """Append rows to a small, unpartitioned table, once: repeating the operation does nothing."""
        import pyarrow as pa

        self.append_table(name, pa.Table.from_pylist(rows, schema=self.arrow_schema(name)), operation)

    def append_table(self, name: str, rows: pa.Table, operation: str) -> None:
        """Append rows that have the table's Arrow schema, likewise."""
        if rows.num_rows:
            self.append_files(name, self._written(self.table(name), rows), operation)

    def replace_rows(self, name: str, rows: pa.RecordBatchReader, operation: str) -> None:
        """Replace a table's whole content by a stream of rows, in one commit; an empty stream empties the table."""
        self.replace_files(name, self.stage_rows(name, rows), operation)

    def stage_rows(self, name: str, rows: pa.RecordBatchReader) -> list[DataFile]:
        """Write a stream of rows to data files that no snapshot lists yet; unless committed, they are mere leftovers.

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

    def replace_files(self, name: str, data_files: Iterable[DataFile], operation: str) -> None:
        """Make staged data files a table's whole content, in one commit."""
        added = list(data_files)

        def change(table: IcebergTable) -> FileChange:
            return FileChange(add=added, remove=[live.data_file for live in self.live_files(table)], forced=True)

        commit_change(lambda: self.table(name), change, operation)

    @staticmethod
    def _written(table: IcebergTable, rows: pa.Table | pa.RecordBatchReader) -> Iterator[DataFile]:
        # pyiceberg offers no public way to write files now and commit them later.
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        refuse_unwritable(table.name()[-1], table.schema())
        return iter(_dataframe_to_data_files(table_metadata=table.metadata, df=rows, io=table.io))

    # --- creation -------------------------------------------------------------------------------------------------

    def _create(self, declared: Table) -> list[str]:
        identifier = (self.settings.namespace, declared.name)
        try:
            self.catalog.create_table(
                identifier,
                schema=_schema(declared),
                partition_spec=_partition_spec(declared),
                properties={**_PROPERTIES, **self._location_properties(declared), "comment": declared.doc},
            )
        except TableAlreadyExistsError:
            return self._evolve(declared)
        return [f"created table {declared.name}"]

    def _location_properties(self, declared: Table) -> dict[str, str]:
        """Send archived data files to ARCHIVE_URI; metadata stays in the warehouse (M9)."""
        if declared.name != INTERACTIONS_ARCHIVE.name:
            return {}
        uri = self.settings.archive_uri
        if uri is None and _is_embedded(self.settings):
            uri = f"file://{self.settings.home}/archive"
        if uri is not None and "://" not in uri:
            uri = f"file://{self.settings.home.joinpath(uri)}"
        return {} if uri is None else {"write.data.path": uri.rstrip("/")}

    def _evolve(self, declared: Table) -> list[str]:
        changes = self._rename(declared) + self._complete(declared)
        table = self._load(declared.name)
        wanted = {**_PROPERTIES, **self._location_properties(declared)}
        del wanted["format-version"]
        if stale := {key: value for key, value in wanted.items() if table.properties.get(key) != value}:
            with table.transaction() as transaction:
                transaction.set_properties(stale)
            changes += [f"set {declared.name} {key} = {value}" for key, value in stale.items()]
        return changes

    def _complete(self, declared: Table) -> list[str]:
        table = self._load(declared.name)
        fields = completed(declared, table)
        # The archive gets its columns from hot, under the same ids.
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
            TransientConflictError: Other writers won every race.
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


def catalog_file(settings: Settings) -> Path | None:
    """Return where the embedded catalog keeps its file; None where the catalog is configured elsewhere."""
    return settings.home / "catalog.db" if _is_embedded(settings) else None


def _open_catalog(settings: Settings) -> Catalog:
    configured = Config().get_catalog_config(settings.catalog)
    if configured is not None:
        from perennial.storage.s3 import connection_properties

        # What the catalog's own configuration says comes first; a local one needs no credentials.
        given: dict[str, Any] = {str(key): str(value) for key, value in configured.items()}
        found = {} if given.get("warehouse", "").startswith("file:") else connection_properties()
        if "botocore_session" in found:
            # Which Glue and a signing REST catalog take as it is; Arrow knows keys only.
            found["py-io-impl"] = "perennial.warehouse.role_files.RoleFileIO"
        if "s3.endpoint" not in found | given:
            # Only AWS can be asked in which region a bucket is; the archive's may be in another than the tables'.
            found["s3.resolve-region"] = "true"
        if (retries := given.get(_MAX_RETRIES)) is not None:
            given[_MAX_RETRIES] = _number(settings, _MAX_RETRIES, retries)
        return load_catalog(settings.catalog, **{**found, **given})
    settings.home.mkdir(parents=True, exist_ok=True)
    return load_catalog(
        settings.catalog,
        type="sql",
        uri=f"sqlite:///{catalog_file(settings)}",
        warehouse=f"file://{settings.home}/warehouse",
    )


def _number(settings: Settings, name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        variable = f"PYICEBERG_CATALOG__{settings.catalog}__{name}".replace(".", "__").replace("-", "_").upper()
        raise TerminalSettingError(f"{variable} is {value!r}; give a whole number, such as 5.") from None


def _is_embedded(settings: Settings) -> bool:
    """Whether pyiceberg's own configuration says nothing about the catalog."""
    return Config().get_catalog_config(settings.catalog) is None


def _schema(declared: Table) -> Schema:
    fields = []
    for position, column in enumerate(declared.columns, start=1):
        element_id = 1000 + position
        fields.append(
            NestedField(position, column.name, iceberg_type(column.type, element_id), column.required, doc=column.doc)
        )
    return Schema(*fields)


def _partition_spec(declared: Table) -> PartitionSpec:
    if declared.partition_by is None:
        return UNPARTITIONED_PARTITION_SPEC
    position = [column.name for column in declared.columns].index(declared.partition_by) + 1
    return PartitionSpec(PartitionField(position, 1000, IdentityTransform(), declared.partition_by))
