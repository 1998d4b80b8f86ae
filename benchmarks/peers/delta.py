"""Delta Lake: the archive's partitions are written anew, then hot's are deleted, which drops their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from benchmarks.peers.peer import MODULUS, serve


class Delta:
    def open(self, home: Path) -> None:
        self.hot, self.archive = str(home / "hot"), str(home / "archive")

    def load(self, files: list[str], moved: int) -> None:
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            rows = pq.ParquetDataset(load).read()
            write_deltalake(self.hot, rows, mode="append", partition_by=["source_id"])
        write_deltalake(self.archive, rows.slice(0, 0), mode="append", partition_by=["source_id"])

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.hot, self.archive, sources, pause)

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        self._move(self.archive, self.hot, sources, pause)

    def _move(self, origin: str, destination: str, sources: list[str], pause: Callable[[], None]) -> None:
        table = DeltaTable(origin)
        these = "source_id IN ({})".format(", ".join(f"'{source}'" for source in sources))
        rows = QueryBuilder().register("origin", table).execute(f"SELECT * FROM origin WHERE {these}")
        write_deltalake(destination, rows, mode="append", partition_by=["source_id"])
        pause()
        table.delete(these)

    def rows_seen(self) -> tuple[int, int, int]:
        both = QueryBuilder().register("hot", DeltaTable(self.hot)).register("archive", DeltaTable(self.archive))
        every = "SELECT occurred_at, 0 AS archived FROM hot UNION ALL SELECT occurred_at, 1 FROM archive"
        counted = f"SELECT count(*), sum(arrow_cast(occurred_at, 'Int64') % {MODULUS}), sum(archived) FROM ({every})"
        (row,) = pa.table(both.execute(counted)).to_pylist()
        return tuple(row.values())

    def close(self) -> None:
        pass


if __name__ == "__main__":
    serve(Delta())
