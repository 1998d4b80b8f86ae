"""DuckDB in process: every table as a view over the data files of its current snapshot; Parquet files written by it.

pyiceberg plans, DuckDB reads the planned files by field id, so a column that was added later is null in older files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import duckdb

from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.types import NestedField

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


def create_view(
    connection: duckdb.DuckDBPyConnection, name: str, live_files: Sequence[LiveFile], table: IcebergTable
) -> None:
    """Show data files as one view, delete files of other engines applied.

    The addresses are this warehouse's own; a view takes no binds, so they are quoted as literals.
    """
    plain = [live.uri for live in live_files if not live.deletes]
    merged = [live for live in live_files if live.deletes]
    parts = []
    if plain:
        schema = ", ".join(
            f"{field.field_id}: {{name: '{field.name}', type: '{_duckdb_type(field)}', default_value: NULL}}"
            for field in table.schema().fields
        )
        files = ", ".join(_literal(_path(uri)) for uri in plain)
        parts.append(f"SELECT * FROM read_parquet([{files}], schema = MAP {{{schema}}})")
    if merged:
        connection.register(f"{name}__merged", _merge_deletes(table, merged))
        parts.append(f"SELECT * FROM {name}__merged")
    if not parts:
        columns = ", ".join(f"NULL::{_duckdb_type(field)} AS {field.name}" for field in table.schema().fields)
        parts.append(f"SELECT {columns} WHERE FALSE")
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")


def _merge_deletes(table: IcebergTable, live_files: Sequence[LiveFile]) -> pa.Table:
    import pyarrow as pa

    from perennial.warehouse.files import read_rows

    return pa.Table.from_batches(read_rows(table, live_files), schema=table.schema().as_arrow())


def _source_totals(warehouse: Warehouse) -> pa.Table:
    """What hot and archive hold of each source: table_name, source_id, file_count, row_count, total_bytes."""
    import pyarrow as pa

    rows = [
        {"table_name": name, **vars(total)}
        for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
        for total in warehouse.source_totals(name).values()
    ]
    counts = ("file_count", "row_count", "total_bytes")
    text = [("table_name", pa.string()), ("source_id", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema([*text, *((count, pa.int64()) for count in counts)]))


def _duckdb_type(field: NestedField) -> str:
    return _DUCKDB_TYPES[str(field.field_type)]


def _path(uri: str) -> str:
    return uri.removeprefix("file://")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
