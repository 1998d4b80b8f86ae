"""Parquet files written by DuckDB for a table: one per partition, with field ids and statistics for manifests."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from perennial.engines.columns import duckdb_type, field_ids, identifier, quoted
from perennial.engines.duckdb import local_path
from perennial.errors import TerminalDataError
from perennial.storage import storage_for
from perennial.tables import TABLES, Table
from perennial.text import pluralize
from perennial.warehouse.files import ColumnStatistics, FileStatistics, written_file
from perennial.warehouse.schemas import refuse_required

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.types import NestedField

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Characters of a text bound: pyiceberg's default.
_BOUND_CHARACTERS = 16
# A name that no column of any table has.
_PARTITION_NUMBER = "perennial_partition_number"


@dataclass(frozen=True)
class StagedFile:
    """A finished file that is not yet at its final address.

    Attributes:
        path: Its current path.
        data_file: Its description, with its final address.
    """

    path: Path
    data_file: DataFile


def write_files(connection: duckdb.DuckDBPyConnection, relation: str, table: IcebergTable, stem: str) -> list[DataFile]:
    """Write rows to Parquet files in a table's data location; see `staged_files`."""
    with staged_files(connection, relation, table, stem) as staged:
        return upload_files(staged)


@contextmanager
def staged_files(
    connection: duckdb.DuckDBPyConnection, relation: str, table: IcebergTable, stem: str
) -> Iterator[list[StagedFile]]:
    """Write rows to temporary Parquet files for a table; they are removed at the end of the block.

    A partitioned table gets one file per partition, any other table one file. Rows are in the table's sort order except
    for a few that DuckDB buffers separately, so no sort order is declared.

    Args:
        connection: Where the relation is.
        relation: Name of a table or view with the columns of the contract and any that somebody has added; columns that
            it lacks are null. It comes from code, never from outside.
        table: As loaded.
        stem: Start of the file names; unique, and free of ids from outside.

    Yields:
        The files, described with their statistics; none for an empty relation.

    Raises:
        TerminalDataError: A required column holds nulls.
        TerminalSettingError: The table has a required column for which there are no values.
    """
    refuse_required(table.name()[-1], table.schema())
    declared = next(known for known in TABLES if known.name == table.name()[-1])
    key = declared.partition_by
    # Paths have a number in place of the partition's value, which may contain any character.
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE partitions AS SELECT value, row_number() OVER (ORDER BY value) AS number "
        f"FROM (SELECT DISTINCT {key or 'NULL::VARCHAR'} AS value FROM {relation})"
    )
    values = dict(connection.execute("SELECT number, value FROM partitions").fetchall())
    place = table.location_provider().new_data_location
    staging = _staging_directory(place)
    try:
        staged = []
        nested = not all(field.field_type.is_primitive for field in table.schema().fields)
        for index, written in enumerate(_copy(connection, relation, table, declared, staging)):
            if nested:
                written["file_size_bytes"] = _annotate_lists(Path(written["filename"]))
            value = values[int(written["partition_keys"][_PARTITION_NUMBER])]
            statistics = _file_statistics(written, table, key, value)
            data_file = written_file(table, place(written_name(stem, index)), value, statistics)
            staged.append(StagedFile(Path(written["filename"]), data_file))
        yield staged
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def upload_files(staged: Sequence[StagedFile], storage_class: str | None = None) -> list[DataFile]:
    """Move staged files to their final addresses; no snapshot lists them until they are committed."""
    if not staged:
        return []
    storage = storage_for(staged[0].data_file.file_path)
    with ThreadPoolExecutor(storage.in_flight) as pool:
        uploads = [pool.submit(storage.upload, one.path, one.data_file.file_path, storage_class) for one in staged]
        for upload in uploads:
            upload.result()
    return [one.data_file for one in staged]


def _staging_directory(place: Callable[[str], str]) -> Path:
    # Always a new one: DuckDB refuses a directory in which a killed run has left files.
    name = f".{uuid.uuid4().hex}"
    uri = local_path(place(name))
    # On a local disk it is beside the table's files, so that moving them copies nothing.
    return Path(tempfile.gettempdir(), f"perennial-{name}") if "://" in uri else Path(uri)


def written_name(stem: str, index: int) -> str:
    """Name of one of the files that `write_files` writes."""
    return f"{stem}-{index}.parquet"


