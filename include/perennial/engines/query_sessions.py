"""Queries to DuckDB in process, or to the configured engine: the callers cannot tell which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb

from perennial.engines.protocol import BATCH_ROWS, Engine
from perennial.errors import TerminalEngineError
from perennial.settings import IN_PROCESS, SPARK_CONNECT, Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.engines.transpile import Relations


def open_engine(settings: Settings) -> Engine | None:
    """Return the engine of PERENNIAL_ENGINE_URL; None for DuckDB in process."""
    if settings.engine_url.startswith(IN_PROCESS):
        return None
    if settings.engine_url.startswith(SPARK_CONNECT):
        from perennial.engines.spark import SparkEngine

        return SparkEngine(settings.engine_url)
    from perennial.engines.sqlalchemy import SqlAlchemyEngine

    return SqlAlchemyEngine(settings.engine_url)


@dataclass(frozen=True)
class DuckDBSession:
    """Queries to a connection in which every relation is in place."""

    connection: duckdb.DuckDBPyConnection
    dialect: ClassVar[str] = "duckdb"

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, batch_rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Run a query and stream the answer."""
        try:
            return self.connection.sql(sql, params=dict(params or {})).to_arrow_reader(batch_rows)
        except (duckdb.ProgrammingError, duckdb.DataError) as error:
            raise TerminalEngineError(f"DuckDB refuses the statement: {error}") from error

    def ask(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.RecordBatchReader:
        """Run an analyst's query, which is in the same dialect."""
        return self.query(sql, params)

    def define(self, name: str, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Write the answer to a table."""
        self.connection.sql(sql, params=dict(params or {})).create(name)

    def materialize(self, name: str, sql: str) -> None:
        """Create a view of the statement."""
        self.connection.sql(sql).create_view(name)

    def close(self) -> None:
        """Do nothing: the connection belongs to the session."""


@dataclass(frozen=True)
class EngineSession:
    """Queries to an engine that reads the tables itself.

    Attributes:
        engine: Who is asked.
        relations: What statements may read, pinned to the moment of the session.
        connection: The session's own, where decisions have been made.
    """

    engine: Engine
    relations: Relations
    connection: duckdb.DuckDBPyConnection

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, batch_rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Write the statement in the engine's dialect, ask, and stream the answer."""
        rendered = self.relations.render(sql, params or {}, self.engine.dialect)
        return self.engine.query(rendered.sql, rendered.binds, batch_rows)

    def ask(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.RecordBatchReader:
        """Put the tables and views of the session into the statement, ask, and stream the answer."""
        completed = self.relations.complete(sql, params or {}, self.engine.dialect)
        return self.engine.query(completed.sql, completed.binds, BATCH_ROWS)

    @property
    def dialect(self) -> str:
        """The engine's."""
        return self.engine.dialect.name

    def define(self, name: str, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Remember the statement: it becomes part of those that read it, for not every engine has temporary tables."""
        self.relations.define(name, sql, params or {})

    def materialize(self, name: str, sql: str) -> None:
        """Register the answer as it streams in."""
        self.connection.register(name, self.query(sql))

    def close(self) -> None:
        """Close the connection to the engine."""
        self.engine.close()
