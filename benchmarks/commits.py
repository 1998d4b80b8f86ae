"""Commit cost per file at 1,000 to 1,000,000 files: manifests with everything in them, data files empty."""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
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

SIZES = (1_000, 10_000, 100_000, 300_000)
# A million takes an hour: `python -m benchmarks.commits 1000000`.
FILES_PER_SOURCE = 10
FILE_BYTES = 4 << 20


def run() -> list[dict[str, Any]]:
    """Measure each size once, planning and both commits; linear means that the cost per file stays."""
    rows: list[dict[str, Any]] = []
    first: float | None = None
    for size in SIZES:
        seconds, peak = measure(size)
        per_thousand = sum(seconds.values()) / size * 1000
        first = first or per_thousand
        rows.append(
            {
                "name": f"plan and commit {size:,} files",
                "ours_seconds": sum(seconds.values()),
                "other_seconds": None,
                "ratio": per_thousand / first,
                "target": "linear: at most 1.5 times the cost per file of 1,000 files; memory flat",
                "detail": ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
                + f"; {per_thousand:.2f} s per 1,000 files; peak {peak / 1e6:,.0f} MB",
            }
        )
    return rows


def measure(size: int) -> tuple[dict[str, float], int]:
    """Plan and commit a move of so many files; returns the seconds of each step, and the peak memory."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(Path(home) / "home")}))
        warehouse.create_tables()
        _list_files(warehouse, _sources(size))
        (warehouse.settings.home / "size").write_text(str(size))
        peak = measured(move, warehouse.settings).peak_bytes
        assert not warehouse.source_totals("interactions")
        return json.loads((warehouse.settings.home / "seconds").read_text()), peak


def move(warehouse: Warehouse) -> None:
    """Plan and commit, batch after batch; what stands in for the copies is not counted."""
    home = warehouse.settings.home
    plan_uris, planning = _timed(lambda: plan_sources(warehouse, EXPIRE, _sources(int((home / "size").read_text()))))
    seconds = {"plan": planning, "commit destination": 0.0, "commit origin": 0.0}
    for plan_uri in plan_uris:
        plan = read_plan(plan_uri)
        _pretend_copied(plan)
        seconds["commit destination"] += _timed(partial(commit_destination, warehouse, plan))[1]
        seconds["commit origin"] += _timed(partial(commit_origin, warehouse, plan, plan.source_ids))[1]
    (home / "seconds").write_text(json.dumps(seconds))


def _sources(size: int) -> list[str]:
    return [f"source-{number}" for number in range(size // FILES_PER_SOURCE)]


def _list_files(warehouse: Warehouse, sources: list[str]) -> None:
    table = warehouse.table("interactions")
    columns = tuple(
        ColumnStatistics(name, 100_000, 10_000, 0, "a" * 16, "z" * 16)
        for name in ("event_id", "event_type", "user_id", "external_user_id", "source_kind", "channel", "interaction")
    )
    place = table.location_provider().new_data_location
    for _ in range(FILES_PER_SOURCE):
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
