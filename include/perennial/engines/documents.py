"""Parquet documents of this product that belong to no table, and views of some rows of a relation, in DuckDB."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from perennial.engines.columns import FILE_COLUMN, declared_type, quoted
from perennial.engines.duckdb import local_path, reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyiceberg.table import Table

UnreadableError = duckdb.Error
"""What reading a view of files raises if one of them is gone or broken."""
NoColumnError = duckdb.BinderException
"""What naming a column raises that a view does not have."""


def show_documents(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    uris: Collection[str],
    columns: Mapping[str, str],
    table: Table,
) -> None:
    """Create a view of documents.

    Args:
        connection: Where to create it.
        name: Name of the view; comes from code.
        uris: The documents; there may be none.
        columns: The names of their columns, from code, with types of the contract.
        table: One whose credentials reach them.
    """
    reach(connection, table, uris)
    files = ", ".join(quoted(local_path(uri)) for uri in uris)
    empty = ", ".join(f"NULL::{declared_type(kind)} AS {column}" for column, kind in columns.items())
    relation = f"SELECT {', '.join(columns)} FROM read_parquet([{files}])" if uris else f"SELECT {empty} WHERE FALSE"
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {relation}")


def show_file(connection: duckdb.DuckDBPyConnection, name: str, uri: str, table: Table) -> None:
    """Create a view, whose name comes from code, of one Parquet file as it is. Raises UnreadableError."""
    reach(connection, table, [uri])
    connection.execute(
        f"CREATE OR REPLACE VIEW {name} AS SELECT *, {quoted(local_path(uri))} AS {FILE_COLUMN} "
        f"FROM read_parquet([{quoted(local_path(uri))}], hive_partitioning = false)"
    )


def write_document(connection: duckdb.DuckDBPyConnection, relation: str, path: Path) -> None:
    """Write a relation, whose name comes from code, in order of its columns: like values in a row take least space."""
    connection.execute(
        f"COPY (SELECT * FROM {relation} ORDER BY ALL) TO {quoted(str(path))} "
        "(FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd)"
    )


def divide_rows(
    connection: duckdb.DuckDBPyConnection, relation: str, condition: str, fulfilling: str, others: str
) -> None:
    """Create two views of a relation: the rows that fulfil a condition, and all others. All texts come from code."""
    connection.execute(f"CREATE OR REPLACE VIEW {fulfilling} AS SELECT * FROM {relation} WHERE {condition}")
    kept = f"coalesce({condition}, FALSE) = FALSE"
    connection.execute(f"CREATE OR REPLACE VIEW {others} AS SELECT * FROM {relation} WHERE {kept}")
