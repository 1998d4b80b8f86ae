"""Ours: the whole of an expiry and of a restore, as the DAGs run them, in one process."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from benchmarks.peers.peer import MODULUS, serve
from benchmarks.sample import replace, source_row
from perennial import quality
from perennial.engines.duckdb import open_connection, open_session
from perennial.engines.write_files import write_files
from perennial.moves import Run, expire_sources, inline, restore_sources
from perennial.moves.commit import commit_destination
from perennial.settings import Settings
from perennial.tables import AUDIENCES, INTERACTIONS, SOURCE_TAGS, SOURCES
from perennial.warehouse import Warehouse

FIRST = datetime(2025, 10, 1, tzinfo=UTC)
# What was restored expires again after three months.
AGAIN = timedelta(days=100)
# What features see, and the archive's rows of what they do not see.
EVERY = f"""SELECT count(*), sum(epoch_us(occurred_at) % {MODULUS})::BIGINT, sum(archived)::BIGINT FROM (
    SELECT occurred_at, 0 AS archived FROM available_interactions
    UNION ALL
    SELECT occurred_at, 1 FROM interactions_archive WHERE source_id IN (SELECT source_id FROM hidden_sources)
)"""


class Perennial:
    def open(self, home: Path) -> None:
        self.warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home / "perennial")}))
        self.as_of = FIRST
        # Imports are not the move's.
        quality._great_expectations()

    def load(self, files: list[str], moved: int) -> None:
        self.warehouse.create_tables()
        for load in (files[: len(files) // 2], files[len(files) // 2 :]):
            with open_connection() as connection:
                connection.execute("CREATE TEMP TABLE fresh AS FROM read_parquet(?)", [load])
                stem = uuid.uuid4().hex
                written = write_files(connection, "fresh", self.warehouse.table(INTERACTIONS.name), stem)
            self.warehouse.append_files(INTERACTIONS.name, written, stem)
        sources = [source_row(n, "stopped" if n < moved else "active") for n in range(len(files) // 2)]
        replace(self.warehouse, SOURCES.name, sources)
        replace(self.warehouse, SOURCE_TAGS.name, [])
        replace(self.warehouse, AUDIENCES.name, [])

    def move_out(self, sources: list[str], pause: Callable[[], None]) -> None:
        with _pausing(pause):
            expire_sources(self.warehouse, Run(uuid.uuid4().hex, self.as_of))
        self.as_of += AGAIN

    def move_back(self, sources: list[str], pause: Callable[[], None]) -> None:
        request = {"source_ids": sources, "notify": ["ann@example.com"], "reason": "benchmark"}
        with _pausing(pause):
            restore_sources(self.warehouse, request, Run(uuid.uuid4().hex, self.as_of - AGAIN + timedelta(days=1)))

    def rows_seen(self) -> tuple[int, int, int]:
        with open_session(Warehouse(self.warehouse.settings)) as session:
            return session.execute(EVERY).fetchone()

    def close(self) -> None:
        pass


def _pausing(pause: Callable[[], None]) -> AbstractContextManager[object]:
    """Pause between the commit that lists the copies and the one that removes their originals."""

    def commit(*args: object) -> None:
        commit_destination(*args)
        pause()

    return patch.object(inline, "commit_destination", commit)


if __name__ == "__main__":
    serve(Perennial())
