"""Engines behind SQLAlchemy: Athena (PyAthena) and Trino."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, ProgrammingError

from perennial.engines.columns import trino_arrow_type
from perennial.engines.dialects import ATHENA, TRINO
from perennial.engines.protocol import DENIED
from perennial.errors import PerennialError, TerminalEngineError, TransientEngineError

if TYPE_CHECKING:
    from perennial.engines.dialects import Dialect

_DIALECTS = {"awsathena": ATHENA, "trino": TRINO}
# A string literal, or a colon outside of literals that does not begin a bind.
_COLONS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
# Trino's names for errors of the statement itself; PyAthena has one class of error for everything.
_REFUSALS = re.compile(
    r"SYNTAX_ERROR|NOT_FOUND|MISMATCH|NOT_SUPPORTED|INVALID_|MISSING_|AMBIGUOUS_|mismatched input"
    r"|DIVISION_BY_ZERO|NUMERIC_VALUE_OUT_OF_RANGE"
)


class SqlAlchemyEngine:
    """A connection of SQLAlchemy, opened by the first query.

    Args:
        url: A SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._opened: Connection | None = None

    @property
    def dialect(self) -> Dialect:
        return _DIALECTS[self.url.get_backend_name()]

    def query(self, sql: str, binds: Mapping[str, Any], batch_rows: int) -> pa.RecordBatchReader:
        """Run a statement; the first batch is fetched at once, the others on demand."""
        with self._engine_errors():
            answer = self._connection().execute(sqlalchemy.text(escaped(sql)), dict(binds))
            names, codes = list(answer.keys()), [column[1] for column in answer.cursor.description]
            batches = (list(rows) for rows in answer.partitions(batch_rows))
            first = next(batches, [])
        schema = pa.schema(
            [
                (name, _type(code, [row[position] for row in first]))
                for position, (name, code) in enumerate(zip(names, codes, strict=True))
            ]
        )
        return pa.RecordBatchReader.from_batches(schema, self._batches(chain([first], batches), schema))

    def upload(self, name: str, rows: pa.Table) -> bool:  # noqa: ARG002 - the protocol's
        """Return False: neither Athena nor Trino has temporary tables."""
        return False

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened.engine.dispose()
            self._opened = None

    def _connection(self) -> Connection:
        if self._opened is None:
            self._opened = sqlalchemy.create_engine(self.url).connect().execution_options(stream_results=True)
        return self._opened

    def _batches(self, batches: Iterator[Sequence[Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._engine_errors():
            for rows in batches:
                columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
                arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    @contextmanager
    def _engine_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Not only errors of SQLAlchemy: drivers pass on the errors of the libraries below them.
            raise self._error(error) from error

    def _error(self, error: Exception) -> PerennialError:
        server = f"PERENNIAL_ENGINE_URL: {self.url.render_as_string(hide_password=True)}"
        said = str(error.orig if isinstance(error, DBAPIError) else error).strip()
        if DENIED.search(said):
            return TerminalEngineError(
                f"{server} refuses the login, or the login may not read; correct it. It said: {said}"
            )
        if isinstance(error, ProgrammingError) or _REFUSALS.search(said):
            return TerminalEngineError(f"{server} refuses the statement: {said}")
        return TransientEngineError(
            f"{server} could not be reached, or gave up; check that it is running, and try again. It said: {said}"
        )


def escaped(sql: str) -> str:
    """Escape what looks like a bind inside a string literal."""
    return _COLONS.sub(lambda found: found[0].replace(":", r"\:"), sql)


def _type(code: object, values: Sequence[Any]) -> pa.DataType:
    """Determine a column's type from the driver's name for it, or else from its first values."""
    word = re.match(r"[a-z]+", code) if isinstance(code, str) else None
    known = trino_arrow_type(word[0]) if word else None
    if known is None:
        known = pa.array(values).type
    # Nothing but nulls so far.
    return pa.string() if pa.types.is_null(known) else known
