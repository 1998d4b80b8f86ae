"""Commit cost per file at 1,000, 10,000 and 100,000 files: manifests with everything in them, data files empty."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perennial.moves.committing import commit_destination, commit_origin
from perennial.moves.copying import CopyResult
from perennial.moves.plan import EXPIRE, MovePlan, plan_move
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.files import ColumnStatistics, FileStatistics, written_file

SIZES = (1_000, 10_000, 100_000)
FILES_PER_SOURCE = 10
FILE_BYTES = 4 << 20


def run() -> list[dict[str, Any]]:
    """Measure each size once, planning and both commits; linear means that the cost per file stays."""
    rows = []
    first: float | None = None
    for size in SIZES:
        seconds = measure(size)
        per_thousand = sum(seconds.values()) / size * 1000
        first = first or per_thousand
        rows.append(
            {
                "name": f"plan and commit {size:,} files",
                "ours_seconds": sum(seconds.values()),
                "other_seconds": None,
                "ratio": per_thousand / first,
                "target": "linear: at most 1.5 times the cost per file of 1,000 files",
                "detail": ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
                + f"; {per_thousand:.2f} s per 1,000 files",
            }
        )
    return rows


def measure(size: int) -> dict[str, float]:
    """Plan and commit a move of so many files; returns the seconds of each step."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(Path(home) / "home")}))
        warehouse.create_tables()
        sources = [f"source-{number}" for number in range(size // FILES_PER_SOURCE)]
        _list_files(warehouse, sources)
        plan, planning = _timed(lambda: plan_move(warehouse, EXPIRE, sources, "bench", datetime.now(UTC)))
        _pretend_copied(plan)
        _, adding = _timed(lambda: commit_destination(warehouse, plan, plan.source_ids))
        _, removing = _timed(lambda: commit_origin(warehouse, plan, plan.source_ids))
        assert not warehouse.source_totals("interactions")
        return {"plan": planning, "commit destination": adding, "commit origin": removing}


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


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started
