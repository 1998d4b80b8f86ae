"""The whole warehouse for analysts, through the configured engine: every table and view, as of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perennial.engines.columns import SOURCE_TOTALS, quoted
from perennial.engines.duckdb import (
    STATE_VIEWS,
    STATUS_TABLES,
    VIEWS,
    at_one_moment,
    create_state_views,
    open_session,
    source_totals,
)
from perennial.engines.protocol import Engine, QuerySession
from perennial.engines.query_sessions import DuckDBSession, EngineSession, open_engine
from perennial.statements import purpose, statement
from perennial.tables import TABLES
from perennial.tables import VIEWS as PUBLIC_VIEWS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse


def open_described_session(warehouse: Warehouse) -> DuckDBPyConnection:
    """Open a connection with every table and view, which completion and tools show with what they and columns mean."""
    connection = open_session(warehouse)
    for table in TABLES:
        _comment(connection, table.name, table.doc, {column.name: column.doc for column in table.columns})
    for view in PUBLIC_VIEWS:
        present = set(connection.view(view.name).columns)
        docs = {name: doc for name, doc in view.docs.items() if name in present}
        _comment(connection, view.name, purpose(f"views/create_{view.name}"), docs)
    return connection


def _comment(connection: DuckDBPyConnection, name: str, doc: str, docs: Mapping[str, str]) -> None:
    columns = [f"COMMENT ON COLUMN {name}.{column} IS {quoted(text)}" for column, text in docs.items()]
    connection.execute("; ".join([f"COMMENT ON VIEW {name} IS {quoted(doc)}", *columns]))


@contextmanager
def open_query_session(warehouse: Warehouse) -> Iterator[QuerySession]:
    """Open everything that `perennial.connect()` shows, in the engine of PERENNIAL_ENGINE_URL.

    In the session's connection `source_states` and `lifecycle_events` are in place, as of the same moment.
    """
    engine = open_engine(warehouse.settings)
    if engine is None:
        with open_session(warehouse) as connection:
            yield DuckDBSession(connection)
        return
    session = at_one_moment(warehouse, lambda: _whole(engine, warehouse))
    with session.connection:
        try:
            yield session
        finally:
            session.close()


def _whole(engine: Engine, warehouse: Warehouse) -> EngineSession:
    from perennial.engines.transpile import relations_at_snapshots

    relations = relations_at_snapshots(warehouse.settings, (warehouse.table(table.name) for table in TABLES))
    # From manifests in either case, not by a scan: archived files may be in cold storage.
    if engine.upload("source_totals", source_totals(warehouse)):
        relations.upload("source_totals", SOURCE_TOTALS)
    else:
        relations.define("source_totals", statement("engines/select_source_totals"), {})
    relations.define("retention", statement("views/create_retention"), {"months": warehouse.settings.retention_months})
    for view in (*STATE_VIEWS, "known_source_tags", "source_availability", *VIEWS):
        relations.define(view, statement(f"views/create_{view}"), {})
    # Which sources an answer leaves out is determined in process.
    deciding = open_session(warehouse, STATUS_TABLES)
    create_state_views(deciding, warehouse.settings.retention_months)
    return EngineSession(engine, relations, deciding)
