"""Spark through Spark Connect: one session per query, answers as Arrow, one batch at a time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from perennial.engines.dialects import SPARK
from perennial.engines.protocol import DENIED, importing_spark
from perennial.errors import PerennialError, TerminalEngineError, TransientEngineError

with importing_spark():
    from pyspark.errors import (
        AnalysisException,
        ArithmeticException,
        ArrayIndexOutOfBoundsException,
        DateTimeException,
        IllegalArgumentException,
        ParseException,
        PySparkException,
        SparkRuntimeException,
        UnsupportedOperationException,
    )
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

if TYPE_CHECKING:
    from perennial.engines.dialects import Dialect

# A division by zero fails again when it is retried, so errors from data count as errors of the statement.
_REFUSALS = (
    AnalysisException,
    ArithmeticException,
    ArrayIndexOutOfBoundsException,
    DateTimeException,
    IllegalArgumentException,
    ParseException,
    UnsupportedOperationException,
)
# Sail has one class for failed casts and for its internal errors.
_OF_VALUES = re.compile(r"cast error|can(?:no|')t cast|overflow|by zero|out of range", re.IGNORECASE)
# By default the client tries for ten minutes before it reports that nobody answers.
_RETRIES = DefaultPolicy(max_retries=4, initial_backoff=200, max_backoff=2_000)


class SparkEngine:
    """A session on a Spark Connect server.

    Args:
        url: `sc://host:port`, with Spark Connect's options such as `/;token=…;use_ssl=true`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: SparkSession | None = None

    @property
    def dialect(self) -> Dialect:
        return SPARK

    def query(self, sql: str, binds: Mapping[str, Any], batch_rows: int) -> pa.RecordBatchReader:  # noqa: ARG002 - Spark decides
        """Run a statement; Spark decides how many rows a batch has."""
        with self._engine_errors():
            frame = self._session().sql(sql, args=dict(binds))
            found = to_arrow_schema(frame.schema, timezone="UTC")
        schema = pa.schema([field.with_nullable(True) for field in found])
        return pa.RecordBatchReader.from_batches(schema, self._batches(frame, schema))

    def upload(self, name: str, rows: pa.Table) -> bool:
        """Make the rows a temporary view of the session."""
        with self._engine_errors():
            self._session().createDataFrame(rows, schema=from_arrow_schema(rows.schema)).createOrReplaceTempView(name)
        return True

    def close(self) -> None:
        """End the session; a server that is gone has ended it already."""
        if self._opened is not None:
            with suppress(PySparkException):
                self._opened.stop()
            self._opened = None

    def _session(self) -> SparkSession:
        if self._opened is None:
            session = SparkSession(connection=self.url)
            session.client.set_retry_policies([_RETRIES])
            session.conf.set("spark.sql.session.timeZone", "UTC")
            self._opened = session
        return self._opened

    def _batches(self, frame: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        # Like DataFrame.toArrow(), but without waiting for the last row; there is no public way to do that.
        client = self._session().client
        with self._engine_errors():
            answers = client.to_table_as_iterator(frame._plan.to_proto(client), {})
        while True:
            # Not around the whole loop: an error between two batches is the reader's own.
            with self._engine_errors():
                answer = next(answers, None)
            if answer is None:
                return
            if isinstance(answer, pa.Table):
                yield from answer.cast(schema).to_batches()

    @contextmanager
    def _engine_errors(self) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                # The error contains the warning that it gives when it gives up.
                warnings.simplefilter("ignore")
                yield
        except PySparkException as error:
            raise self._error(error) from error

    def _error(self, error: PySparkException) -> PerennialError:
        server, said = urlsplit(self.url).netloc, str(error).strip()
        if DENIED.search(said):
            return TerminalEngineError(
                f"PERENNIAL_ENGINE_URL: Spark at {server} refuses the login, or may not read the tables; "
                f"correct the token in the URL, or Spark's own rights. It said: {said}"
            )
        if isinstance(error, _REFUSALS) or (isinstance(error, SparkRuntimeException) and _OF_VALUES.search(said)):
            return TerminalEngineError(f"PERENNIAL_ENGINE_URL: Spark at {server} refuses the statement: {said}")
        return TransientEngineError(
            f"PERENNIAL_ENGINE_URL: Spark at {server} could not be reached, or gave up; check that it is "
            f"running, and try again. It said: {said}"
        )
