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
from unittest.mock import patch

from pyiceberg.table.update.snapshot import _OverwriteFiles

from benchmarks.figures import ROUNDS, Cost, Figure, in_turn, median_cost
from benchmarks.processes import measured
from perennial.moves.commit import commit_destination, commit_origin
from perennial.moves.copy import CopyResult
from perennial.moves.move_plan import EXPIRE, MovePlan, read_plan
from perennial.moves.plan import plan_sources
from perennial.moves.verify import Verification
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.warehouse import Warehouse, entries
from perennial.warehouse.files import ColumnStatistics, FileStatistics, written_file
from perennial.warehouse.history import expire_snapshots
from perennial.warehouse.manifests import SnapshotProducer

# 100,000 files take minutes, a million an hour, most of it to list them: `python -m benchmarks.commits 100000`.
SIZES = (1_000, 10_000)
FILES_PER_SOURCE = 10
FILE_BYTES = 4 << 20
# Of a week of loads every 15 minutes.
SNAPSHOTS = 672


def run() -> list[Figure]:
    """Measure planning and both commits, also without carrying entries; linear means that the cost per file stays.

    The larger size is measured once, because most of the time goes into listing its files.
    """
    return [*map(_by_files, SIZES), _by_snapshots()]


def _by_files(size: int) -> Figure:
    sides = {"ours": partial(measure, move, size), "pyiceberg": partial(measure, move_by_pyiceberg, size)}
    cost = in_turn(sides, ROUNDS if size == SIZES[0] else 1)
    ours, other = (cost[name].cpu_seconds or 0 for name in sides)
    return Figure(
        f"plan and both commits, {size:,} files; CPU a file",
        ours / size * 1000,
        " ms",
        0.1,
        0.25,
        ours=cost["ours"],
        other=cost["pyiceberg"],
        detail=f"other: pyiceberg decodes and encodes every entry, which takes {other / ours:.1f} times as long",
    )


def _by_snapshots() -> Figure:
    """Compare a commit to a table with many retained snapshots with one to the same table when they have expired."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": home}))
        warehouse.create_tables()
        for _ in range(SNAPSHOTS):
            _commit(warehouse)
        many = median_cost([_commit(warehouse) for _ in range(9)])
        expire_snapshots(warehouse, "interactions", datetime.now(UTC), datetime.now(UTC))
        few = median_cost([_commit(warehouse) for _ in range(9)])
    return Figure(
        f"commit with {SNAPSHOTS} retained snapshots ÷ with 3 to 9; CPU",
        (many.cpu_seconds or 0) / (few.cpu_seconds or 1),
        aim=1.2,
        must=2,
        ours=many,
        other=few,
        detail="the metadata are parsed once in the process",
    )


def _commit(warehouse: Warehouse) -> Cost:
    started, cpu = time.monotonic(), time.process_time()
    list_files(warehouse, ["source"], 1)
    return Cost(time.monotonic() - started, time.process_time() - cpu)


def measure(work: Callable[[Warehouse], None], size: int) -> Cost:
    """Plan and commit a move of so many files."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(Path(home) / "home")}))
        warehouse.create_tables()
        list_files(warehouse, _sources(size), FILES_PER_SOURCE)
        (warehouse.settings.home / "size").write_text(str(size))
        peak = measured(work, warehouse.settings).peak_bytes
        assert not warehouse.source_totals("interactions")
        return Cost(*json.loads((warehouse.settings.home / "cost").read_text()), peak)


def move_by_pyiceberg(warehouse: Warehouse) -> None:
    """The same without carrying entries."""
    writer = _OverwriteFiles.new_manifest_writer
    with (
        patch.object(entries, "_layout", lambda _: None),
        patch.object(SnapshotProducer, "new_manifest_writer", writer),
    ):
        move(warehouse)


def move(warehouse: Warehouse) -> None:
    """Plan and commit, batch after batch; what stands in for the copies is not counted."""
    home = warehouse.settings.home
    started, cpu = time.monotonic(), time.process_time()
    for plan_uri in plan_sources(warehouse, EXPIRE, _sources(int((home / "size").read_text()))):
        plan = read_plan(plan_uri)
        pretending, pretending_cpu = time.monotonic(), time.process_time()
        _pretend_copied(plan)
        started, cpu = started + time.monotonic() - pretending, cpu + time.process_time() - pretending_cpu
        commit_destination(warehouse, plan)
        commit_origin(warehouse, plan, plan.source_ids)
    (home / "cost").write_text(json.dumps([time.monotonic() - started, time.process_time() - cpu]))


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


if __name__ == "__main__":
    print(measure(move, int(sys.argv[1])))
