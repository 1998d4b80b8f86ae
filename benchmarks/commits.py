"""Commit cost per file at 1,000 to 1,000,000 files, and by retained snapshots: manifests whole, data files empty."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import measured
from perennial.moves.commit import commit_destination, commit_origin
from perennial.moves.copy import CopyResult
from perennial.moves.move_plan import EXPIRE, MovePlan, read_plan
from perennial.moves.plan import plan_sources
from perennial.moves.verify import Verification
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.files import ColumnStatistics, FileStatistics, written_file
from perennial.warehouse.history import expire_snapshots

SIZES = (1_000, 10_000, 100_000, 300_000)
# A million takes an hour: `python -m benchmarks.commits 1000000`.
FILES_PER_SOURCE = 10
FILE_BYTES = 4 << 20
# Of a week of loads every 15 minutes.
SNAPSHOTS = 672


def run() -> list[dict[str, Any]]:
    """Measure each size once, planning and both commits; linear means that the cost per file stays."""
    rows: list[dict[str, Any]] = []
    first: float | None = None
    for size in SIZES:
        seconds, cpu, peak = measure(size)
        per_thousand = cpu / size * 1000
        first = first or per_thousand
        rows.append(
            {
                "name": f"plan and commit {size:,} files",
                "ours_seconds": sum(seconds.values()),
                "other_seconds": None,
                "ratio": per_thousand / first,
                "target": "CPU at most 0.25 ms a file, linear; memory flat",
                "detail": ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
                + f"; CPU {per_thousand:.2f} ms a file; ratio: to that of 1,000 files; peak {peak / 1e6:,.0f} MB",
            }
        )
    return [*rows, _by_snapshots()]


def _by_snapshots() -> dict[str, Any]:
    """Compare a commit to a table with many retained snapshots with one to the same table when they have expired."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": home}))
        warehouse.create_tables()
        for _ in range(SNAPSHOTS):
            _cpu_of_commit(warehouse)
        many = median(_cpu_of_commit(warehouse) for _ in range(5))
        expire_snapshots(warehouse, "interactions", datetime.now(UTC), datetime.now(UTC))
        few = median(_cpu_of_commit(warehouse) for _ in range(5))
    return {
        "name": f"commit with {SNAPSHOTS} retained snapshots, against one with 3 (CPU)",
        "ours_seconds": many,
        "other_seconds": few,
        "ratio": many / few,
        "target": "<= 2x",
        "detail": "ratio: ours / other; the metadata are parsed once in the process",
    }


def _cpu_of_commit(warehouse: Warehouse) -> float:
    started = time.process_time()
    list_files(warehouse, ["source"], 1)
    return time.process_time() - started


def measure(size: int) -> tuple[dict[str, float], float, int]:
    """Plan and commit a move of so many files; returns the seconds of each step, CPU seconds and the peak memory."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(Path(home) / "home")}))
        warehouse.create_tables()
        list_files(warehouse, _sources(size), FILES_PER_SOURCE)
        (warehouse.settings.home / "size").write_text(str(size))
        peak = measured(move, warehouse.settings).peak_bytes
        assert not warehouse.source_totals("interactions")
        seconds, cpu = json.loads((warehouse.settings.home / "seconds").read_text())
        return seconds, cpu, peak


def move(warehouse: Warehouse) -> None:
    """Plan and commit, batch after batch; what stands in for the copies is not counted."""
    home = warehouse.settings.home
    cpu = time.process_time()
    plan_uris, planning = _timed(lambda: plan_sources(warehouse, EXPIRE, _sources(int((home / "size").read_text()))))
    seconds = {"plan": planning, "commit destination": 0.0, "commit origin": 0.0}
    for plan_uri in plan_uris:
        plan = read_plan(plan_uri)
        pretending = time.process_time()
        _pretend_copied(plan)
        cpu += time.process_time() - pretending
        seconds["commit destination"] += _timed(partial(commit_destination, warehouse, plan))[1]
        seconds["commit origin"] += _timed(partial(commit_origin, warehouse, plan, plan.source_ids))[1]
    (home / "seconds").write_text(json.dumps([seconds, time.process_time() - cpu]))


def _sources(size: int) -> list[str]:
    return [f"source-{number}" for number in range(size // FILES_PER_SOURCE)]


def list_files(warehouse: Warehouse, sources: list[str], each: int) -> None:
    """List so many files of each source in hot, one of each in a commit, without writing any."""
    table = warehouse.table("interactions")
    columns = tuple(
        ColumnStatistics(name, 100_000, 10_000, 0, "a" * 16, "z" * 16)
        for name in ("event_id", "event_type", "user_id", "external_user_id", "source_kind", "channel", "interaction")
    )
    place = table.location_provider().new_data_location
    for _ in range(each):
        files = [
            written_file(table, place(f"{uuid.uuid4()}.parquet"), source, FileStatistics(10_000, FILE_BYTES, columns))
            for source in sources
        ]
        warehouse.append_files("interactions", files, uuid.uuid4().hex)


def _pretend_copied(plan: MovePlan) -> None:
    for step in plan.steps:
        # Sparse: the commit looks whether a copy is there and whole, not into it.
        copy = Path(step.copy_uri.removeprefix("file://"))
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("wb") as file:
            file.truncate(FILE_BYTES)
    for chunk in range(plan.chunk_count):
        steps = [step for step in plan.steps if step.chunk == chunk]
        results = [CopyResult(step.source_id, step.copy_uri, 1, 1, FILE_BYTES, FILE_BYTES) for step in steps]
        uri = f"{plan.uri}/chunk-{chunk}.json"
        storage_for(uri).write(uri, json.dumps([asdict(result) for result in results]).encode())
    storage_for(plan.uri).write(f"{plan.uri}/verified.json", json.dumps(asdict(Verification(""))).encode())


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started


if __name__ == "__main__":
    print(measure(int(sys.argv[1])))
