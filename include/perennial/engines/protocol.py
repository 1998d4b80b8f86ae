"""What every engine can do, and which one is configured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.engines.dialects import Dialect

DENIED = re.compile(
    r"unauthenticated|unauthorized|permission.?denied|access.?denied|forbidden|authenticat|security token|credential",
    re.IGNORECASE,
)
"""What a server says to who may not: a person has to change something first."""
BATCH_ROWS = 10_000
"""Rows fetched at a time: enough to keep an engine busy, a few megabytes."""


class QuerySession(Protocol):
    """What is asked of the tables, as of one moment; statements are in DuckDB's dialect, every value is a bind.

    Nothing is decided here: which sources an answer needs, and which of them are hidden, has been worked out before.
    """

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in process, where decisions are made."""

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, batch_rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Ask, and stream the answer.

        Raises:
            TerminalEngineError: The engine refuses the statement or the login.
            TransientEngineError: It could not be reached, or gave up.
        """

    def define(self, name: str, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Let later statements read this one under a name; of a CREATE, what it creates."""

    def materialize(self, name: str, sql: str) -> None:
        """Put the answer into the session's own DuckDB connection, as a view that is read once."""

    def close(self) -> None:
        """Let go of the engine."""


class Engine(Protocol):
    """A server that reads the tables itself; it is called when it is first asked."""

    @property
    def dialect(self) -> Dialect:
        """How its SQL differs."""

    def query(self, sql: str, binds: Mapping[str, Any], batch_rows: int) -> pa.RecordBatchReader:
        """Run a statement of its own dialect, with binds `:name`; errors as in `Facts.query`."""

    def append(self, table: Sequence[str], columns: Sequence[str], sql: str, binds: Mapping[str, Any]) -> None:
        """Write the rows of a statement of its own dialect to a table; errors as in `Facts.query`.

        Args:
            table: Catalog (where the engine needs one), namespace and name.
            columns: What the statement returns, in order.
            sql: A SELECT; binds are `:name`.
            binds: Their values.
        """

    def upload(self, name: str, rows: pa.Table) -> bool:
        """Hand a relation over for the rest of the session; False where the engine has no place for it."""

    def close(self) -> None:
        """Let go of it."""
