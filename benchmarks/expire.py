"""Expire 10 million rows of 500 sources: ours against rewriting the same rows, in the same tables, through DuckDB."""

from __future__ import annotations

import statistics
import tempfile
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import measured
from benchmarks.sample import create_warehouse
from perennial.engines.duckdb import create_view, open_connection
from perennial.moves import Run, expire_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change

ROWS, SOURCES, ROUNDS = 10_000_000, 500, 3
REWRITE = """
COPY (SELECT *, source_id AS partition FROM hot) TO '{archive}'
(FORMAT parquet, PARTITION_BY (partition), COMPRESSION zstd, OVERWRITE_OR_IGNORE)
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run() -> list[dict[str, Any]]:
    """Measure both sides on the same files, in turn; and the memory of ours at a tenth of the rows as well."""
    ours, theirs, peaks = [], [], []
    with tempfile.TemporaryDirectory() as home:
        warehouse = create_warehouse(Path(home) / "full", ROWS, SOURCES)
        originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
        for _ in range(ROUNDS):
            cost = measured(expire, warehouse.settings)
            ours.append(cost.seconds)
            peaks.append(cost.peak_bytes)
            start_again(warehouse, originals)
            theirs.append(measured(rewrite, warehouse.settings).seconds)
            start_again(warehouse, originals)
        small = create_warehouse(Path(home) / "tenth", ROWS // 10, SOURCES)
        small_peak = measured(expire, small.settings).peak_bytes
    fast, slow = statistics.median(ours), statistics.median(theirs)
    return [
        {
            "name": f"expire {ROWS:,} rows of {SOURCES} sources",
            "ours_seconds": fast,
            "other_seconds": slow,
            "ratio": slow / fast,
            "target": "at least 10x, aim 20x",
            "detail": "other: DuckDB rewrites the rows. Ours is the whole run: decisions, copies, Great Expectations, "
            "both commits, events",
        },
        {
            "name": "peak memory of an expiry",
            "ours_seconds": None,
            "other_seconds": None,
            "ratio": max(peaks) / small_peak,
            "target": "below 500 MB, and no higher for 10x the rows",
            "detail": f"{max(peaks) / 1e6:.0f} MB; {small_peak / 1e6:.0f} MB at a tenth of the rows (ratio of the two)",
        },
    ]


def expire(warehouse: Warehouse) -> None:
    """Ours: the whole of an expiry run."""
    report = expire_sources(warehouse, Run(uuid.uuid4().hex, NOW))
    assert len(report.sources) == SOURCES
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
    assert written == ROWS
    removed = FileChange(remove=[file.data_file for file in live])
    commit_change(warehouse, INTERACTIONS.name, lambda _: removed, uuid.uuid4().hex)


def start_again(warehouse: Warehouse, originals: list[Any]) -> None:
    """List the same files in hot again, and nothing in the archive: they are still there, maintenance has not run."""
    for name in (INTERACTIONS_ARCHIVE.name, LIFECYCLE_EVENTS.name):
        listed = FileChange(remove=[live.data_file for live in warehouse.live_files(warehouse.table(name))])
        commit_change(warehouse, name, lambda _, change=listed: change, uuid.uuid4().hex)
    warehouse.append_files(INTERACTIONS.name, originals, uuid.uuid4().hex)
