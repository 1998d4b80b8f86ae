"""Expire 10 million rows of 500 sources: ours against rewriting the same rows, in the same tables, through DuckDB."""

from __future__ import annotations

import statistics
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.processes import Cost, cost_of
from benchmarks.sample import create_warehouse
from perennial.engines.duckdb import create_view, open_connection
from perennial.moves import Run, expire_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change

ROWS, SOURCES, ROUNDS = 10_000_000, 500, 3
# Sources, loads of each, and what is to be reached.
SHAPES = ((SOURCES, 2, "at least 12x, aim 20x"), (100, 1, "at least 25x, aim 40x"))
REWRITE = """
COPY (SELECT *, source_id AS partition FROM hot) TO '{archive}'
(FORMAT parquet, PARTITION_BY (partition), COMPRESSION zstd, OVERWRITE_OR_IGNORE)
"""
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run() -> list[dict[str, Any]]:
    """Measure both sides on the same files, in turn; and the memory of ours at a tenth of the rows as well."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for sources, loads, target in SHAPES:
            warehouse = create_warehouse(Path(home) / f"of-{sources}", ROWS, sources, loads=loads)
            originals = [live.data_file for live in warehouse.live_files(warehouse.table(INTERACTIONS.name))]
            costs = in_turn(warehouse, originals, {"ours": expire, "other": rewrite}, ROUNDS)
            name = f"expire {ROWS:,} rows of {sources} sources, {len(originals):,} files"
            detail = (
                "other: DuckDB rewrites the rows. Ours is the whole run: decisions, copies, Great Expectations, both "
                "commits, events"
            )
            rows.append(row(name, costs["ours"], costs["other"], target, detail))
            if sources == SOURCES:
                peak = max(cost.peak_bytes for cost in costs["ours"])
        small = cost_of(expire, create_warehouse(Path(home) / "tenth", ROWS // 10, SOURCES).settings)
    memory = {
        "name": "peak memory of an expiry",
        "ours_seconds": None,
        "other_seconds": None,
        "ratio": peak / small.peak_bytes,
        "target": "below 500 MB, and no higher for 10x the rows",
        "detail": f"{peak / 1e6:.0f} MB; {small.peak_bytes / 1e6:.0f} MB at a tenth of the rows (ratio of the two)",
    }
    return [*rows, memory]


def in_turn(
    warehouse: Warehouse, originals: list[Any], sides: dict[str, Callable[[Warehouse], None]], rounds: int
) -> dict[str, list[Cost]]:
    """Let every side do its work on the same files, round by round."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            costs[name].append(cost_of(work, warehouse.settings))
            print(f"{name}: {costs[name][-1].seconds:.2f} s, CPU {costs[name][-1].cpu_seconds:.2f} s", flush=True)
            start_again(warehouse, originals)
    return costs


def row(name: str, ours: list[Cost], other: list[Cost], target: str, detail: str) -> dict[str, Any]:
    """Describe two sides: medians, and how many times as long the other one takes."""
    seconds = [statistics.median(cost.seconds for cost in side) for side in (ours, other)]
    cpu_seconds = [statistics.median(cost.cpu_seconds for cost in side) for side in (ours, other)]
    return {
        "name": name,
        "ours_seconds": seconds[0],
        "ours_cpu_seconds": cpu_seconds[0],
        "other_seconds": seconds[1],
        "other_cpu_seconds": cpu_seconds[1],
        "ratio": seconds[1] / seconds[0],
        "target": target,
        "detail": detail,
    }


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
