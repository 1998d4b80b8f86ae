"""Other engines that read our tables; runs in the environment of the one that it is asked for, without the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.peers.peer import serve


class Reader:
    """An engine that has nothing to end."""

    def close(self) -> None:
        """Stop it in order."""


class ClickHouse(Reader):
    """`icebergLocal` of ClickHouse, in process (chdb)."""

    def __init__(self) -> None:
        # It reads nothing outside of the directory where it stands.
        os.chdir("/")

    def save(self, metadata: str, path: str) -> None:
        """Read a table by its metadata file, and write all its rows to a Parquet file."""
        import chdb

        # It takes the metadata file whose name says that it is the newest, unless it is told.
        folder = Path(metadata).parents[1]
        chosen = f"SETTINGS iceberg_metadata_file_path = 'metadata/{Path(metadata).name}'"
        chdb.query(f"INSERT INTO FUNCTION file('{path}', 'Parquet') SELECT * FROM icebergLocal('{folder}', {chosen})")


class DuckDB(Reader):
    """DuckDB's own Iceberg extension."""

    def __init__(self) -> None:
        import duckdb
        import duckdb_extension_avro
        import duckdb_extension_iceberg

        self._connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self._connection.execute("SET TimeZone = 'UTC'")
        for package in (duckdb_extension_avro, duckdb_extension_iceberg):
            (extension,) = Path(package.__file__).parent.glob("extensions/*/*.duckdb_extension")
            self._connection.execute(f"LOAD '{extension}'")

    def save(self, metadata: str, path: str) -> None:
        """Read a table by its metadata file, and write all its rows to a Parquet file."""
        self._connection.execute(f"COPY (FROM iceberg_scan('{metadata}')) TO '{path}' (FORMAT parquet)")


class Polars(Reader):
    """`scan_iceberg` of Polars, with its own reader."""

    def save(self, metadata: str, path: str) -> None:
        """Read a table by its metadata file, and write all its rows to a Parquet file."""
        import polars

        polars.scan_iceberg(metadata, reader_override="native").collect().write_parquet(path)


class Daft(Reader):
    """`read_iceberg` of Daft, planned with pyiceberg."""

    def save(self, metadata: str, path: str) -> None:
        """Read a table by its metadata file, and write all its rows to a Parquet file."""
        import daft
        import pyarrow.parquet
        from pyiceberg.table import StaticTable

        rows = daft.read_iceberg(StaticTable.from_metadata(metadata)).to_arrow()
        pyarrow.parquet.write_table(rows, path)


ENGINES = {"clickhouse": ClickHouse, "duckdb-iceberg": DuckDB, "polars": Polars, "daft": Daft}
"""By the name of their environments."""

if __name__ == "__main__":
    serve(ENGINES[sys.argv[1]]())
