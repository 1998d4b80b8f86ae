"""The peers: which there are, and what each needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.environments import debian_environment, python_environment


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


DEBIAN = partial(debian_environment, "postgres")
PEERS = {
    "ours": Entry("Perennial", "ours"),
    "postgres": Entry("PostgreSQL 15, pg_partman: to another schema", "postgres", folder=DEBIAN),
    "dump": Entry(
        "PostgreSQL 15, pg_partman: dump, drop, restore", "postgres", folder=DEBIAN, arguments=("dump",), readable=False
    ),
    "delta": Entry(
        "Delta Lake 1.6.6: append, delete",
        "delta",
        partial(python_environment, "delta"),
    ),
    "iceberg": Entry("pyiceberg: append, delete", "iceberg"),
    "clickhouse": Entry(
        "ClickHouse (chdb 4.4.0): MOVE PARTITION",
        "clickhouse",
        partial(python_environment, "clickhouse"),
    ),
    "spark": Entry("Spark 3.5.9, Iceberg 1.10.2: INSERT, DELETE", "spark", partial(python_environment, "spark")),
    "duckdb": Entry("DuckDB, Parquet files: COPY, delete", "duckdb_files"),
    "duckdb_tables": Entry("DuckDB, tables of its own: one transaction", "duckdb_tables"),
}
