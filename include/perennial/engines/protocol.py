"""What every engine can do, and which one is configured."""

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
"""What a server says to who may not: a person has to change something first."""
BATCH_ROWS = 10_000
"""Rows fetched at a time: enough to keep an engine busy, a few megabytes."""


class QuerySession(Protocol):
    """What is asked of the tables, as of one moment; our statements are in DuckDB's dialect, every value is a bind.

    Nothing is decided here: which sources an answer needs, and which of them are hidden, has been worked out before.
    """

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB in process, where decisions are made."""

    @property
    def dialect(self) -> str:
        """What `ask` takes, as sqlglot calls it."""

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, batch_rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Ask, and stream the answer.

        Raises:
            TerminalEngineError: The engine refuses the statement or the login.
            TransientEngineError: It could not be reached, or gave up.
        """

    def ask(self, sql: str, params: Mapping[str, Any] | None = None) -> pa.RecordBatchReader:
        """Ask what an analyst wrote in the engine's own dialect, and stream the answer; errors as in `query`.

        Raises:
            TerminalRequestError: It is no SELECT, or a part of it has the name of a table or view.
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
        """Run a statement of its own dialect, with binds `:name`; errors as in `QuerySession.query`."""

    def upload(self, name: str, rows: pa.Table) -> bool:
        """Hand a relation over for the rest of the session; False where the engine has no place for it."""

    def close(self) -> None:
        """Let go of it."""


@contextmanager
def importing_spark() -> Iterator[None]:
    """Let Spark's client be imported by whoever does it: it neither warns of pandas 3 nor ends the process.

    Where the main module has no file (`python -c`, a forked worker) it takes itself to be in a doctest, and exits where
    there is no Spark beside it. Nothing turns that off, so the module has a file until the import is done.
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
