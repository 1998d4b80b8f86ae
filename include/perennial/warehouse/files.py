"""Data files as the table metadata describes them, and how they are written down in a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyiceberg.conversions import from_bytes, to_bytes
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
from perennial.warehouse.manifests import may_hold, source_specs

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LiveFile:
    """A data file that a snapshot lists.

    Attributes:
        data_file: What the manifests hold about it, metrics included.
        deletes: Delete files of other engines that hide some of its rows, by address.
    """

    data_file: DataFile
    deletes: tuple[DataFile, ...] = ()

    @property
    def uri(self) -> str:
        return self.data_file.file_path

    @property
    def delete_uris(self) -> tuple[str, ...]:
        return tuple(deletes.file_path for deletes in self.deletes)

    @property
    def source_id(self) -> str:
        return str(self.data_file.partition[0])

    @property
    def row_count(self) -> int:
        return self.data_file.record_count

    @property
    def file_bytes(self) -> int:
        return self.data_file.file_size_in_bytes


@dataclass(frozen=True)
class SourceTotal:
    """What one table holds of one source, read from manifests, never by a scan."""

    source_id: str
    file_count: int
    row_count: int
    total_bytes: int


def files_of(table: Table, snapshot: Snapshot, chosen: set[str] | None) -> Iterator[LiveFile]:
    """List the data files of a snapshot, of all sources or of some; see `Warehouse.live_files`."""
    ordered, by_source = sorted(chosen or ()), source_specs(table.metadata)
    manifests = [
        manifest
        for manifest in snapshot.manifests(table.io)
        if chosen is None or may_hold(manifest, ordered, by_source)
    ]
    if all(manifest.content == ManifestContent.DATA for manifest in manifests):
        # Nothing to be matched with: reading the entries is a third of the work of planning a scan.
        entries = (entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io))
        yield from (
            LiveFile(entry.data_file) for entry in entries if chosen is None or _is_of(entry, chosen, by_source)
        )
        return
    try:
        # Not through a row filter: pyiceberg would work out for every file what is left of it to evaluate.
        tasks = ManifestGroupPlanner(table.metadata, table.io).plan_files(
            manifests, lambda entry: chosen is None or _is_of(entry, chosen, by_source)
        )
    except ValueError as error:
        raise TerminalDataError(
            f"Table {table.name()[-1]} cannot be planned ({error}); if another engine wrote equality deletes, "
            "have that engine rewrite the table's data files first."
        ) from error
    for task in tasks:
        yield LiveFile(task.file, tuple(sorted(task.delete_files, key=lambda deletes: deletes.file_path)))


def data_file_count(table: Table) -> int | None:
    """How many data files a table lists, by its last writer's own count; None where that writer has not said."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return 0
    counted = snapshot.summary.additional_properties.get("total-data-files") if snapshot.summary is not None else None
    return None if counted is None else int(counted)


def _is_of(entry: ManifestEntry, source_ids: set[str], by_source: Collection[int]) -> bool:
    """Whether a manifest entry concerns some sources; what is not partitioned by source may concern any."""
    return entry.data_file.spec_id not in by_source or entry.data_file.partition[0] in source_ids


def relocated(data_file: DataFile, uri: str) -> DataFile:
    """Describe a byte-for-byte copy: the same metrics at another address, so no footer has to be read."""
    copied = DataFile(*data_file._data)
    copied[1] = uri
    copied.spec_id = data_file.spec_id
    return copied


def taken_over(data_file: DataFile, uri: str) -> DataFile:
    """Describe a copy of a file of another table that has the same columns, ids and partitioning.

    Sort orders are numbered table by table: the number it has says nothing here.
    """
    copied = relocated(data_file, uri)
    copied[15] = None
    return copied


def written_file(table: Table, uri: str, partition: str | None, statistics: FileStatistics) -> DataFile:
    """Describe a Parquet file that the engine has just written, from the statistics it returned."""
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
    """Write descriptions of data files to storage as an Iceberg manifest, so that nothing of them is lost.

    There is no manifest of no files: an empty list is a file that is not there.
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
    """Read what `write_file_list` wrote, in the same order."""
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
    """Read which rows of some data files their delete files hide.

    Args:
        table: As loaded.
        live_files: The data files.
        path: Makes a path of an address.

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


def time_bounds(table: Table, data_file: DataFile, column: str) -> tuple[int, int] | None:
    """Return the earliest and latest time of a column in a file (microseconds since 1970); None where not recorded."""
    field = table.schema().find_field(column)
    lower = (data_file.lower_bounds or {}).get(field.field_id)
    upper = (data_file.upper_bounds or {}).get(field.field_id)
    if lower is None or upper is None:
        return None
    kind: Any = field.field_type
    return int(from_bytes(kind, lower)), int(from_bytes(kind, upper))
