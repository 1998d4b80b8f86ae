"""Three audiences and a segment's export on S3: DuckDB in process against Spark Connect, the same tables and files."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace as changed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.lake import running_lake
from tests.spark import running_spark

from benchmarks.audiences import QUESTIONS, SAMPLE_SUMMARY, SAMPLE_USERS
from benchmarks.figures import Cost, Figure
from benchmarks.sample import create_warehouse, replace
from perennial.audiences.evaluate import open_audience
from perennial.engines.duckdb import open_connection
from perennial.exports.models import parse_segment_request
from perennial.exports.users import open_segment_export
from perennial.tables import AUDIENCES, SOURCE_TAGS, USER_MESSAGE_SUMMARY, USERS
from perennial.warehouse import Warehouse

ROWS, SOURCES, PEOPLE, ROUNDS = 8_000_000, 41, 200_000, 3
NOW = datetime(2025, 6, 1, tzinfo=UTC)
AUDIENCES_OF = ("audience of one source", "audience of ten sources", f"audience of a tag, {SOURCES} sources")
SEGMENT = {
    "and": [
        {"filter": "received_message_from_campaign", "campaign_id": "source-7"},
        {"filter": "feature_flag", "flag": "flag-3"},
    ]
}


def run() -> list[Figure]:
    """Ask each question of both engines in turn, whole, from opening the warehouse to the last row."""
    with tempfile.TemporaryDirectory() as home, running_lake(Path(home) / "lake") as lake:
        os.environ |= lake.environment("messaging")
        in_process = _workspace(Path(home) / "w")
        with running_spark(lake, Path(home) / "spark") as spark:
            on_spark = Warehouse(changed(in_process.settings, engine_url=spark.url))
            definitions = [definition for definition, _ in QUESTIONS.values()]
            audiences = zip(AUDIENCES_OF, map(_audience, definitions), strict=False)
            asked = [*audiences, ("export of a segment, with all it received", _export)]
            return [_measured(in_process, on_spark, name, ask) for name, ask in asked]


def _measured(in_process: Warehouse, on_spark: Warehouse, name: str, ask: Callable[[Warehouse], list[str]]) -> Figure:
    taken: dict[str, list[float]] = {"duckdb": [], "spark": []}
    for _ in range(ROUNDS):
        answers = []
        for engine, warehouse in (("duckdb", in_process), ("spark", on_spark)):
            started = time.perf_counter()
            answers.append(ask(warehouse))
            taken[engine].append(time.perf_counter() - started)
        assert answers[0] == answers[1]
    fast, slow = statistics.median(taken["duckdb"]), statistics.median(taken["spark"])
    return Figure(
        f"Spark ÷ DuckDB: {name}",
        slow / fast,
        ours=Cost(fast),
        other=Cost(slow),
        detail=f"{len(answers[0]):,} users; {ROWS:,} interactions of {SOURCES} sources on S3; Spark: Sail with two "
        f"workers; S3, Spark and DuckDB share {os.cpu_count()} cores",
    )


def _audience(definition: dict[str, Any]) -> Callable[[Warehouse], list[str]]:
    def ask(warehouse: Warehouse) -> list[str]:
        with open_audience(warehouse, json.dumps(definition), NOW) as audience:
            return sorted(audience.users().read_all()["user_id"].to_pylist())

    return ask


def _export(warehouse: Warehouse) -> list[str]:
    with open_segment_export(warehouse, parse_segment_request({"segment_id": "seven"}), NOW) as export:
        return [user.to_json() for user in export.users()]


def _workspace(home: Path) -> Warehouse:
    warehouse = create_warehouse(home, ROWS, SOURCES, loads=1, users=PEOPLE, status="active")
    for table, sample in ((USERS.name, SAMPLE_USERS), (USER_MESSAGE_SUMMARY.name, SAMPLE_SUMMARY)):
        with open_connection() as connection:
            connection.execute(sample, {"users": PEOPLE})
            # Through pyiceberg, as a sync writes them: Sail does not read lists in DuckDB's files.
            replace(warehouse, table, connection.sql("FROM sample").to_arrow_table().to_pylist())
    replace(warehouse, SOURCE_TAGS.name, [{"source_id": f"source-{n}", "tag": "promo"} for n in range(SOURCES)])
    seven = {
        "owner_kind": "segment",
        "owner_id": "seven",
        "owner_status": "active",
        "part": "audience",
        "definition": json.dumps(SEGMENT),
    }
    replace(warehouse, AUDIENCES.name, [seven])
    return warehouse
