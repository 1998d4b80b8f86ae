"""ClickHouse in process (chdb): `MOVE PARTITION` links a partition's parts into the other table, source by source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import chdb

from benchmarks.peers.peer import MODULUS, serve

TABLE = """CREATE TABLE {} ENGINE = MergeTree PARTITION BY source_id ORDER BY (user_id, occurred_at)
SETTINGS allow_nullable_key = 1, max_partitions_to_read = -1 AS SELECT * FROM file({}, Parquet) LIMIT 0"""

COUNTED = f"""SELECT count(), sum(toUnixTimestamp64Micro(occurred_at) % {MODULUS}), sum(archived) FROM (
    SELECT occurred_at, 0 AS archived FROM messaging.hot UNION ALL SELECT occurred_at, 1 FROM messaging.archive)"""


class ClickHouse:
    def open(self, home: Path) -> None:
        self.connection = chdb.connect(str(home / "clickhouse"))

    def load(self, files: list[str], moved: int) -> None:
        self._run("CREATE DATABASE IF NOT EXISTS messaging ENGINE = Atomic")
        for name in ("hot", "archive"):
            self._run(TABLE.format(f"messaging.{name}", f"'{files[0]}'"))
        for file in files:
            self._run(f"INSERT INTO messaging.hot SELECT * FROM file('{file}', Parquet)")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("hot", "archive", sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("archive", "hot", sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        for number, source in enumerate(sources):
            if number:
                pause()
            self._run(f"ALTER TABLE messaging.{origin} MOVE PARTITION '{source}' TO TABLE messaging.{destination}")

    def rows_seen(self) -> tuple[int, int, int]:
        answer = self._run(COUNTED)
        return tuple(int(number) for number in answer.strip().split(","))

    def _run(self, sql: str) -> str:
        return str(self.connection.query(sql, "CSV"))

    def close(self) -> None:
        self.connection.close()


if __name__ == "__main__":
    serve(ClickHouse())
