"""The whole job with everything on Spark that an engine does: audiences, exports, profiles, analysts' views.

Each question is put to DuckDB and to Spark over the same tables, while data is expired, and to Spark before and after.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from perennial.engines.analysts import open_query_session
from perennial.engines.duckdb import KNOWN_VIEWS, VIEWS, internals_in_sight
from perennial.errors import TerminalRequestError
from perennial.exports.models import parse_request, parse_segment_request
from perennial.exports.profile import read_profile
from perennial.exports.queries import narrowed_query, what_is_left_out
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.exports.users import export_users, open_segment_export
from perennial.tables import INTERACTIONS_ARCHIVE, TABLES, VANISHED_SOURCES
from perennial.warehouse import Warehouse
from tests.audiences.worlds import ask
from tests.exports.received_world import INTERACTIONS, NOW, PEOPLE, SEGMENTS, at, expire, filled, restore
from tests.rows import append_hot, interaction
from tests.spark import Spark
from tests.workspace import Workspace

SOURCES = sorted({row["source_id"] for row in INTERACTIONS})
# Sail looks for a table's files in the bucket of its metadata only, and archived ones are in another.
READ = [table.name for table in TABLES if table != INTERACTIONS_ARCHIVE]
RELATIONS = [*READ, *KNOWN_VIEWS, "known_source_tags", "source_availability", "source_states", *VIEWS]
# Missed twice, never known but by its id, and back.
VANISHED: list[dict[str, Any]] = [
    {"source_id": "vanished", "name": "Before", "tags": [], "missed_at": at(0), "run_id": "sync"},
    {"source_id": "vanished", "name": "It's gone", "kind": "canvas", "status": "active", "created_at": at(0),
     "tags": ["promo", "it's"], "missed_at": at(5), "run_id": "sync"},
    {"source_id": "only an id", "tags": [], "missed_at": at(5), "run_id": "sync"},
    {"source_id": "old", "tags": ["promo"], "missed_at": at(5), "run_id": "sync"},
]  # fmt: skip
SUMMARY = {"measure": "received", "dimension": "email", "last_at": at(30), "event_count": 3}
# One question in the words of each.
ASKED = {
    "duckdb": """WITH firsts AS (
        SELECT source_name, user_id, min(occurred_at) FILTER (interaction = 'received') AS received_at
        FROM campaign_interactions
        WHERE occurred_at >= $since AND user_id IN ($one, $other)
        GROUP BY ALL
    )
    SELECT f.source_name, f.user_id, date_trunc('day', f.received_at) AS day, users.email
    FROM firsts AS f LEFT JOIN users ON f.user_id = users.user_id""",
    "spark": """WITH firsts AS (
        SELECT source_name, user_id, min(occurred_at) FILTER (WHERE interaction = 'received') AS received_at
        FROM Campaign_Interactions
        WHERE occurred_at >= :since AND user_id IN (:one, :other)
        GROUP BY source_name, user_id
    )
    SELECT f.source_name, f.user_id, date_trunc('DAY', f.received_at) AS day, users.email
    FROM firsts AS f LEFT JOIN users ON f.user_id = users.user_id""",
}
EXPIRING = (("old", "campaign"), ("old journey", "canvas"))
ROUND = count()


@dataclass(frozen=True)
class Answers:
    """What one engine says, by topic and question."""

    profiles: Mapping[str, Any]
    exports: Mapping[str, Any]
    segments: Mapping[str, Any]
    audiences: Mapping[str, Any]
    files: Mapping[str, Any]
    relations: Mapping[str, Any]
    asked: Mapping[str, Any]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Told:
    """What DuckDB says while data is expired, what Spark says then, and a part of what Spark says before and after."""

    in_process: Answers
    on_spark: Answers
    before: Mapping[str, Any]
    restored: Mapping[str, Any]


@pytest.fixture(scope="module", params=["spark"])
def told(request: pytest.FixtureRequest, shared_lake_warehouse: Warehouse, spark: Spark) -> Told:
    warehouse = filled(shared_lake_warehouse)
    on_spark = Warehouse(replace(warehouse.settings, engine_url=spark.url))
    Workspace(warehouse).replace("user_message_summary", [SUMMARY | {"user_id": person} for person in PEOPLE])
    days = [{"source_id": source, "stat_date": date(2026, 1, 1 + day), "interaction": "opened", "channel": "email", "event_count": day} for source in SOURCES for day in range(9)]  # fmt: skip
    Workspace(warehouse).replace("source_daily_stats", days)
    loads = [
        [interaction(source, load, source_kind=kind, user_id="ann") for source, kind in EXPIRING] for load in range(4)
    ]
    append_hot(warehouse, *loads)
    warehouse.append_rows(VANISHED_SOURCES.name, VANISHED, "vanished")
    before = of_old(on_spark)
    expire(warehouse)
    # Hidden although they are there (R9).
    append_hot(warehouse, [interaction("old journey", 100, source_kind="canvas", user_id="eve")])
    expired = look(warehouse), look(on_spark)
    restore(warehouse)
    return Told(*expired, before, of_old(on_spark))


def of_old(warehouse: Warehouse) -> dict[str, Any]:
    """Ask for what expires."""
    return {
        "profile": read_profile(warehouse, "ann"),
        "segment": streamed(warehouse, "old"),
        "file": user_data(warehouse, "old"),
    }


def look(warehouse: Warehouse) -> Answers:
    with open_query_session(warehouse) as session:
        with internals_in_sight(session.connection):
            relations = {name: rows(session.query(f"SELECT * FROM {name}").read_all()) for name in RELATIONS}
        asked = session.ask(ASKED[session.dialect], {"since": at(0), "one": "ann", "other": "bob"}).read_all()
        left_out = {
            query: what_is_left_out(warehouse, session.connection, narrowed_query(query))
            for query in ("FROM campaign_interactions WHERE source_id = 'old'", "FROM available_interactions")
        }
    return Answers(
        profiles={person: read_profile(warehouse, person) for person in PEOPLE},
        exports={str(names): exported(warehouse, names) for names in (["email"], None)},
        segments={segment: streamed(warehouse, segment) for segment in SEGMENTS},
        audiences={segment: ask(warehouse, definition, NOW) for segment, definition in SEGMENTS.items()},
        files={source: user_data(warehouse, source) for source in ("fresh", "old", "old journey")},
        relations=relations,
        asked={"received": rows(asked)},
        left_out=left_out,
    )


def rows(table: Any) -> list[str]:
    # A sum is a decimal here and a whole number there.
    return sorted(repr(sorted((name, str(value)) for name, value in row.items())) for row in table.to_pylist())


def exported(warehouse: Warehouse, names: list[str] | None) -> Any:
    asked = {"braze_id": PEOPLE, "external_ids": ["customer-2", "nobody"]}
    request = parse_request(asked if names is None else asked | {"fields_to_export": names})
    return json.loads(export_users(warehouse, request).to_json())


def streamed(warehouse: Warehouse, segment: str) -> Any:
    with open_segment_export(warehouse, parse_segment_request({"segment_id": segment}), NOW) as export:
        return [json.loads(user.to_json()) for user in export.users(batch_rows=2)], export.completeness


def user_data(warehouse: Warehouse, source: str) -> str:
    request = UserDataRequest(source_id=source, notify=("ann@example.com",), all_recipients=True)
    try:
        written = write_user_data(warehouse, request, f"run-{next(ROUND)}", NOW)
    except TerminalRequestError as error:
        return str(error)
    return Path(written.file_uri).read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.parametrize("topic", [field.name for field in fields(Answers)])
def test_spark_says_what_duckdb_says(told: Told, topic: str) -> None:
    in_process, on_spark = getattr(told.in_process, topic), getattr(told.on_spark, topic)
    for question, answer in in_process.items():
        assert on_spark[question] == answer, question
    assert on_spark.keys() == in_process.keys()
    assert any(in_process.values())


@pytest.mark.long
def test_r14_what_is_expired_is_hidden_from_spark_and_named(told: Told) -> None:
    assert "'old journey'" not in str(told.on_spark.relations["available_interactions"])
    assert "'old journey'" in str(told.on_spark.relations["interactions"])
    assert told.on_spark.audiences["old"].users == []
    assert [source.source_id for source in told.on_spark.audiences["old"].completeness.missing] == ["old"]
    assert told.on_spark.profiles["ann"] != told.before["profile"]
    assert ["campaign 'old'" in said for said in told.on_spark.left_out.values()] == [True, False]
    assert all(said.startswith("Left out") for said in told.on_spark.left_out.values())


@pytest.mark.long
def test_r17_after_a_restore_spark_says_what_it_said(told: Told) -> None:
    assert told.before["segment"][0] != []
    assert told.restored == told.before
