"""The peers: which there are, and what each needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.peers.environments import debian_environment, python_environment

SPARK = ("--no-deps", "pyspark==3.5.9", "py4j==0.10.9.7", "snowpark-connect-deps-iceberg==1.0.2", "setuptools")
POSTGRES = ("postgresql-15", "postgresql-client-15", "postgresql-15-partman")


@dataclass(frozen=True)
class Entry:
    """A peer.

    Attributes:
        title: Its name in the table.
        module: Beside this one.
        python: Installs what it needs and returns the interpreter to run it with.
        folder: Installs what it needs besides and returns where that is.
        arguments: For its module.
        readable: Whether its archive can be queried.
    """

    title: str
    module: str
    python: Callable[[], Path] = lambda: Path(sys.executable)
    folder: Callable[[], Path] = Path
    arguments: tuple[str, ...] = ()
    readable: bool = True


DEBIAN = partial(debian_environment, "postgres", *POSTGRES)
PEERS = {
    "ours": Entry("Perennial", "ours"),
    "postgres": Entry("PostgreSQL 15, pg_partman: to another schema", "postgres", folder=DEBIAN),
    "dump": Entry(
        "PostgreSQL 15, pg_partman: dump, drop, restore", "postgres", folder=DEBIAN, arguments=("dump",), readable=False
    ),
    "delta": Entry(
        "Delta Lake 1.6.6: append, delete",
        "delta",
        partial(python_environment, "delta", "deltalake==1.6.6", "pyarrow==26.0.1"),
    ),
    "iceberg": Entry("pyiceberg: append, delete", "iceberg"),
    "clickhouse": Entry(
        "ClickHouse (chdb 4.4.0): MOVE PARTITION",
        "clickhouse",
        partial(python_environment, "clickhouse", "chdb==4.4.0"),
    ),
    "spark": Entry(
        "Spark 3.5.9, Iceberg 1.10.2: INSERT, DELETE", "spark", partial(python_environment, "spark", *SPARK)
    ),
    "duckdb": Entry("DuckDB, Parquet files: COPY, delete", "duckdb_files"),
    "duckdb_tables": Entry("DuckDB, tables of its own: one transaction", "duckdb_tables"),
}
