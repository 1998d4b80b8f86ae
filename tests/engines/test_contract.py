"""One contract for every engine: values, binds and errors, asked of a table as it is asked by features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from perennial.audiences.evaluate import segment_definition
from perennial.engines.analysts import open_query_session
from perennial.engines.dialects import ATHENA, SPARK, TRINO, Dialect
from perennial.engines.protocol import QuerySession
from perennial.engines.sessions import FeatureSession, Opening, open_feature_session
from perennial.engines.snapshots import TableAtSnapshot
from perennial.engines.transpile import Relations
from perennial.errors import TerminalEngineError, TerminalRequestError, TransientEngineError
from perennial.warehouse import Warehouse
from perennial_sample.ports import free_port
from tests.audiences.worlds import ask
from tests.exports.test_user_data import HOSTILE
from tests.lake import Lake
from tests.rows import append_hot, interaction
from tests.spark import running_spark
from tests.workspace import Workspace, member

AT = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
TEXTS = [
    *HOSTILE, "", "$text", ":text", "::", "%", "%s", "%(text)s", "?", "{text}", "${text}", "''", "\\'", "`", "\n",
    "--", "/*", "'; DROP TABLE users; --", "مرحبا \u202e", "👩‍👩‍👧", "\ud7ff", "\U0010ffff",
]  # fmt: skip
USERS = [
    {
        "user_id": "all",
        "external_user_id": "'\"\\",
        "created_at": AT,
        "invalid_phone": True,
        "feature_flags": ["a", "", "'b'"],
    },
    {"user_id": "none", "invalid_phone": False, "feature_flags": []},
]
DAYS = [
    {
        "source_id": "s",
        "stat_date": date(2024, 2, 29),
        "interaction": "received",
        "channel": None,
        "event_count": 1 << 40,
    }
]


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def asked(request: pytest.FixtureRequest, shared_lake_warehouse: Warehouse) -> Warehouse:
    """The same tables on S3, asked through each engine."""
    return through(filled(shared_lake_warehouse), request)


def filled(warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(warehouse)
    workspace.source("s", "active")
    workspace.sync()
    workspace.replace("users", USERS)
    workspace.replace("source_daily_stats", DAYS)
    return warehouse


def through(warehouse: Warehouse, request: pytest.FixtureRequest, param: str | None = None) -> Warehouse:
    if (param or request.param) == "duckdb":
        return warehouse
    return Warehouse(replace(warehouse.settings, engine_url=request.getfixturevalue("spark").url))


@pytest.fixture(scope="module")
def session(asked: Warehouse) -> Iterator[QuerySession]:
    with open_query_session(asked) as session:
        yield session


def rows(session: QuerySession, sql: str, **params: Any) -> list[dict[str, Any]]:
    return session.query(sql, params).read_all().to_pylist()


# --- values -------------------------------------------------------------------------------------------------------


@pytest.mark.long(but="^spark$")
def test_what_a_table_holds_comes_back_as_it_is(session: QuerySession) -> None:
    empty = dict.fromkeys(
        ("external_user_id", "email", "phone", "first_name", "last_name", "country", "language", "time_zone",
         "created_at", "custom_attributes")
    )  # fmt: skip
    assert rows(session, "SELECT * FROM users ORDER BY user_id") == [{**empty, **user} for user in USERS]
    assert rows(session, "SELECT * FROM source_daily_stats") == DAYS


def test_values_come_back_as_they_were_given(session: QuerySession) -> None:
    given = {"text": "x", "flag": True, "none": None, "long": 1 << 62, "moment": AT, "day": date(1969, 12, 31)}
    sql = """SELECT $text::VARCHAR AS text, $flag::BOOLEAN AS flag, $none::VARCHAR AS "none", $long::BIGINT AS long,
        $moment::TIMESTAMPTZ AS moment, $day::DATE AS day"""
    assert rows(session, sql, **given) == [given]


def test_times_are_utc_to_the_microsecond_and_go_back_to_the_first_year(session: QuerySession) -> None:
    found = session.query("SELECT created_at FROM users WHERE created_at = $at", {"at": AT}).read_all()
    assert str(found.schema.field("created_at").type) == "timestamp[us, tz=UTC]"
    assert found["created_at"].to_pylist() == [AT]
    sql = "SELECT user_id FROM users WHERE created_at > $at"
    assert rows(session, sql, at=LONG_AGO) == [{"user_id": "all"}]
    assert rows(session, sql, at=AT - timedelta(microseconds=1)) == [{"user_id": "all"}]
    assert rows(session, sql, at=AT) == []


def test_nothing_has_its_columns_all_the_same(session: QuerySession) -> None:
    # One table that holds nothing that is asked for, one that never held anything.
    for table, column in (("users", "user_id"), ("campaign_interactions", "source_name"), ("loaded_files", "file_uri")):
        found = session.query(f"SELECT {column} FROM {table} WHERE {column} = $id", {"id": "nobody"}).read_all()
        assert (found.num_rows, found.schema.names) == (0, [column])


# --- binds --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_bind_is_a_value_whatever_it_looks_like(session: QuerySession, text: str) -> None:
    sql = "SELECT $text::VARCHAR AS text, 'it''s :text $text % \\' AS literal, $text = 'other' AS other"
    expected = {"text": text, "literal": "it's :text $text % \\", "other": False}
    assert rows(session, sql, text=text) == [expected]


def test_a_list_is_bound_element_by_element(session: QuerySession) -> None:
    sql = "SELECT user_id FROM users WHERE user_id IN (SELECT unnest($ids::VARCHAR[]))"
    assert rows(session, sql, ids=[*TEXTS, "all"]) == [{"user_id": "all"}]
    assert rows(session, sql, ids=[]) == []
    inverted = "SELECT user_id FROM users WHERE NOT list_contains($ids::VARCHAR[], user_id)"
    assert rows(session, inverted, ids=["all"]) == [{"user_id": "none"}]
    assert len(rows(session, inverted, ids=[])) == 2


def test_statements_that_are_kept_have_binds_of_their_own(asked: Warehouse) -> None:
    with open_query_session(asked) as session:
        session.define("first", "SELECT user_id FROM users WHERE user_id = $id", {"id": "all"})
        session.define("second", "SELECT user_id FROM users WHERE user_id = $id", {"id": "none"})
        session.define("either", "SELECT user_id FROM first UNION ALL SELECT user_id FROM second")
        sql = "SELECT user_id, $id::VARCHAR AS id FROM either ORDER BY user_id"
        assert rows(session, sql, id="mine") == [{"user_id": "all", "id": "mine"}, {"user_id": "none", "id": "mine"}]


# --- what analysts write ------------------------------------------------------------------------------------------


def test_a_statement_of_an_analyst_is_sent_as_it_is_with_tables_and_views_in_place(session: QuerySession) -> None:
    # A backslash, the name of a day and a whole number cast from a half: each says what the engine says.
    said = {
        "duckdb": (
            r"SELECT 'a\b' AS text, dayname(DATE '2026-06-07') AS day, CAST(2.5 AS INTEGER) AS n",
            ("Sunday", 3),
        ),
        "spark": (
            r"SELECT 'a\\b' AS text, date_format(DATE '2026-06-07', 'E') AS day, CAST(2.5 AS INT) AS n",
            ("Sun", 2),
        ),
    }
    sql, (day, n) = said[session.dialect]
    bind = {"duckdb": "$id", "spark": ":id"}[session.dialect]
    asked = f"WITH mine AS ({sql}) SELECT mine.*, Users.user_id FROM mine, Users, source_availability WHERE user_id = {bind}"
    found = session.ask(asked, {"id": "all"}).read_all().to_pylist()
    assert found == [{"text": "a\\b", "day": day, "n": n, "user_id": "all"}]


@pytest.mark.parametrize("dialect", [SPARK, TRINO, ATHENA], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("INSERT INTO users SELECT * FROM users", "accepts one SELECT"),
        ("WITH a AS (SELECT 1 AS x) INSERT INTO users SELECT * FROM a", "accepts one SELECT"),
        ("FROM users INSERT INTO users SELECT *", "accepts one SELECT"),
        ("SELECT 1 AS x; DROP TABLE users", "accepts one SELECT"),
        ("CALL system.expire_snapshots('users')", "accepts one SELECT"),
        ("", "accepts one SELECT"),
        ("WITH users AS (SELECT 1 AS x) SELECT x FROM users", "WITH users has the name of a table"),
        ("SELECT * FROM (WITH Kept AS (SELECT 1 AS x) SELECT x FROM kept) AS y", "WITH kept has the name of a table"),
    ],
)
def test_an_engine_is_asked_one_select_whose_parts_have_names_of_their_own(
    dialect: Dialect, sql: str, said: str
) -> None:
    relations = Relations({"users": TableAtSnapshot("users", ("messaging", "users"), 1)})
    relations.define("kept", "SELECT user_id FROM users", {})
    with pytest.raises(TerminalRequestError, match=said):
        relations.complete(sql, {}, dialect)


def test_parts_of_views_and_of_a_statement_may_have_one_name() -> None:
    relations = Relations({"users": TableAtSnapshot("users", ("messaging", "users"), 1)})
    for view in ("first", "second"):
        relations.define(view, "WITH part AS (SELECT user_id FROM users) SELECT user_id FROM part", {})
    asked = "WITH part AS (SELECT user_id FROM first) SELECT part.user_id FROM part JOIN second ON TRUE"
    parts = [
        cte.alias for cte in sqlglot.parse_one(relations.complete(asked, {}, SPARK).sql, "spark").find_all(exp.CTE)
    ]
    assert sorted(parts) == ["first", "first_part", "part", "second", "second_part"]


# --- one moment ---------------------------------------------------------------------------------------------------


@pytest.mark.long(but="^duckdb$")
@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_what_is_committed_while_a_session_is_open_is_not_seen(
    lake_warehouse: Warehouse, request: pytest.FixtureRequest, engine: str
) -> None:
    workspace = Workspace(lake_warehouse)
    workspace.source("s", "active")
    workspace.sync()
    workspace.replace("users", USERS)
    append_hot(lake_warehouse, [interaction("s", 0)])

    def opened(opening: Opening) -> FeatureSession:
        opening.offer(["user_message_summary"])
        return opening.session({"s"})

    count = """SELECT (SELECT count(*) FROM available_interactions) AS seen, (SELECT count(*) FROM users) AS users,
        (SELECT count(*) FROM user_message_summary) AS summaries"""
    with open_feature_session(through(lake_warehouse, request, engine), ["users"], opened) as session:
        append_hot(lake_warehouse, [interaction("s", number) for number in range(1, 4)])
        workspace.replace("users", USERS[:1])
        summary = {"user_id": "u", "measure": "received", "dimension": "email", "last_at": AT, "event_count": 1}
        workspace.replace("user_message_summary", [summary])
        assert rows(session.queries, count) == [{"seen": 1, "users": 2, "summaries": 0}]


@pytest.mark.long(but="^(duckdb)$")
@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_a_hundred_segments_inside_each_other_are_asked_in_seconds(
    lake_warehouse: Warehouse, request: pytest.FixtureRequest, engine: str
) -> None:
    workspace = Workspace(lake_warehouse)
    for depth in range(99):
        inner = member(f"s{depth + 1}")
        workspace.audience(
            f"segment:s{depth}", {"or": [{"not": inner}, {"and": [inner, {"filter": "invalid_phone_number"}]}]}
        )
    workspace.audience("segment:s99", {"filter": "invalid_phone_number"})
    workspace.sync()
    workspace.replace("users", USERS)
    found = ask(through(lake_warehouse, request, engine), member("s0"))
    assert found.users == ["all", "none"]
    assert segment_definition("s0")


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT (", "SELECT"),
        ("SELECT nothing_like_it FROM users", "nothing_like_it"),
        ("SELECT 1 AS one FROM nowhere", "nowhere"),
        ("SELECT nothing_like_it(user_id) AS one FROM users", "(?i)nothing_like_it"),
    ],
)
def test_a_statement_that_cannot_be_run_is_refused_with_its_reason(session: QuerySession, sql: str, said: str) -> None:
    with pytest.raises(TerminalEngineError, match=said):
        session.query(sql).read_all()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 5 % (count(*) - 2) AS one FROM users",
        "SELECT 5 // (count(*) - 2) AS one FROM users",
        "SELECT CAST(user_id AS INTEGER) AS one FROM users",
        "SELECT CAST(event_count AS INTEGER) AS one FROM source_daily_stats",
        "SELECT CAST('abc' AS INTEGER) AS one",
    ],
)
def test_what_the_rows_do_not_allow_is_refused_and_not_tried_again(session: QuerySession, sql: str) -> None:
    with pytest.raises(TerminalEngineError, match="refuses the statement"):
        session.query(sql).read_all()


def test_a_value_that_was_not_given_is_named(session: QuerySession) -> None:
    with pytest.raises(TerminalEngineError, match="given"):
        session.query("SELECT $given::VARCHAR AS given").read_all()


@pytest.mark.long
@pytest.mark.parametrize("engine", ["spark"])
def test_a_server_that_is_down_can_be_tried_again(lake_warehouse: Warehouse, engine: str) -> None:
    url = f"sc://127.0.0.1:{free_port()}"
    with (
        pytest.raises(
            TransientEngineError, match=rf"{url.removeprefix('sc://')} could not be reached.*check that it is running"
        ),
        open_query_session(Warehouse(replace(lake_warehouse.settings, engine_url=url))) as session,
    ):
        session.query("SELECT 1 AS one").read_all()


@pytest.mark.parametrize("engine", ["spark"])
def test_a_server_that_may_not_read_the_files_says_so(
    lake: Lake, shared_lake_warehouse: Warehouse, tmp_path: Path, engine: str
) -> None:
    Workspace(shared_lake_warehouse).replace("users", USERS)
    with running_spark(lake, tmp_path / "spark", key="a stranger", mode="local") as denied:
        refused = Warehouse(replace(shared_lake_warehouse.settings, engine_url=denied.url))
        with pytest.raises(TerminalEngineError, match="may not read the tables"):
            ask(refused, {"filter": "invalid_phone_number"})
