"""The protocol of every engine."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.engines.dialects import Dialect

DENIED = re.compile(
    r"unauthenticated|unauthorized|permission.?denied|access.?denied|forbidden|authenticat|security token|credential",
    re.IGNORECASE,
)
"""Words of a server that refuses access, which a person has to correct."""
BATCH_ROWS = 10_000
"""Rows fetched at a time: enough to keep an engine busy, a few megabytes."""


class QuerySession(Protocol):
    """Queries on the tables as of one moment; our statements are in DuckDB's dialect, every value is a bind.

    No decisions are made here: which sources an answer needs, and which are hidden, is determined before.
    """

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in process, where decisions are made."""

    @property
    def dialect(self) -> str:
        """The dialect of `ask`, by sqlglot's name."""

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, batch_rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Run a query and stream the answer.

        Raises:
            TerminalEngineError: The engine refuses the statement or the login.
            TransientEngineError: It could not be reached, or gave up.
        """

    def ask(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.RecordBatchReader:
        """Run an analyst's query in the engine's own dialect and stream the answer; errors as in `query`.

        Raises:
            TerminalRequestError: It is not a SELECT, or a part of it has the name of a table or view.
        """

    def define(self, name: str, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Let later statements read this one under a name; of a CREATE, the relation that it creates."""

    def materialize(self, name: str, sql: str) -> None:
        """Put the answer into the session's own DuckDB connection, as a view that is read once."""

    def close(self) -> None:
        """Close the connection to the engine."""


class Engine(Protocol):
    """A server that reads the tables itself; the first query connects to it."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of its SQL."""

    def query(self, sql: str, binds: Mapping[str, Any], batch_rows: int) -> pa.RecordBatchReader:
        """Run a statement in its own dialect, with binds `:name`; errors as in `QuerySession.query`."""

    def upload(self, name: str, rows: pa.Table) -> bool:
        """Upload a relation for the rest of the session; False if the engine cannot store it."""

    def close(self) -> None:
        """Close the connection."""


@contextmanager
def importing_spark() -> Iterator[None]:
    """Make the import of Spark's client safe: it neither warns of pandas 3 nor ends the process.

    If the main module has no file (`python -c`, a forked worker), the client assumes a doctest, and exits if Spark is
    not installed. No switch turns that off, so the module gets a file until the import is done.
    """
    main = sys.modules["__main__"]
    missing = not hasattr(main, "__file__")
    if missing:
        main.__file__ = __file__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if missing:
            del main.__file__
