"""Data files as the table metadata describes them, and how a plan records them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.conversions import from_bytes, to_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    write_manifest,
)
from pyiceberg.table import FileScanTask, ManifestGroupPlanner, Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.typedef import Record

from perennial.errors import TerminalDataError
from perennial.settings import dag_id
from perennial.warehouse.entries import elsewhere, entries_of
from perennial.warehouse.foreign import refuse_unreadable
from perennial.warehouse.manifests import may_hold, source_specs

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LiveFile:
    """A data file that a snapshot lists.

    Attributes:
        data_file: Its entry in the manifests, with metrics.
        deletes: Delete files of other engines that hide some of its rows, by address.
        source_at: Which value of its partition is its source; None if another writer has changed the partitioning and
            the file may hold rows of several sources.
    """

    data_file: DataFile
    deletes: tuple[DataFile, ...] = ()
    source_at: int | None = 0

    @property
    def is_mixed(self) -> bool:
        """Whether it may hold rows of several sources."""
        return self.source_at is None

    @property
    def uri(self) -> str:
        return self.data_file.file_path

    @property
    def delete_uris(self) -> tuple[str, ...]:
        return tuple(deletes.file_path for deletes in self.deletes)

    @property
    def source_id(self) -> str:
        """The source of all its rows.

        Raises:
            TerminalDataError: It may hold rows of several.
        """
        if self.source_at is None:
            raise TerminalDataError(
                f"{self.uri} is not partitioned by source_id and may hold rows of several sources; nothing was moved. "
                f"Run {dag_id('maintain_warehouse')}, which divides it by source, then run again."
            )
        return str(self.data_file.partition[self.source_at])

    @property
    def row_count(self) -> int:
        return self.data_file.record_count

    @property
    def file_bytes(self) -> int:
        return self.data_file.file_size_in_bytes


@dataclass(frozen=True)
class SourceTotal:
    """How much of one source a table has, read from manifests, never by a scan."""

    source_id: str
    file_count: int
    row_count: int
    total_bytes: int

    def __add__(self, other: SourceTotal) -> SourceTotal:
        return SourceTotal(
            self.source_id,
            self.file_count + other.file_count,
            self.row_count + other.row_count,
            self.total_bytes + other.total_bytes,
        )


def files_of(table: Table, snapshot: Snapshot, chosen: set[str] | None) -> Iterator[LiveFile]:
    """List the data files of a snapshot, of all sources or of some; see `Warehouse.live_files`."""
    ordered, by_source = sorted(chosen or ()), source_specs(table.metadata)
    manifests = [
        manifest
        for manifest in snapshot.manifests(table.io)
        if chosen is None or may_hold(manifest, ordered, by_source)
    ]
    if all(manifest.content == ManifestContent.DATA for manifest in manifests):
        # Without delete files to match, reading the entries takes a third of the time of planning a scan.
        entries = (entry for manifest in manifests for entry in entries_of(manifest, table.io))
        yield from (
            LiveFile(entry.data_file, source_at=by_source.get(entry.data_file.spec_id))
            for entry in entries
            if chosen is None or _is_of(entry, chosen, by_source)
        )
        return
    try:
        # Without a row filter: pyiceberg would compute the remaining filter for every file.
        tasks = ManifestGroupPlanner(table.metadata, table.io).plan_files(
            manifests, lambda entry: chosen is None or _is_of(entry, chosen, by_source)
        )
    except ValueError as error:
        raise TerminalDataError(
            f"Table {table.name()[-1]} cannot be planned ({error}); if another engine wrote equality deletes, "
            "have that engine rewrite the table's data files first."
        ) from error
    for task in tasks:
        deletes = tuple(sorted(task.delete_files, key=lambda deletes: deletes.file_path))
        yield LiveFile(task.file, deletes, by_source.get(task.file.spec_id))


def mixed_files(table: Table) -> list[LiveFile]:
    """List the data files that may hold rows of several sources; reads no manifest if there can be none."""
    snapshot, by_source = table.current_snapshot(), source_specs(table.metadata)
    if snapshot is None or by_source.keys() >= table.metadata.specs().keys():
        return []
    if all(manifest.partition_spec_id in by_source for manifest in snapshot.manifests(table.io)):
        return []
    return [live for live in files_of(table, snapshot, set()) if live.is_mixed]


def data_file_count(table: Table) -> int | None:
    """The number of data files that a table lists, as counted by its last writer; None if it has not counted."""
    return _counted(table, "total-data-files")


def record_count(table: Table) -> int | None:
    """The number of rows in a table's data files, including deleted ones, counted likewise."""
    return _counted(table, "total-records")


def _counted(table: Table, total: str) -> int | None:
    snapshot = table.current_snapshot()
    if snapshot is None:
        return 0
    counted = snapshot.summary.additional_properties.get(total) if snapshot.summary is not None else None
    return None if counted is None else int(counted)


def _is_of(entry: ManifestEntry, source_ids: set[str], by_source: Mapping[int, int]) -> bool:
    """Whether a manifest entry concerns some sources; a file not partitioned by source may concern any."""
    position = by_source.get(entry.data_file.spec_id)
    return position is None or entry.data_file.partition[position] in source_ids


def relocated(data_file: DataFile, uri: str) -> DataFile:
    """Describe a byte-for-byte copy: the same metrics at another address, so no footer has to be read."""
    copied = DataFile(*data_file._data)
    copied[1] = uri
    copied.spec_id = data_file.spec_id
    return copied


def taken_over(table: Table, live: LiveFile, uri: str) -> DataFile:
    """Describe a copy of another table's file with the same columns and ids, for the table that will list it.

    Partition specs and sort orders are numbered per table, so the original's numbers do not apply.
    """
    return elsewhere(live.data_file, uri, Record(live.source_id), table.metadata.default_spec_id)


