"""Reads one archived file in full: is what is there what was archived, and can it be restored?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING, Literal

from perennial.errors import TerminalDataError, TerminalSettingError
from perennial.storage import Temperature, algorithm_of, storage_for
from perennial.text import pluralize
from perennial.warehouse import LiveFile
from perennial.warehouse.foreign import refuse_unreadable
from perennial.warehouse.layouts import columns_in_file

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile
    from pyiceberg.table import Table

Outcome = Literal["sound", "damaged", "missing", "cold"]

# What is decoded at once; memory does not grow with the file.
_BATCH_ROWS, _BUFFER_BYTES = 65_536, 1 << 20
_DIGESTS = ("sha256", "md5")


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a file when it was archived; nothing of one that another program has put there.

    Attributes:
        checksum: `algorithm:value`; empty if there is none.
        row_count: None if there is none.
    """

    checksum: str = ""
    row_count: int | None = None


@dataclass(frozen=True)
class Finding:
    """The outcome of one file, and what is wrong with it, for a person."""

    outcome: Outcome
    detail: str = ""


def check_file(table: Table, live: LiveFile, recorded: Recorded) -> Finding:
    """Read a file in full, and compare it with what the table and `archived_files` say of it. Nothing is written.

    Args:
        table: The archive, as loaded.
        live: One of its files, of one source.
        recorded: What was recorded of it.

    Raises:
        TerminalSettingError: This user may not read it.
        TransientError: The storage does not answer for the moment.
    """
    storage = storage_for(live.uri)
    files = [(live.uri, live.file_bytes), *((one.file_path, one.file_size_in_bytes) for one in live.deletes)]
    for uri, file_bytes in files:
        found = storage.stat(uri)
        if found is None:
            return Finding("missing", f"{uri} is missing")
        if found.file_bytes != file_bytes:
            return Finding("damaged", f"{uri} has {found.file_bytes:,} bytes, the table says {file_bytes:,}")
        if found.storage_class in storage.cold_classes and not _is_readable(uri):
            return Finding("cold")
    return _read(table, live, recorded)


def _is_readable(uri: str) -> bool:
    return storage_for(uri).look_cold(uri).temperature is Temperature.READABLE


def _read(table: Table, live: LiveFile, recorded: Recorded) -> Finding:
    import pyarrow as pa

    try:
        refuse_unreadable(table, [live])
        with storage_for(live.uri).open(live.uri) as file:
            problem = next(_problems(table, live, recorded, file), "")
    except FileNotFoundError:
        return Finding("missing", f"{live.uri} is missing")
    except PermissionError as error:
        raise TerminalSettingError(
            f"{live.uri} must not be read ({error.strerror}); give this user the right."
        ) from error
    except TerminalDataError as error:
        problem = str(error)
    except (pa.ArrowException, OSError) as error:
        problem = f"cannot be read as Parquet: {' '.join(str(error).split())}"
    return Finding("damaged", f"{live.uri}: {problem}") if problem else Finding("sound")


def _problems(table: Table, live: LiveFile, recorded: Recorded, file: BufferedReader) -> Iterator[str]:
    """Say what is wrong with an open file; it is read to its end only if nothing simpler is wrong."""
    import pyarrow.parquet as pq

    if recorded.checksum and _checksum(live.uri, file, algorithm_of(recorded.checksum)) != recorded.checksum:
        yield f"its {algorithm_of(recorded.checksum)} is not what it was when it was archived"
    file.seek(0)
    with pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, page_checksum_verification=True) as parquet:
        yield from _row_counts(live, recorded, parquet.metadata.num_rows)
        names = columns_in_file(table, live, parquet.schema_arrow)
        if missing := [name for field_id, name in _expected_columns(table, live).items() if field_id not in names]:
            yield f"it lacks {pluralize(len(missing), 'column')} that it had: {', '.join(missing)}"
        source_field = table.schema().find_field("source_id").field_id
        yield from _other_rows(parquet, names.get(source_field), live)


def _checksum(uri: str, file: BufferedReader, algorithm: str) -> str:
    """Compute a checksum of what was read; S3 compares its own with what it sends."""
    if algorithm not in _DIGESTS:
        return storage_for(uri).checksum(uri, algorithm)
    return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _row_counts(live: LiveFile, recorded: Recorded, row_count: int) -> Iterator[str]:
    if row_count != live.row_count:
        yield f"it has {pluralize(row_count, 'row')}, the table says {live.row_count:,}"
    if recorded.row_count not in (None, row_count):
        yield f"it has {pluralize(row_count, 'row')}, {recorded.row_count:,} were recorded when it was archived"


def _expected_columns(table: Table, live: LiveFile) -> dict[int, str]:
    """The columns that a file must have: the required ones, and those of which its manifest has figures."""
    counted = live.data_file.value_counts or {}
    return {
        field.field_id: field.name for field in table.schema().fields if field.required or field.field_id in counted
    }


def _other_rows(parquet: ParquetFile, source_column: str | None, live: LiveFile) -> Iterator[str]:
    """Decode every value of every row; rows of another source are named."""
    row_count = 0
    for batch in parquet.iter_batches(_BATCH_ROWS, use_threads=False):
        batch.validate(full=True)
        row_count += batch.num_rows
        if source_column is None:
            continue
        if others := set(batch[source_column].unique().to_pylist()) - {live.source_id}:
            yield f"it has rows of {min(map(repr, others))}, the table lists it for {live.source_id!r}"
    if row_count != parquet.metadata.num_rows:
        yield f"{pluralize(row_count, 'row')} can be read of {parquet.metadata.num_rows:,}"
