"""M7: rows are read and written only if bytes cannot be copied: files with delete files, or many tiny files.

The row count and an order-independent hash, of the rows read and of the rows written, prove that they are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.engines.duckdb import create_view, open_connection
from perennial.engines.write_files import staged_files, upload_files
from perennial.sql import statement
from perennial.warehouse import LiveFile
from perennial.warehouse.files import relocated
from perennial.warehouse.schemas import refuse_unrewritable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table


@dataclass(frozen=True)
class RewrittenFiles:
    """Files with the rows of other files, one per source.

    Attributes:
        data_files: Their descriptions; none if other engines have deleted every row.
        read_rows: Number of rows that were read.
        read_hash: Order-independent hash of the rows that were read.
        written_hash: The same hash of the rows in the new files.
    """

    data_files: tuple[DataFile, ...]
    read_rows: int
    read_hash: str
    written_hash: str


def rewrite_files(
    origin: Table, destination: Table, live_files: list[LiveFile], stem: str, storage_class: str | None = None
) -> RewrittenFiles:
    """Write the rows of some files, with other engines' deletes applied, to one new file per source.

    An unpartitioned table gets one file. The new file is read before it is uploaded, because it could not be read from
    a cold storage class.
    """
    refuse_unrewritable(destination)
    with open_connection() as connection:
        # Both sides have the destination's columns, so that the hashes cover the same columns in the same order.
        create_view(connection, "originals", live_files, origin, destination.schema())
        with staged_files(connection, "originals", destination, stem) as staged:
            written = [LiveFile(relocated(one.data_file, str(one.path))) for one in staged]
            create_view(connection, "rewritten", written, destination)
            read_rows, read_hash = fingerprint(connection, "originals")
            _, written_hash = fingerprint(connection, "rewritten")
            data_files = upload_files(staged, storage_class)
    return RewrittenFiles(tuple(data_files), read_rows, read_hash, written_hash)


def fingerprint(connection: DuckDBPyConnection, view: str) -> tuple[int, str]:
    """Return the number of rows of a view and an order-free hash of them: views of the same rows have the same."""
    row = connection.execute(statement("moves/fingerprint_rows"), {"view": view}).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
