"""What each engine is sent, written out: `python -m tests.engines.golden` writes the files of `golden/` anew.

A file holds one statement in one dialect, with its binds below it. DuckDB's is the text that all others come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perennial.audiences import parse
from perennial.audiences.compile import compile_audience
from perennial.engines.dialects.athena import ATHENA
from perennial.engines.dialects.spark import SPARK
from perennial.engines.dialects.trino import TRINO
from perennial.engines.duckdb import KNOWN_VIEWS, STATE_VIEWS, VIEWS
from perennial.engines.sqlalchemy import inserting
from perennial.engines.transpile import Partitions, Relations, TableAtSnapshot
from perennial.sql import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LOADED_FILES, TABLES
from tests.workspace import member, received

FOLDER = Path(__file__).with_name("golden")
DIALECTS = {dialect.name: dialect for dialect in (SPARK, ATHENA, TRINO)}
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
SPRING = received("it's spring")
TAGGED = {"filter": "last_received_message_with_tag", "tag": "promo", "operator": "after", "days_ago": 30}
SEGMENTS = {
    "inner": {"filter": "feature_flag", "flag": "beta"},
    "outer": {"or": [member("inner"), {"not": SPRING}]},
}
DEFINITION = {
    "and": [
        SPRING,
        {"not": {"filter": "in_canvas_control_group", "canvas_id": "journey"}},
        {"filter": "clicked_or_opened_campaign", "campaign_id": "it's spring", "interaction": "opened_email"},
        TAGGED,
        {"filter": "last_received_email", "operator": "before", "at": "2026-05-01T00:00:00Z"},
        {"filter": "news_feed_view_count", "comparison": "more_than", "count": 3},
    ]
}


@dataclass(frozen=True)
class Asked:
    """A statement with its binds, the statements that it reads by name, and the table that its rows are written to."""

    sql: str
    params: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    into: str = ""


def _audience(definition: Any, count: bool = False) -> Asked:
    query = compile_audience(
        parse(json.dumps(definition)), {name: parse(json.dumps(found)) for name, found in SEGMENTS.items()}, NOW
    )
    return Asked(query.count_sql if count else query.sql, query.binds, OF_SOURCES)


KNOWN: dict[str, tuple[str, Mapping[str, Any]]] = {
    view: (statement(f"views/create_{view}"), {}) for view in (*KNOWN_VIEWS, "known_source_tags")
}
OF_SOURCES = KNOWN | {
    "available_interactions": (statement("engines/select_interactions_of"), {"source_ids": ["it's spring", "journey"]})
}
OF_ALL = KNOWN | {"available_interactions": (statement("engines/select_interactions_except"), {"hidden_ids": ["old"]})}
USERS = {
    "asked_users": (statement("features/select_asked_users"), {"user_ids": ["ann", "bob"], "external_ids": []}),
    "source_names": (statement("features/select_source_names"), {}),
}
KEPT_VIEWS = {
    "source_totals": (statement("engines/select_source_totals"), {}),
    "retention": (statement("views/create_retention"), {"months": 3}),
    **{
        view: (statement(f"views/create_{view}"), {})
        for view in (*STATE_VIEWS, "known_source_tags", "source_availability", *VIEWS)
    },
}
WEEKLY = """SELECT
    source_name,
    date_trunc('week', occurred_at) AS week,
    count(DISTINCT user_id) FILTER (machine_open IS NOT TRUE) AS people
FROM campaign_interactions
WHERE interaction = 'opened' AND occurred_at >= $since
GROUP BY ALL
HAVING people > 0
ORDER BY week DESC, people DESC, source_name"""
STAGING = "compaction_0123"
MEANINGS = r"""SELECT
    date_diff('minute', occurred_at, $at) AS minutes,
    date_diff('week', occurred_at, $at) AS weeks,
    date_diff('month', occurred_at, $at) AS months,
    dayofweek(occurred_at) AS sunday_0,
    isodow(occurred_at) AS monday_1,
    monthname(occurred_at) AS month_name,
    dayname(occurred_at) AS day_name,
    date_trunc('day', occurred_at AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin' AS began_at,
    CAST(count(*) / 2 AS BIGINT) AS half,
    CAST(2.5 AS INTEGER) AS three,
    list(source_name ORDER BY event_id DESC) AS names,
    median(conversion_index) AS middle,
    printf('%d', count(*)) AS printed
FROM campaign_interactions
WHERE source_name LIKE 'a\b%'
GROUP BY ALL"""
STATEMENTS = {
    "audience": _audience(DEFINITION),
    "audience_count": _audience(SPRING, count=True),
    "audience_of_segments": _audience(member("outer")),
    "users_export": Asked(statement("features/list_received"), {"kinds": ["campaign", "canvas"]}, OF_ALL | USERS),
    "user_data": Asked(statement("features/select_user_contacts"), {}, OF_SOURCES),
    "rows_to_merge": Asked(
        statement("maintenance/select_rows_to_merge"), {"source_ids": ["it's spring", "journey"]}, into=STAGING
    ),
    "fingerprint_of_merged_sources": Asked(
        statement("maintenance/fingerprint_sources"), {"source_ids": ["it's spring", "journey"]}
    ),
    "files_of_nothing": Asked(f"SELECT * FROM {LOADED_FILES.name}"),
    "source_availability": Asked("SELECT * FROM source_availability", {}, KEPT_VIEWS),
    "analysts_meanings": Asked(MEANINGS, {"at": NOW}, KEPT_VIEWS),
    "analysts_weekly_opens": Asked(WEEKLY, {"since": NOW}, KEPT_VIEWS),
}


def written(asked: Asked, dialect: str) -> str:
    """Write a statement and its binds as a file holds them."""
    if dialect == "duckdb":
        return _file(asked.sql, asked.params)
    rendered = _relations(asked).render(asked.sql, asked.params, DIALECTS[dialect])
    sql = rendered.sql
    if asked.into and dialect != "spark":
        # Spark is handed the SELECT, and the name of the table apart.
        columns = [column.name for column in INTERACTIONS.columns]
        sql = inserting(("lake", "messaging", asked.into), columns, sql)
    return _file(sql, rendered.binds)


def _relations(asked: Asked) -> Relations:
    relations = Relations()
    for number, table in enumerate(TABLES, start=1):
        # One table never had a snapshot.
        snapshot_id = None if table == LOADED_FILES else number
        relations.tables[table.name] = TableAtSnapshot(table.name, ("lake", "messaging", table.name), snapshot_id)
    staged = ("lake", "messaging", STAGING)
    relations.tables["written_interactions"] = TableAtSnapshot(INTERACTIONS.name, staged, len(TABLES) + 1)
    for table in (INTERACTIONS, INTERACTIONS_ARCHIVE):
        pinned = relations.tables[table.name]
        assert isinstance(pinned, TableAtSnapshot)
        relations.tables[f"{table.name}_partitions"] = Partitions(f"{table.name}_partitions", pinned)
    for name, (sql, params) in asked.kept.items():
        relations.define(name, sql, params)
    return relations


def _file(sql: str, binds: Mapping[str, Any]) -> str:
    return "\n".join([sql.rstrip(), *(f"-- {name} = {value!r}" for name, value in sorted(binds.items())), ""])


def files() -> dict[Path, str]:
    """Every file, with what it is to hold."""
    return {
        FOLDER / f"{name}.{dialect}.sql": written(asked, dialect)
        for name, asked in STATEMENTS.items()
        for dialect in ("duckdb", *DIALECTS)
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for left in FOLDER.glob("*.sql"):
        left.unlink()
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
