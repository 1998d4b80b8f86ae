"""M7: rows are read and written only if bytes cannot be copied: files with delete files, or many tiny files.

The row count and an order-independent hash, of the rows read and of the rows written, prove that they are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.engines.documents import divide_rows
from perennial.engines.duckdb import create_view, open_connection
from perennial.engines.write_files import StagedFile, staged_files, upload_files
from perennial.statements import statement
from perennial.warehouse import LiveFile
from perennial.warehouse.files import relocated
from perennial.warehouse.schemas import refuse_unrewritable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

Condition = Callable[["DuckDBPyConnection"], str]
"""Says in SQL which rows are meant, after it has put what the text names into the connection."""


@dataclass(frozen=True)
class RewrittenFiles:
    """Files with the rows of other files, one per source.

    Attributes:
        data_files: Their descriptions; none if other engines have deleted every row.
        read_rows: Number of rows that were read, without those that leave.
        read_hash: Order-independent hash of the same rows.
        written_hash: The same hash of the rows in the new files.
        left_rows: Number of rows that were read and left out.
    """

    data_files: tuple[DataFile, ...]
    read_rows: int
    read_hash: str
    written_hash: str
    left_rows: int = 0

    @property
    def written_rows(self) -> int:
        """Number of rows in the new files."""
        return sum(data_file.record_count for data_file in self.data_files)

    @property
    def is_proved(self) -> bool:
        """Whether the new files have exactly the rows that they should have."""
        return (self.read_rows, self.read_hash) == (self.written_rows, self.written_hash)


def rewrite_files(
    origin: Table,
    destination: Table,
    live_files: list[LiveFile],
    stem: str,
    storage_class: str | None = None,
    leaving: Condition | None = None,
    look: Callable[[DuckDBPyConnection, Sequence[StagedFile]], object] = lambda *_: None,
) -> RewrittenFiles:
    """Write the rows of some files, with other engines' deletes applied, to one new file per source.

    An unpartitioned table gets one file. The new file is read before it is uploaded, because it could not be read from
    a cold storage class.

    Args:
        origin: Whose files they are.
        destination: Whose files they will be.
        live_files: The files.
        stem: Start of the new files' names.
        storage_class: Of the new files.
        leaving: Which rows are left out (R22). What is to be written is then known from the rows that were read less
            those that leave, each counted and hashed on their own.
        look: Called with the new files while they can still be read.
    """
    refuse_unrewritable(destination)
    with open_connection() as connection:
        # Both sides have the destination's columns, so that the hashes cover the same columns in the same order.
        create_view(connection, "originals", live_files, origin, destination.schema())
        divide_rows(
            connection, "originals", leaving(connection) if leaving else "FALSE", "leaving_rows", "staying_rows"
        )
        with staged_files(connection, "staying_rows", destination, stem) as staged:
            written = [LiveFile(relocated(one.data_file, str(one.path))) for one in staged]
            create_view(connection, "rewritten", written, destination)
            read_rows, read_hash = fingerprint(connection, "originals")
            left_rows, left_hash = fingerprint(connection, "leaving_rows")
            _, written_hash = fingerprint(connection, "rewritten")
            look(connection, staged)
            data_files = upload_files(staged, storage_class)
    kept_hash = str(int(read_hash) - int(left_hash))
    return RewrittenFiles(tuple(data_files), read_rows - left_rows, kept_hash, written_hash, left_rows)


def fingerprint(connection: DuckDBPyConnection, view: str) -> tuple[int, str]:
    """Return the number of rows of a view and an order-free hash of them: views of the same rows have the same."""
    row = connection.execute(statement("moves/fingerprint_rows"), {"view": view}).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
