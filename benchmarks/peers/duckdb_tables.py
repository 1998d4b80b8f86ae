"""DuckDB with tables of its own: INSERT and DELETE of the rows in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.peers.peer import MODULUS, serve

COUNTED = f"""SELECT count(*), sum(epoch_us(occurred_at) % {MODULUS})::BIGINT, sum(archived)::BIGINT FROM (
    SELECT occurred_at, 0 AS archived FROM hot UNION ALL SELECT occurred_at, 1 FROM archive)"""


class DuckDB:
    def open(self, home: Path) -> None:
        self.connection = duckdb.connect(str(home / "messaging.duckdb"))

    def load(self, files: list[str], moved: int) -> None:
        self.connection.execute("CREATE TABLE hot AS SELECT * FROM read_parquet(?)", [files])
        self.connection.execute("CREATE TABLE archive AS FROM hot LIMIT 0")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("hot", "archive", sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("archive", "hot", sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        self.connection.begin()
        these = f"FROM {origin} WHERE list_contains(?, source_id)"
        self.connection.execute(f"INSERT INTO {destination} SELECT * {these}", [sources])
        pause()
        self.connection.execute(f"DELETE {these}", [sources])
        self.connection.commit()

    def rows_seen(self) -> tuple[int, int, int]:
        # A cursor is a connection of its own.
        with self.connection.cursor() as reader:
            return reader.execute(COUNTED).fetchone()

    def close(self) -> None:
        self.connection.close()


if __name__ == "__main__":
    serve(DuckDB())
