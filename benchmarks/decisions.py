"""Decisions about 100,000 sources and 50,000 audiences, segments nested six deep; and a day that moves nothing."""

from __future__ import annotations

import json
import random
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import EqualTo

from benchmarks.commits import list_files
from benchmarks.figures import Cost, Figure, median_cost
from benchmarks.sample import replace
from perennial.audiences.parse import parse
from perennial.moves.expire import decide_expiry, expiry_report
from perennial.operations import Run
from perennial.policy.decisions import Rules, SyncedMetadata, WarehouseState, decide_from
from perennial.settings import Settings
from perennial.tables import AUDIENCES, INTERACTIONS, LIFECYCLE_EVENTS, SOURCES, Table
from perennial.warehouse import Warehouse

SOURCE_COUNT = 100_000
AUDIENCE_COUNT = 50_000
SEGMENT_COUNT = 10_000
NESTING = 6
REPETITIONS = 5
FILES_OF_SOURCE = 2
SOURCE = "source-77"
AS_OF = datetime(2026, 6, 1, 4, tzinfo=UTC)
_TYPES = {"string": pa.string(), "timestamptz": pa.timestamp("us", "UTC"), "long": pa.int64()}


def run() -> list[Figure]:
    """Measure decisions from tables in memory, and what a day costs whose manifests are known."""
    metadata, state = workspace(random.Random(2026))
    definitions = metadata.audiences["definition"].to_pylist()
    deciding = _median(lambda: decide_from(metadata, state, AS_OF, Rules()))
    parsing = _median(lambda: [parse(definition) for definition in definitions])
    decoding = _median(lambda: [json.loads(definition) for definition in definitions])
    return [
        Figure(
            f"decide {SOURCE_COUNT:,} sources, {AUDIENCE_COUNT:,} audiences",
            deciding.seconds,
            " s",
            must=2,
            ours=deciding,
            detail="from tables in memory",
        ),
        Figure(
            f"check {AUDIENCE_COUNT:,} definitions",
            parsing.seconds,
            " s",
            must=1,
            ours=parsing,
            other=decoding,
            detail="other: json.loads alone",
        ),
        *_idle_day(metadata),
    ]