def written_file(table: Table, uri: str, partition: str | None, statistics: FileStatistics) -> DataFile:
    """Describe a Parquet file that the engine has just written, from its returned statistics."""
    schema = table.schema()
    sizes: dict[int, int] = {}
    values: dict[int, int] = {}
    nulls: dict[int, int] = {}
    lower: dict[int, bytes] = {}
    upper: dict[int, bytes] = {}
    for column in statistics.columns:
        field = schema.find_field(column.name)
        sizes[field.field_id] = column.column_bytes
        values[field.field_id] = column.value_count
        nulls[field.field_id] = column.null_count
        if column.minimum is not None and column.maximum is not None:
            lower[field.field_id] = to_bytes(field.field_type, column.minimum)  # type: ignore[arg-type]  # primitive
            upper[field.field_id] = to_bytes(field.field_type, column.maximum)  # type: ignore[arg-type]
    data_file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=uri,
        file_format=FileFormat.PARQUET,
        partition=Record(partition) if partition is not None else Record(),
        record_count=statistics.row_count,
        file_size_in_bytes=statistics.file_bytes,
        column_sizes=sizes,
        value_counts=values,
        null_value_counts=nulls,
        nan_value_counts={},
        lower_bounds=lower,
        upper_bounds=upper,
        sort_order_id=None,
        split_offsets=None,
        equality_ids=None,
        key_metadata=None,
    )
    data_file.spec_id = table.spec().spec_id
    return data_file


@dataclass(frozen=True)
class ColumnStatistics:
    """Statistics of one column; bounds are Python values (timestamps: microseconds, dates: days since 1970)."""

    name: str
    column_bytes: int
    value_count: int
    null_count: int
    minimum: Any = None
    maximum: Any = None


@dataclass(frozen=True)
class FileStatistics:
    """Statistics of one written file."""

    row_count: int
    file_bytes: int
    columns: tuple[ColumnStatistics, ...]


def write_file_list(table: Table, uri: str, data_files: Iterable[DataFile]) -> None:
    """Write descriptions of data files to storage as an Iceberg manifest, which preserves all of them.

    A manifest cannot be empty: for an empty list there is no file.
    """
    data_files = list(data_files)
    if not data_files:
        if table.io.new_input(uri).exists():
            table.io.delete(uri)
        return
    with write_manifest(
        format_version=table.metadata.format_version,
        spec=table.spec(),
        schema=table.schema(),
        output_file=table.io.new_output(uri),
        snapshot_id=0,
        avro_compression="deflate",
    ) as writer:
        for data_file in data_files:
            writer.add(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=0,
                    sequence_number=None,
                    file_sequence_number=None,
                    data_file=data_file,
                )
            )


def read_file_list(table: Table, uri: str) -> Iterator[DataFile]:
    """Read a list written by `write_file_list`, in the same order."""
    if not table.io.new_input(uri).exists():
        return
    manifest = ManifestFile.from_args(
        manifest_path=uri,
        manifest_length=0,
        partition_spec_id=table.spec().spec_id,
        content=ManifestContent.DATA,
        sequence_number=0,
        min_sequence_number=0,
        added_snapshot_id=0,
    )
    for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
        yield entry.data_file


def deleted_rows(table: Table, live_files: Iterable[LiveFile], path: Callable[[str], str]) -> pa.Table:
    """Read which rows of some data files are deleted by their delete files.

    Args:
        table: As loaded.
        live_files: The data files.
        path: Turns an address into a path.

    Returns:
        Columns path and position, from 0.

    Raises:
        TerminalDataError: The delete files cannot be read.
    """
    import pyarrow as pa
    from pyiceberg.io.pyarrow import _read_all_delete_files

    tasks = {live.uri: FileScanTask(live.data_file, set(live.deletes)) for live in live_files}
    schema = pa.schema([("path", pa.string()), ("position", pa.int64())])
    try:
        deletes = _read_all_delete_files(table.io, tasks.values())
    except ValueError as error:
        raise TerminalDataError(
            f"Delete files of table {table.name()[-1]} cannot be read ({error}); have the engine that wrote them "
            "rewrite the table's data files first."
        ) from error
    parts = [
        pa.table([pa.array([path(uri)] * len(positions), pa.string()), positions.cast(pa.int64())], schema=schema)
        for uri in tasks
        for positions in deletes.get(uri, ())
    ]
    return pa.concat_tables([schema.empty_table(), *parts])


def rows_by_source(table: Table, live: LiveFile) -> dict[str, int]:
    """Count a file's rows per source, from its partition or, if that does not name a source, from its content."""
    if not live.is_mixed:
        return {live.source_id: live.row_count}
    from pyiceberg.io.pyarrow import ArrowScan

    refuse_unreadable(table, [live])
    scan = ArrowScan(table.metadata, table.io, table.schema().select("source_id"), AlwaysTrue())
    counts: Counter[str] = Counter()
    for batch in scan.to_record_batches([FileScanTask(live.data_file, set(live.deletes))]):
        counts.update(batch["source_id"].to_pylist())
    return counts


def time_bounds(table: Table, data_file: DataFile, column: str) -> tuple[int, int] | None:
    """Return the earliest and latest time of a column in a file (microseconds since 1970); None if not recorded."""
    field = table.schema().find_field(column)
    lower = (data_file.lower_bounds or {}).get(field.field_id)
    upper = (data_file.upper_bounds or {}).get(field.field_id)
    if lower is None or upper is None:
        return None
    kind: Any = field.field_type
    return int(from_bytes(kind, lower)), int(from_bytes(kind, upper))
