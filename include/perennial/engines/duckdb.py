"""DuckDB in process: every table as a view over the data files of its current snapshot; Parquet files written by it.

pyiceberg plans, DuckDB reads the planned files by field id, so a column that was added later is null in older files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES
from perennial.warehouse.files import ColumnStatistics, FileStatistics

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import LiveFile, Warehouse

_DUCKDB_TYPES = {
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "date": "DATE",
    "timestamptz": "TIMESTAMPTZ",
    "list<string>": "VARCHAR[]",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def open_connection() -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that computes in UTC and never reaches for the network."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    # Set after opening: at opening time the time zone's extension is not loaded yet.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def open_session(warehouse: Warehouse, tables: Iterable[str] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a connection with tables in place as views over their current snapshots.

    Args:
        warehouse: Where the tables are.
        tables: Names of the tables; None for all of them, and the contract's views with them.
    """
    connection = open_connection()
    names = [table.name for table in TABLES] if tables is None else list(tables)
    for name in names:
        table = warehouse.table(name)
        create_view(connection, name, list(warehouse.live_files(table)), table)
    if tables is None:
        connection.register("source_totals", _source_totals(warehouse))
        for view in ("source_availability", "available_interactions"):
            connection.execute(statement(f"views/create_{view}"))
    return connection
