"""Audiences on 50 million interactions of 1,000 sources: ours against the same question asked of bare Parquet files."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import Cost, Figure
from benchmarks.sample import create_warehouse, replace
from perennial.audiences.evaluate import open_audience
from perennial.engines.duckdb import open_connection
from perennial.engines.write_files import write_files
from perennial.tables import INTERACTIONS, SOURCE_TAGS, USER_MESSAGE_SUMMARY, USERS
from perennial.warehouse import Warehouse

ROWS, SOURCES, LOADS, PEOPLE, ROUNDS = 50_000_000, 1_000, 2, 1_000_000, 5
NOW = datetime(2025, 6, 1, tzinfo=UTC)

SAMPLE_USERS = """
CREATE TEMP TABLE sample AS SELECT
    md5(i::VARCHAR) AS user_id, 'ext-' || i AS external_user_id, 'user' || i || '@example.com' AS email,
    NULL::VARCHAR AS phone, 'First' AS first_name, 'Last' AS last_name, 'FR' AS country, 'fr' AS language,
    'Europe/Paris' AS time_zone, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS created_at, FALSE AS invalid_phone,
    ['flag-' || (i % 10)] AS feature_flags, NULL::VARCHAR AS custom_attributes
FROM range($users) AS t(i)
"""
SAMPLE_SUMMARY = """
CREATE TEMP TABLE sample AS SELECT
    md5(i::VARCHAR) AS user_id, 'received' AS measure, 'email' AS dimension,
    TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_seconds((i * 1009) % 13000000) AS last_at, 3::BIGINT AS event_count
FROM range($users) AS t(i)
"""

ONE = {"filter": "received_message_from_campaign", "campaign_id": "source-7"}
CLICKED = {"filter": "clicked_or_opened_campaign", "campaign_id": "source-7", "interaction": "clicked_email"}
QUESTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "one source, received and not clicked": (
        {"and": [ONE, {"not": CLICKED}]},
        """SELECT user_id FROM {users} WHERE
        user_id IN (SELECT user_id FROM {seen} WHERE source_id = 'source-7' AND interaction = 'received')
        AND user_id NOT IN (
            SELECT user_id FROM {seen}
            WHERE source_id = 'source-7' AND interaction = 'clicked' AND channel = 'email')""",
    ),
    "ten sources, received any": (
        {"or": [{**ONE, "campaign_id": f"source-{number}"} for number in range(10)]},
        """SELECT user_id FROM {users} WHERE user_id IN (
            SELECT user_id FROM {seen} WHERE interaction = 'received' AND source_id IN (
                'source-0', 'source-1', 'source-2', 'source-3', 'source-4',
                'source-5', 'source-6', 'source-7', 'source-8', 'source-9'))""",
    ),
    "tag, 200 sources, last received before": (
        {"filter": "last_received_message_with_tag", "tag": "promo", "operator": "before", "at": "2025-05-01"},
        """SELECT user_id FROM {users} WHERE user_id IN (
            SELECT user_id FROM {seen} WHERE interaction = 'received' AND source_id IN (SELECT source_id FROM {tagged})
            GROUP BY user_id HAVING max(occurred_at) < TIMESTAMPTZ '2025-05-01 00:00:00+00')""",
    ),
    "no interactions: last received e-mail": (
        {"filter": "last_received_email", "operator": "after", "days_ago": 90},
        """SELECT user_id FROM {users} WHERE user_id IN (
            SELECT user_id FROM {summary} WHERE measure = 'received' AND dimension = 'email'
            GROUP BY user_id HAVING max(last_at) > TIMESTAMPTZ '2025-03-03 00:00:00+00')""",
    ),
}


def run() -> list[Figure]:
    """Measure each question, whole, from opening the warehouse to the last user, in turn with the bare files."""
    with tempfile.TemporaryDirectory() as home:
        warehouse = create_warehouse(Path(home) / "w", ROWS, SOURCES, loads=LOADS, users=PEOPLE, status="active")
        fill(warehouse, USERS.name, SAMPLE_USERS)
        fill(warehouse, USER_MESSAGE_SUMMARY.name, SAMPLE_SUMMARY)
        promo = [{"source_id": f"source-{number}", "tag": "promo"} for number in range(200)]
        replace(warehouse, SOURCE_TAGS.name, promo)
        relations = _bare(warehouse, Path(home) / "bare")
        return [_measured(warehouse, relations, *question) for question in QUESTIONS.items()]


def _measured(warehouse: Warehouse, relations: dict[str, str], name: str, question: tuple[Any, str]) -> Figure:
    definition, bare = question
    ours, theirs, opening = [], [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        with open_audience(warehouse, json.dumps(definition), NOW) as audience:
            opening.append(time.perf_counter() - started)
            mine = audience.users().read_all()
            files = audience.session.interaction_files
        ours.append(time.perf_counter() - started)
        seconds, other = _timed(lambda: _ask(bare.format(**relations)))
        theirs.append(seconds)
    assert sorted(mine["user_id"].to_pylist()) == sorted(other["user_id"].to_pylist())
    fast, slow = statistics.median(ours), statistics.median(theirs)
    return Figure(
        f"audience: {name}, ours ÷ bare DuckDB",
        fast / slow,
        must=1.2,
        ours=Cost(fast),
        other=Cost(slow),
        detail=f"{mine.num_rows:,} users; reads {len(files):,} of {SOURCES * LOADS:,} files, "
        f"{sum(live.row_count for live in files):,} of {ROWS:,} rows; {statistics.median(opening):.2g} s to open; "
        "other: DuckDB on the same files in hive directories",
    )


def _ask(sql: str) -> Any:
    with open_connection() as connection:
        return connection.sql(sql).to_arrow_table()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def fill(warehouse: Warehouse, table: str, sql: str, users: int = PEOPLE) -> None:
    with open_connection() as connection:
        connection.execute(sql, {"users": users})
        stem = uuid.uuid4().hex
        warehouse.append_files(table, write_files(connection, "sample", warehouse.table(table), stem), stem)


def _bare(warehouse: Warehouse, folder: Path) -> dict[str, str]:
    """Link the same files into hive directories; returns how DuckDB reads each relation."""
    for live in warehouse.live_files(warehouse.table(INTERACTIONS.name)):
        directory = folder / f"source_id={live.source_id}"
        directory.mkdir(parents=True, exist_ok=True)
        os.link(live.uri.removeprefix("file://"), directory / live.uri.rpartition("/")[2])
    found = {"seen": f"read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"}
    for name, table in (("users", USERS), ("summary", USER_MESSAGE_SUMMARY), ("tagged", SOURCE_TAGS)):
        files = [live.uri.removeprefix("file://") for live in warehouse.live_files(warehouse.table(table.name))]
        found[name] = f"read_parquet({files})"
    return found
