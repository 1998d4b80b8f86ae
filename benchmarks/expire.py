"""Expire 10 million rows of 500 sources: ours against rewriting the same rows, in the same tables, through DuckDB."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Cost, Figure, in_turn
from benchmarks.processes import measured
from benchmarks.sample import create_warehouse
from perennial.engines.duckdb import create_view, open_connection
from perennial.moves import Run, expire_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change

ROWS, SOURCES = 10_000_000, 500
# Sources, loads of each; how many times as long rewriting should take, and has to.
SHAPES = ((SOURCES, 2, 20, 12), (100, 1, 40, 25))
REWRITE = """
COPY (SELECT *, source_id AS partition FROM hot) TO '{archive}'
(FORMAT parquet, PARTITION_BY (partition), COMPRESSION zstd, OVERWRITE_OR_IGNORE)
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run() -> list[Figure]:
    """Measure both sides on the same files, in turn; and the memory of ours at a tenth of the rows as well."""
    figures = []
    with tempfile.TemporaryDirectory() as home:
        for sources, loads, aim, must in SHAPES:
            warehouse = create_warehouse(Path(home) / f"of-{sources}", ROWS, sources, loads=loads)
            originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
            cost = in_turn({name: once(work, warehouse, originals) for name, work in SIDES.items()})
            figures.append(
                Figure(
                    f"expire {ROWS:,} rows of {sources} sources, {len(originals):,} files",
                    cost["duckdb"].seconds / cost["ours"].seconds,
                    aim=aim,
                    must=must,
                    ours=cost["ours"],
                    other=cost["duckdb"],
                    detail="other: DuckDB rewrites the rows. Ours is the whole run: decisions, copies, Great "
                    "Expectations, both commits, events",
                )
            )
        tenth = create_warehouse(Path(home) / "tenth", ROWS // 10, SOURCES)
        small = measured(expire, tenth.settings)
    return [*figures, Figure(f"the first at a tenth of the rows: {ROWS // 10:,}", ours=small, detail="memory is flat")]


def once(work: Callable[[Warehouse], None], warehouse: Warehouse, originals: list[Any]) -> Callable[[], Cost]:
    """One measurement of some work, after which hot lists the same files again."""

    def measure() -> Cost:
        cost = measured(work, warehouse.settings)
        start_again(warehouse, originals)
        return cost

    return measure


def expire(warehouse: Warehouse) -> None:
    """Ours: the whole of an expiry run."""
    report = expire_sources(warehouse, Run(uuid.uuid4().hex, NOW))
    assert report.sources
    assert not warehouse.source_totals(INTERACTIONS.name)


def rewrite(warehouse: Warehouse) -> None:
    """The alternative: DuckDB reads the rows and writes them, on all cores and unsorted; then hot lets go of its files.

    In its favour, the archive's commit and any check of what was written are left out.
    """
    hot = warehouse.table(INTERACTIONS.name)
    live = list(warehouse.live_files(hot))
    with open_connection() as connection, tempfile.TemporaryDirectory(dir=warehouse.settings.home) as archive:
        create_view(connection, "hot", live, hot)
        connection.execute(REWRITE.format(archive=archive))
        (written,) = connection.execute(f"SELECT count(*) FROM read_parquet('{archive}/*/*.parquet')").fetchone()
    assert written == sum(file.row_count for file in live)
    removed = FileChange(remove=[file.data_file for file in live])
    commit_change(warehouse, INTERACTIONS.name, lambda _: removed, uuid.uuid4().hex)


def start_again(warehouse: Warehouse, originals: list[Any]) -> None:
    """List the same files in hot again, and nothing in the archive: they are still there, maintenance has not run."""
    for name in (INTERACTIONS_ARCHIVE.name, LIFECYCLE_EVENTS.name):
        listed = FileChange(remove=[live.data_file for live in warehouse.live_files(warehouse.table(name))])
        commit_change(warehouse, name, lambda _, change=listed: change, uuid.uuid4().hex)
    warehouse.append_files(INTERACTIONS.name, originals, uuid.uuid4().hex)


SIDES = {"ours": expire, "duckdb": rewrite}
