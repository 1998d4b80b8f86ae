"""DuckDB over folders of Parquet files: rows are written anew in the archive, then the files in hot deleted."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.peers.peer import MODULUS, serve

REWRITE = """COPY (SELECT *, source_id AS partition FROM read_parquet(?, hive_partitioning = false)) TO '{}'
(FORMAT parquet, PARTITION_BY (partition), COMPRESSION zstd, FILENAME_PATTERN '{}_{{i}}', OVERWRITE_OR_IGNORE)"""

COUNTED = f"""SELECT count(*), sum(epoch_us(occurred_at) % {MODULUS})::BIGINT,
    count(*) FILTER (starts_with(filename, ?)) FROM read_parquet(?, filename = true)"""


class Files:
    def open(self, home: Path) -> None:
        self.hot, self.archive = home / "hot", home / "archive"

    def load(self, files: list[str], moved: int) -> None:
        self.archive.mkdir()
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            self._write(load, self.hot)

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.hot, self.archive, sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.archive, self.hot, sources, pause)

    def _move(self, origin: Path, destination: Path, sources: list[str], pause: Callable[[], None]) -> None:
        folders = [origin / f"partition={source}" for source in sources]
        self._write([str(file) for folder in folders for file in folder.glob("*.parquet")], destination)
        pause()
        for folder in folders:
            shutil.rmtree(folder)

    def _write(self, files: list[str], folder: Path) -> None:
        with duckdb.connect() as connection:
            connection.execute(REWRITE.format(folder, uuid.uuid4().hex), [files])

    def rows_seen(self) -> tuple[int, int, int]:
        files = [str(file) for folder in (self.hot, self.archive) for file in folder.glob("*/*.parquet")]
        with duckdb.connect() as connection:
            return connection.execute(COUNTED, [str(self.archive), files]).fetchone()

    def close(self) -> None:
        pass


if __name__ == "__main__":
    serve(Files())