def _copy(
    connection: duckdb.DuckDBPyConnection, relation: str, table: IcebergTable, declared: Table, directory: Path
) -> Iterator[dict[str, Any]]:
    # A column that somebody has added is left out if there are no values for it: it reads as null.
    held = {name for name, *_ in connection.execute(f"SELECT * FROM {relation} LIMIT 0").description or ()}
    fields = [field for field in table.schema().fields if field.name in held or _is_declared(declared, field)]
    columns = ", ".join(
        f"{relation}.{identifier(field.name)}::{duckdb_type(field.field_type)} AS {identifier(field.name)}"
        for field in fields
    )
    ids = ", ".join(f"{quoted(field.name)}: {field_ids(field)}" for field in fields)
    partition = f"{relation}.{declared.partition_by}" if declared.partition_by else "NULL::VARCHAR"
    order = [f"{relation}.{column}" for column in declared.sort_by]
    directory.parent.mkdir(parents=True, exist_ok=True)
    # One thread, because several would interleave the sorted rows.
    threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
    connection.execute("SET threads = 1")
    try:
        result = connection.execute(
            f"COPY (SELECT {columns}, partitions.number AS {_PARTITION_NUMBER} FROM {relation} "
            f"JOIN partitions ON partitions.value IS NOT DISTINCT FROM {partition} "
            f"ORDER BY {', '.join(['partitions.number', *order])}) TO {quoted(str(directory))} (FORMAT parquet, "
            f"PARTITION_BY ({_PARTITION_NUMBER}), WRITE_PARTITION_COLUMNS false, FIELD_IDS {{{ids}}}, "
            f"FILENAME_PATTERN 'part-{{uuid}}', COMPRESSION zstd, ROW_GROUP_SIZE {declared.row_group_rows}, "
            "RETURN_STATS true)"
        )
        names = [description[0] for description in result.description or ()]
        yield from (dict(zip(names, row, strict=True)) for row in result.fetchall())
    finally:
        connection.execute(f"SET threads = {threads}")


def _annotate_lists(path: Path) -> int:
    """Write a file anew and return its size: of a list DuckDB writes Parquet's older annotation only.

    Daft, which finds columns by their field ids, takes such a list for one without elements.
    """
    import pyarrow.parquet as pq

    annotated = path.with_suffix(".annotated")
    with pq.ParquetFile(path) as file, pq.ParquetWriter(annotated, file.schema_arrow, compression="zstd") as writer:
        for number in range(file.num_row_groups):
            writer.write_table(file.read_row_group(number))
    annotated.replace(path)
    return path.stat().st_size


def _is_declared(declared: Table, field: NestedField) -> bool:
    return any(column.name == field.name for column in declared.columns)


def _file_statistics(
    written: Mapping[str, Any], table: IcebergTable, key: str | None, value: str | None
) -> FileStatistics:
    columns = []
    for field in table.schema().fields:
        found = written["column_statistics"].get(identifier(field.name))
        # A list has statistics of its elements only, and nothing prunes by them.
        if found is None or "column_size_bytes" not in found:
            continue
        if field.required and int(found["null_count"]):
            rows = pluralize(int(found["null_count"]), "row")
            raise TerminalDataError(
                f"{rows} for {table.name()[-1]} without {field.name}, which is required; "
                "nothing was committed. Check where the rows come from."
            )
        lower, upper = found.get("min"), found.get("max")
        if field.name == key:
            # Known from the partition, however long it is.
            lower = upper = value
        elif found.get("min_is_exact") != "true" or found.get("max_is_exact") != "true":
            lower = upper = None
        bounds = (None, None) if lower is None or upper is None else _bounds(str(field.field_type), lower, upper)
        columns.append(
            ColumnStatistics(
                field.name, int(found["column_size_bytes"]), int(found["num_values"]), int(found["null_count"]), *bounds
            )
        )
    return FileStatistics(int(written["count"]), int(written["file_size_bytes"]), tuple(columns))


def _bounds(kind: str, lower: str, upper: str) -> tuple[Any, Any]:
    """Read the bounds that DuckDB gives as text; long text is cut so that it stays a bound."""
    if kind == "string":
        cut = _upper_bound(upper)
        return (None, None) if cut is None else (lower[:_BOUND_CHARACTERS], cut)
    if kind == "timestamptz":
        return _microseconds(lower), _microseconds(upper)
    if kind == "date":
        return _days(lower), _days(upper)
    if kind == "boolean":
        return lower == "1", upper == "1"
    # Columns of other types, which somebody has added, have no bounds; no query here filters by them.
    return (int(lower), int(upper)) if kind in ("int", "long") else (None, None)


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def _days(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH.date()).days


def _upper_bound(text: str) -> str | None:
    """Return a short text that sorts at or after a given one; None if there is none."""
    if len(text) <= _BOUND_CHARACTERS:
        return text
    for position in reversed(range(_BOUND_CHARACTERS)):
        following = ord(text[position]) + 1
        # Surrogates cannot be encoded, and nothing follows the last code point.
        if following <= 0x10FFFF and not 0xD800 <= following <= 0xDFFF:
            return text[:position] + chr(following)
    return None
