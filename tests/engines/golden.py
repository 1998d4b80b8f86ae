"""What each engine is sent, written out: `python -m tests.engines.golden` writes the files of `golden/` anew.

A file holds one statement in one dialect, with its binds below it. A part that several have in common stands in
the first of them. Athena is sent what Trino is sent. In DuckDB's dialect there are only those that are compiled: the
others stand in `include/sql/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from perennial.audiences.compile import compile_audience
from perennial.audiences.parse import parse
from perennial.audiences.resolve import resolve
from perennial.engines.columns import SOURCE_TOTALS
from perennial.engines.dialects import ATHENA, SPARK, TRINO, Dialect
from perennial.engines.duckdb import KNOWN_VIEWS, STATE_VIEWS, VIEWS
from perennial.engines.snapshots import Partitions, TableAtSnapshot
from perennial.engines.transpile import Relations, Rendered
from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LOADED_FILES, TABLES
from tests.workspace import member, received

FOLDER = Path(__file__).with_name("golden")
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
    """A statement, or one in each engine's own dialect, with its binds and the statements that it reads by name."""

    sql: str | Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)


def _audience(definition: Any, count: bool = False) -> Asked:
    segments = {name: parse(json.dumps(found)) for name, found in SEGMENTS.items()}
    query = compile_audience(resolve(parse(json.dumps(definition)), segments), NOW)
    return Asked(query.count_sql if count else query.sql, query.binds, OF_SOURCES)


KNOWN: dict[str, tuple[str, Mapping[str, Any]]] = {
    view: (statement(f"views/create_{view}"), {}) for view in (*KNOWN_VIEWS, "known_source_tags")
}
OF_SOURCES = KNOWN | {
    "available_interactions": (statement("engines/select_interactions_of"), {"source_ids": ["it's spring", "journey"]})
}
OF_ALL = KNOWN | {"available_interactions": (statement("engines/select_interactions_except"), {"hidden_ids": ["old"]})}
USERS = {
    "asked_users": (statement("exports/select_asked_users"), {"user_ids": ["ann", "bob"], "external_ids": []}),
    "source_names": (statement("exports/select_source_names"), {}),
}
VIEWS_KEPT = {
    "source_totals": (statement("engines/select_source_totals"), {}),
    "retention": (statement("views/create_retention"), {"months": 3}),
    **{
        view: (statement(f"views/create_{view}"), {})
        for view in (*STATE_VIEWS, "known_source_tags", "source_availability", *VIEWS)
    },
}
# What an analyst writes, by the dialect that it is written in.
OPENED_WEEKLY = {
    name: f"""WITH opened AS (
    SELECT source_name, user_id, {week} AS week
    FROM Campaign_Interactions
    WHERE interaction = 'opened' AND occurred_at >= :since
)

SELECT opened.source_name, opened.week, count(DISTINCT opened.user_id) AS people
FROM opened
INNER JOIN users ON opened.user_id = users.user_id
GROUP BY opened.source_name, opened.week
ORDER BY opened.week DESC"""
    for name, week in {
        "spark": "date_trunc('WEEK', from_utc_timestamp(occurred_at, 'Europe/Berlin'))",
        "trino": "date_trunc('week', occurred_at AT TIME ZONE 'Europe/Berlin')",
    }.items()
}
STATEMENTS = {
    "views": Asked(f"SELECT 1 AS one FROM source_availability, known_source_tags, {', '.join(VIEWS)}", {}, VIEWS_KEPT),
    "audience": _audience(DEFINITION),
    "audience_count": _audience(SPRING, count=True),
    "audience_of_segments": _audience(member("outer")),
    "users_export": Asked(statement("exports/list_received"), {"kinds": ["campaign", "canvas"]}, OF_ALL | USERS),
    "user_data": Asked(statement("exports/select_user_contacts"), {}, OF_SOURCES),
    "files_of_nothing": Asked(f"SELECT * FROM {LOADED_FILES.name}"),
    "analysts": Asked(OPENED_WEEKLY, {"since": NOW}, VIEWS_KEPT),
}
COMPILED = [name for name in STATEMENTS if name.startswith("audience")]
# A part of a statement, as it is written.
_PART = re.compile(r"^(?P<begin>WITH |\), )(?P<part>(?P<name>\w+) AS \(\n.*?)(?=^\))", flags=re.MULTILINE | re.DOTALL)


@cache
def sent(name: str, dialect: Dialect) -> Rendered:
    """What an engine is sent."""
    asked = STATEMENTS[name]
    relations = relations_of(asked, dialect)
    if isinstance(asked.sql, str):
        return relations.render(asked.sql, asked.params, dialect)
    return relations.complete(asked.sql["trino" if dialect is ATHENA else dialect.name], asked.params, dialect)


def written(dialect: Dialect) -> dict[str, str]:
    """Write every statement with its binds as a file holds them, by the name of the file."""
    texts: dict[str, str] = {}
    whole: dict[str, str] = {}
    for name in STATEMENTS:
        file, rendered = f"{name}.{dialect.name}.sql", sent(name, dialect)

        def shortened(part: re.Match[str], file: str = file) -> str:
            first = whole.setdefault(part["part"], file)
            return part[0] if first == file else f"{part['begin']}{part['name']} AS (  -- as in {first}\n"

        texts[file] = _file(_PART.sub(shortened, rendered.sql), rendered.binds)
    return texts


def relations_of(asked: Asked, dialect: Dialect = SPARK) -> Relations:
    """The tables at invented snapshots, and what a statement reads by name."""
    relations = Relations()
    for table in TABLES:
        # One table never had a snapshot. The number comes from the name, so that a new table changes no other's.
        snapshot_id = None if table == LOADED_FILES else crc32(table.name.encode()) % 10_000
        relations.tables[table.name] = TableAtSnapshot(table.name, ("lake", "messaging", table.name), snapshot_id)
    for table in (INTERACTIONS, INTERACTIONS_ARCHIVE):
        pinned = relations.tables[table.name]
        assert isinstance(pinned, TableAtSnapshot)
        relations.tables[f"{table.name}_partitions"] = Partitions(f"{table.name}_partitions", pinned)
    for name, (sql, params) in asked.kept.items():
        if name == "source_totals" and dialect is SPARK:
            # It is handed the rows.
            relations.upload(name, SOURCE_TOTALS)
        else:
            relations.define(name, sql, params)
    return relations


def _file(sql: str, binds: Mapping[str, Any]) -> str:
    return "\n".join([sql.rstrip(), *(f"-- {name} = {value!r}" for name, value in sorted(binds.items())), ""])


@cache
def files() -> dict[Path, str]:
    """Every file, with what it is to hold."""
    compiled = {f"{name}.duckdb.sql": _file(str(STATEMENTS[name].sql), STATEMENTS[name].params) for name in COMPILED}
    return {FOLDER / file: text for file, text in (compiled | written(SPARK) | written(TRINO)).items()}


if __name__ == "__main__":
    texts = files()
    FOLDER.mkdir(exist_ok=True)
    for left in FOLDER.glob("*.sql"):
        left.unlink()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