def _idle_day(metadata: SyncedMetadata) -> list[Figure]:
    """Measure a daily run that moves nothing: the processor time of its steps, without starting processes."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": home}))
        warehouse.create_tables()
        list_files(warehouse, [f"source-{number}" for number in range(SOURCE_COUNT)], FILES_OF_SOURCE)
        active = [{**source, "status": "active"} for source in metadata.sources.to_pylist()]
        replace(warehouse, SOURCES.name, active)
        replace(warehouse, AUDIENCES.name, metadata.audiences.to_pylist())
        first, later = _day(warehouse), median_cost([_day(warehouse) for _ in range(3)])
        opening = _median(lambda: list(warehouse.live_files(warehouse.table(INTERACTIONS.name), [SOURCE])))
        scan = warehouse.table(INTERACTIONS.name).scan(row_filter=EqualTo("source_id", SOURCE))
        planning = _median(lambda: list(scan.plan_files()))
    files = f"{SOURCE_COUNT:,} sources, {SOURCE_COUNT * FILES_OF_SOURCE:,} files"
    return [
        Figure(
            f"daily run with nothing to do, {files}; CPU",
            later.cpu_seconds,
            " s",
            1,
            3,
            ours=later,
            detail=f"decide and report; {first.cpu_seconds:.1f} s where every manifest is new",
        ),
        Figure(
            f"opening one source, {files}; CPU",
            opening.cpu_seconds,
            " s",
            0.05,
            0.1,
            ours=opening,
            other=planning,
            detail="other: pyiceberg plans a scan of it, in several threads",
        ),
    ]


def _day(warehouse: Warehouse) -> Cost:
    run = Run(uuid.uuid4().hex, datetime.now(UTC))
    return _cost(lambda: (decide_expiry(warehouse, run), expiry_report(warehouse, run)))


def _cost(work: Callable[[], object]) -> Cost:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - began, time.process_time() - cpu)


def workspace(chance: random.Random) -> tuple[SyncedMetadata, WarehouseState]:
    """Invent the metadata of a large workspace."""
    sources = [_source(chance, number) for number in range(SOURCE_COUNT)]
    segments = [_audience("segment", f"segment-{n}", "active", _segment(chance, n)) for n in range(SEGMENT_COUNT)]
    owners = [
        _audience(sources[n]["kind"], f"source-{n}", sources[n]["status"], _referrer(chance))
        for n in range(AUDIENCE_COUNT - SEGMENT_COUNT)
    ]
    expired = chance.sample(range(SOURCE_COUNT), SOURCE_COUNT // 5)
    hot_rows = {f"source-{n}": chance.randrange(1, 10_000) for n in range(0, SOURCE_COUNT, 2)}
    metadata = SyncedMetadata(_table(SOURCES, sources), _table(AUDIENCES, segments + owners))
    return metadata, WarehouseState(_table(LIFECYCLE_EVENTS, [_expired(n) for n in expired]), hot_rows)


def _source(chance: random.Random, number: int) -> dict[str, Any]:
    status = chance.choices(("active", "stopped", "archived", "draft"), (4, 4, 1, 1))[0]
    created_at = AS_OF - timedelta(days=chance.randrange(30, 900))
    return {
        "source_id": f"source-{number}",
        "kind": "campaign" if number % 3 else "canvas",
        "name": f"Source {number}",
        "status": status,
        "created_at": created_at,
        "stopped_at": None if status in ("active", "draft") else created_at + timedelta(days=20),
        "last_sent_at": None if status == "draft" else created_at + timedelta(days=19),
    }


def _names_source(chance: random.Random) -> dict[str, Any]:
    number = chance.randrange(SOURCE_COUNT)
    if number % 3:
        return {"filter": "received_message_from_campaign", "campaign_id": f"source-{number}"}
    return {"filter": "converted_from_canvas", "canvas_id": f"source-{number}"}


def _segment(chance: random.Random, number: int) -> dict[str, Any]:
    """A segment of one of the levels 0 to NESTING - 1; all but the last level use one or two segments of the next."""
    nodes = [_names_source(chance), {"filter": "last_received_email", "operator": "after", "days_ago": 30}]
    if number % NESTING < NESTING - 1:
        below = [
            chance.randrange(SEGMENT_COUNT // NESTING) * NESTING + number % NESTING + 1
            for _ in range(chance.choice((1, 1, 2)))
        ]
        nodes += [{"filter": "segment_membership", "segment_id": f"segment-{n}"} for n in below]
    return {"and": nodes}


def _referrer(chance: random.Random) -> dict[str, Any]:
    segment = {"filter": "segment_membership", "segment_id": f"segment-{chance.randrange(SEGMENT_COUNT)}"}
    return {
        "and": [_names_source(chance), {"not": _names_source(chance)}, {"or": [segment, {"filter": "hard_bounced"}]}]
    }


def _audience(owner_kind: str, owner_id: str, status: str, definition: dict[str, Any]) -> dict[str, Any]:
    return {
        "owner_kind": owner_kind,
        "owner_id": owner_id,
        "owner_name": owner_id,
        "owner_status": status,
        "part": "audience",
        "definition": json.dumps(definition),
    }


def _expired(number: int) -> dict[str, Any]:
    return {
        "event_id": f"event-{number}",
        "event": "expired",
        "source_id": f"source-{number}",
        "occurred_at": AS_OF - timedelta(days=10),
        "run_id": "run",
        "file_count": 1,
        "row_count": 1,
        "total_bytes": 1,
    }


def _table(declared: Table, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, pa.schema([(column.name, _TYPES[column.type]) for column in declared.columns]))


def _median(work: Callable[[], object]) -> Cost:
    return median_cost([_cost(work) for _ in range(REPETITIONS)])
