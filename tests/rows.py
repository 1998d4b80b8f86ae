"""Rows of the interaction tables for tests: written as real files, compared as whole multisets."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from perennial.engines.duckdb import open_connection, open_session, show_tables
from perennial.engines.write_files import write_files
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def interaction(source_id: str, number: int, **fields: Any) -> dict[str, Any]:
    """One row; the event id tells source and number."""
    return {
        "event_id": f"{source_id}#{number}",
        "event_type": "users.messages.email.Send",
        "occurred_at": EPOCH + timedelta(minutes=number),
        "user_id": f"user-{number % 7}",
        "source_id": source_id,
        "source_kind": "campaign",
        "channel": "email",
        "interaction": "received",
        **fields,
    }


def append_hot(warehouse: Warehouse, *loads: Iterable[dict[str, Any]], table: str = INTERACTIONS.name) -> None:
    """Append rows as loads do, one file a source and load; in one commit."""
    schema, files = warehouse.arrow_schema(table), []
    with _connected() as connection:
        for rows in loads:
            connection.register("fresh", pa.Table.from_pylist(list(rows), schema=schema))
            files += write_files(connection, "fresh", warehouse.table(table), uuid.uuid4().hex)
    warehouse.append_files(table, files, f"test:{uuid.uuid4().hex}")


def multiset(warehouse: Warehouse, table: str, sources: Iterable[str] | None = None) -> Counter[str]:
    """Every row of a table, whole, with how often it is there."""
    with shown(warehouse, table) as session:
        return _counted(session, table, sources)


@contextmanager
def shown(warehouse: Warehouse, *tables: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Show some tables as `open_session` does, to ask them what a test wants to know."""
    with _connected() as session:
        show_tables(session, warehouse, tables)
        yield session


def visible(warehouse: Warehouse) -> Counter[str]:
    """Every row that features may see."""
    with open_session(warehouse) as session:
        return _counted(session, "available_interactions", None)


def hot_and_archive(warehouse: Warehouse) -> Counter[str]:
    return multiset(warehouse, INTERACTIONS.name) + multiset(warehouse, INTERACTIONS_ARCHIVE.name)


_kept = threading.local()


@contextmanager
def _connected() -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend the thread's connection: to open one takes as long as the rows of most tests."""
    connection: duckdb.DuckDBPyConnection | None = getattr(_kept, "connection", None)
    _kept.connection = None
    if connection is None:
        connection = open_connection()
        # What it remembers of a file may be of another test.
        connection.execute("SET enable_external_file_cache = false")
    yield connection
    _kept.connection = connection


def _counted(session: duckdb.DuckDBPyConnection, view: str, sources: Iterable[str] | None) -> Counter[str]:
    chosen = "" if sources is None else " WHERE list_contains($sources, source_id)"
    binds = None if sources is None else {"sources": list(sources)}
    return Counter(
        str(text) for (text,) in session.execute(f"SELECT to_json(r) FROM {view} AS r{chosen}", binds).fetchall()
    )
