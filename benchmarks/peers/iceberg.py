"""Plain pyiceberg: `append` to the archive what a scan of hot returns, then `delete` from hot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import In

from benchmarks.peers.peer import MODULUS, serve

TABLES = ("hot", "archive")


class PlainIceberg:
    def open(self, home: Path) -> None:
        self.catalog = load_catalog("plain", type="sql", uri=f"sqlite:///{home}/catalog.db", warehouse=f"file://{home}")

    def load(self, files: list[str], moved: int) -> None:
        self.catalog.create_namespace_if_not_exists("messaging")
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            rows = pq.ParquetDataset(load).read()
            if not self.catalog.table_exists("messaging.hot"):
                self._create(rows.schema.remove_metadata())
            self.catalog.load_table("messaging.hot").append(rows)

    def _create(self, schema: pa.Schema) -> None:
        for name in TABLES:
            table = self.catalog.create_table(f"messaging.{name}", schema)
            with table.update_spec() as spec:
                spec.add_identity("source_id")

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("hot", "archive", sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move("archive", "hot", sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        table = self.catalog.load_table(f"messaging.{origin}")
        these = In("source_id", sources)
        self.catalog.load_table(f"messaging.{destination}").append(table.scan(these).to_arrow())
        pause()
        table.delete(these)

    def erase(self, users: list[str]) -> None:
        self.catalog.load_table("messaging.hot").delete(In("user_id", users))

    def rows_seen(self) -> tuple[int, int, int]:
        scans = [self.catalog.load_table(f"messaging.{name}").scan(selected_fields=("occurred_at",)) for name in TABLES]
        times = [scan.to_arrow()["occurred_at"].cast(pa.int64()) for scan in scans]
        return sum(map(len, times)), sum(map(_total, times)), len(times[1])

    def close(self) -> None:
        pass


def _total(times: pa.ChunkedArray) -> int:
    rest = pc.subtract(times, pc.multiply(pc.divide(times, MODULUS), MODULUS))
    return pc.sum(rest).as_py() or 0


if __name__ == "__main__":
    serve(PlainIceberg())
