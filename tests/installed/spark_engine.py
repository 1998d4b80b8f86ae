"""The project's statements on Apache Spark with Iceberg's runtime: it has no server for Spark Connect, so its own process is asked."""

from __future__ import annotations

import base64
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from perennial.engines.dialects import SPARK, Dialect
from perennial.errors import TerminalEngineError
from tests.installed.spark import ApacheSpark


class ApacheEngine:
    """Takes the place of `perennial.engines.spark.SparkEngine`, which renders the same text and the same binds.

    Args:
        spark: Connected to the workspace.
        folder: Where answers and uploads go.
    """

    def __init__(self, spark: ApacheSpark, folder: Path) -> None:
        self.spark = spark
        self.folder = folder

    @property
    def dialect(self) -> Dialect:
        return SPARK

    def query(self, sql: str, binds: Mapping[str, Any], batch_rows: int) -> pa.RecordBatchReader:
        path = self._path()
        try:
            self.spark.ask(
                "answer", statement=sql, binds=base64.b64encode(pickle.dumps(dict(binds))).decode(), path=path
            )
        except RuntimeError as error:
            raise TerminalEngineError(f"Apache Spark refuses the statement: {error}\n{sql}") from error
        return parquet.read_table(path).to_reader(batch_rows)

    def upload(self, name: str, rows: pa.Table) -> bool:
        path = self._path()
        parquet.write_table(rows, path)
        self.spark.ask("upload", name=name, path=path)
        return True

    def close(self) -> None:
        """Do nothing: the process serves all tests."""

    def _path(self) -> str:
        return str(self.folder / uuid.uuid4().hex)
