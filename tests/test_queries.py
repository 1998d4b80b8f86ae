"""What analysts ask in SQL: questions alone, for people and for programs, and no answer is short without a word (R16)."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import sqlglot
from click.testing import Result
from sqlglot import exp
from typer.testing import CliRunner

import perennial
from perennial.cli import app
from perennial.engines.duckdb import VIEWS, open_session
from perennial.engines.read_only import refuse_writes
from perennial.errors import TerminalRequestError
from perennial.exports.queries import NARROWED_VIEWS, narrowed_query, what_is_left_out
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.statements import statement
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
ODD = "it's\nold"


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A campaign and a Canvas that are expired, one with a name that is hard to quote, and two that are there."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("asked"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for name, kind in {"old": "campaign", "path": "canvas", ODD: "campaign", "kept": "campaign"}.items():
        workspace.source(name, kind=kind)
    workspace.source("running", "active")
    workspace.audience("campaign:running", received("kept"))
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(1234)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    return warehouse


@pytest.fixture(autouse=True)
def _configured(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))


def ask(*arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["sql", *arguments])
    assert result.exit_code == exit_code, result.output
    return result


OLD = (
    "Left out: 1,234 expired interactions of campaign 'old' (since 2026-06-01). Bring them back: perennial restore old"
)
BOTH = "2,468 expired interactions of 2 sources."
ALL = "Left out of available_interactions: 3,702 expired interactions of 3 sources."

SAID = {
    "FROM campaign_interactions WHERE source_id = 'old'": OLD,
    "FROM Campaign_Interactions WHERE source_id IN ('kept', 'old')": OLD,
    "SELECT count(*) FROM \"campaign_INTERACTIONS\" AS c WHERE c.source_id = 'old'": OLD,
    "FROM main.campaign_interactions WHERE source_id = 'old'": OLD,
    "SELECT (SELECT count(*) FROM campaign_interactions) AS n FROM sources WHERE source_id = 'old'": OLD,
    "WITH a AS (FROM campaign_interactions) SELECT * FROM a WHERE source_id = 'old'": OLD,
    "WITH campaign_interactions AS (FROM campaign_interactions) FROM campaign_interactions WHERE source_id = 'old'": OLD,
    "SUMMARIZE FROM campaign_interactions WHERE source_id = 'old'": OLD,
    "FROM campaign_interactions": f"Left out of campaign_interactions: {BOTH}",
    "FROM campaign_interactions WHERE source_id <> 'kept'": BOTH,
    "FROM campaign_interactions WHERE NOT source_id = 'kept'": BOTH,
    "FROM campaign_interactions WHERE source_id = 'kept' OR channel = 'email'": BOTH,
    "SELECT count(*) FILTER (source_id = 'kept') / count(*) FROM campaign_interactions": BOTH,
    "SELECT count(*) FROM campaign_interactions JOIN campaign_interactions AS o USING (user_id) WHERE o.source_id = 'kept'": BOTH,
    "FROM canvas_interactions": "Left out of canvas_interactions: 1,234 expired interactions of 1 source.",
    "SUMMARIZE available_interactions": ALL,
    "PIVOT available_interactions ON interaction USING count(*) GROUP BY source_id": ALL,
    "SELECT count(*) FROM users WHERE user_id IN (SELECT user_id FROM available_interactions)": ALL,
    "FROM sources LEFT JOIN available_interactions USING (source_id)": ALL,
    "SELECT 1 UNION (SELECT count(*) FROM available_interactions)": ALL,
    "FROM query_table('available_interactions')": ALL,
    "WITH b AS (FROM available_interactions), available_interactions AS (SELECT 1) FROM b": ALL,
}
UNSAID = (
    "FROM campaign_interactions WHERE source_id = 'kept'",
    "FROM campaign_interactions WHERE source_id = 'path'",
    "SELECT count(*) FROM interactions WHERE source_id = 'old'",
    "FROM source_daily_stats WHERE source_id = 'old'",
    "FROM source_analytics WHERE source_id = 'old'",
    "FROM user_message_summary_latest",
    "FROM source_availability WHERE source_id = 'old'",
    "SELECT 'campaign_interactions' AS name",
    "WITH campaign_interactions AS (SELECT 1) FROM campaign_interactions",
    "WITH RECURSIVE campaign_interactions AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM campaign_interactions WHERE n < 3) "
    "FROM campaign_interactions",
    "DESCRIBE campaign_interactions",
    "/* why */ EXPLAIN FROM campaign_interactions",
)


@pytest.fixture(scope="module")
def session(warehouse: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_session(warehouse) as session:
        yield session


@pytest.mark.parametrize(("query", "said"), SAID.items(), ids=SAID)
def test_r16_an_answer_in_sql_says_in_one_line_what_it_leaves_out(
    warehouse: Warehouse, session: duckdb.DuckDBPyConnection, query: str, said: str
) -> None:
    session.execute(query).fetchall()
    line = what_is_left_out(warehouse, session, narrowed_query(query))
    assert said in line
    assert "Bring them back: perennial restore " in line
    assert "\n" not in line


@pytest.mark.parametrize("query", UNSAID, ids=UNSAID)
def test_an_answer_that_is_complete_says_nothing(
    warehouse: Warehouse, session: duckdb.DuckDBPyConnection, query: str
) -> None:
    session.execute(query).fetchall()
    narrowed = narrowed_query(query)
    assert narrowed is None or what_is_left_out(warehouse, session, narrowed) == ""


def test_a_name_that_is_hard_to_quote_stays_in_the_one_line_and_can_be_pasted() -> None:
    quoted = ODD.replace("'", "''")
    said = ask(f"FROM campaign_interactions WHERE source_id = '{quoted}'").stderr
    assert said.count("\n") == 1
    words = said.partition("perennial restore ")[2].strip()
    pasted = subprocess.run(["bash", "-c", f"printf '%s|' {words}"], capture_output=True, text=True, check=True)
    assert pasted.stdout.startswith(f"{ODD}|--notify|")


def test_r16_what_cannot_be_read_says_how_much_is_left_out_where_it_names_a_view() -> None:
    narrowed = narrowed_query("FROM Campaign_Interactions WHERE ((( source_id = 'old'")
    assert narrowed is not None
    assert narrowed.views == {"campaign_interactions"}
    assert not narrowed.only_named
    assert narrowed_query("FROM interactions WHERE (((") is None


def test_every_view_that_hides_sources_is_one_that_queries_are_warned_of() -> None:
    reading = {"hidden_sources"}
    for view in VIEWS:
        tree = sqlglot.parse_one(statement(f"views/create_{view}"), dialect="duckdb")
        if reading & {table.name for table in tree.expression.find_all(exp.Table)}:
            reading.add(view)
    assert reading - {"hidden_sources"} == NARROWED_VIEWS.keys()


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("SELECT count(*) AS n FROM campaign_interactions WHERE source_id = $id", {"id": "old"}, OLD),
        ("FROM campaign_interactions WHERE source_id IN (SELECT unnest($ids))", {"ids": ["kept", "old"]}, OLD),
        ("SELECT count(*) AS n FROM campaign_interactions WHERE channel = $channel", {"channel": "email"}, BOTH),
        ("SELECT count(*) AS n FROM campaign_interactions WHERE source_id = $id", {"id": "kept"}, ""),
        ("FROM campaign_interactions WHERE source_id IN (SELECT unnest($ids))", {"ids": ["kept", "running"]}, ""),
        ("SELECT count(*) AS n FROM interactions WHERE source_id = $id", {"id": "old"}, ""),
    ],
    ids=["id", "ids", "no id", "complete", "complete ids", "another table"],
)
def test_r16_query_says_what_it_leaves_out_of_the_values_bound_to_it(
    capsys: pytest.CaptureFixture[str], query: str, params: dict[str, object], said: str
) -> None:
    assert perennial.query(query, params).num_columns
    found = capsys.readouterr()
    assert found.out == ""
    assert said in found.err
    assert found.err.count("\n") == bool(said)


def test_r16_a_connection_says_once_what_its_views_leave_out(capsys: pytest.CaptureFixture[str]) -> None:
    with perennial.connect() as connection:
        said = capsys.readouterr().err
        connection.execute("FROM available_interactions").fetchall()
        assert "misplaced_rows" not in str(connection.execute("SHOW ALL TABLES").fetchall())
    assert capsys.readouterr().err == ""
    assert said.startswith(
        "Left out of available_interactions, campaign_interactions and canvas_interactions: 3,702 expired interactions "
        "of 3 sources. View source_availability lists them"
    )
    assert said.count("\n") == 1


def test_a_restore_ends_what_is_said(capsys: pytest.CaptureFixture[str], local_warehouse: Warehouse) -> None:
    warehouse = local_warehouse
    workspace = Workspace(warehouse)
    workspace.source("old")
    append_hot(warehouse, [interaction("old", 1)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))
        perennial.connect().close()
        assert "1 expired interaction of 1 source." in capsys.readouterr().err
        restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("r2", NOW))
        perennial.connect().close()
        assert ask("FROM campaign_interactions WHERE source_id = 'old'").stderr == ""
        assert perennial.query("FROM available_interactions").num_rows == 1
    assert capsys.readouterr().err == ""


def test_a_program_for_which_warnings_are_errors_opens_a_connection(warehouse: Warehouse) -> None:
    script = "import perennial; perennial.connect().close()"
    found = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert "3,702 expired interactions of 3 sources" in found.stderr
    assert found.stdout == ""


REFUSED = {
    "DROP TABLE sources": "DROP",
    "drop view campaign_interactions": "DROP",
    "INSERT INTO sources SELECT * FROM sources": "INSERT",
    "UPDATE sources SET name = 'x'": "UPDATE",
    "DELETE FROM retention": "DELETE",
    "CREATE TABLE x AS SELECT 1 AS n": "CREATE",
    "CREATE TEMP VIEW x AS SELECT 1 AS n": "CREATE",
    "CREATE TABLE x AS PIVOT sources ON kind": "CREATE",
    "ATTACH '{file}'": "ATTACH",
    "EXPORT DATABASE '{file}'": "EXPORT",
    "INSTALL httpfs": "INSTALL",
    "SET threads = 1": "SET",
    "COPY (SELECT 1) TO '{file}'": "COPY",
    "COPY sources TO '{file}'": "COPY",
    "COPY (PIVOT sources ON kind) TO '{file}'": "COPY",
    "WITH a AS (COPY sources TO '{file}') SELECT 1": "COPY",
    "WITH a AS (SELECT 1), b AS (/* é */ COPY a TO '{file}') SELECT 1": "COPY",
    "WITH a AS (INSERT INTO retention VALUES (9) RETURNING *) FROM a": "INSERT",
    "EXPLAIN ANALYZE COPY sources TO '{file}'": "COPY",
    "/* é */ EXPLAIN (ANALYZE) -- here\n COPY sources TO '{file}'": "COPY",
    "EXPLAIN ANALYZE WITH a AS (COPY sources TO '{file}') SELECT 1": "COPY",
    "SELECT 1; COPY sources TO '{file}'": "2 were given",
    " -- nothing\n": "none was given",
}


@pytest.mark.parametrize(("query", "named"), REFUSED.items(), ids=REFUSED)
def test_sql_and_query_are_read_only(query: str, named: str, tmp_path: Path) -> None:
    asked = query.replace("{file}", str(tmp_path / "file"))
    result = ask(asked, exit_code=1)
    assert "perennial sql is read only" in result.stderr
    assert named in result.stderr
    assert result.stdout == ""
    with pytest.raises(TerminalRequestError, match=r"perennial.query\(\) is read only"):
        perennial.query(asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS delete;",
        "SELECT max(update), (copy) FROM (SELECT 1 AS update, 2 AS copy) WHERE (update) > 0 GROUP BY copy",
        "VALUES (1)",
        "TABLE sources",
        "SHOW TABLES",
        "DESCRIBE sources",
        "SUMMARIZE sources",
        "PIVOT sources ON kind USING count(*)",
        "FROM (PIVOT sources ON kind USING count(*))",
        "EXPLAIN ANALYZE FROM sources",
        "(FROM sources) UNION ALL (FROM sources)",
    ],
)
def test_whatever_asks_is_answered(session: duckdb.DuckDBPyConnection, query: str) -> None:
    refuse_writes(query, "perennial sql")
    assert session.execute(query).description


VALUES = """SELECT
    'a, "b"' || chr(10) || 'é' AS text, NULL AS nothing, '' AS empty, 1234567 AS n, TRUE AS flag, 1.50::DECIMAL(9, 2) AS d,
    'nan'::DOUBLE AS nan, TIMESTAMPTZ '2026-01-31 04:00:00.5+02:00' AS at, DATE '2026-01-31' AS day,
    [1, NULL] AS list, {'t': TIMESTAMPTZ '2026-01-31 04:00:00+00:00'} AS struct, 2 AS n"""


def test_json_for_programs_is_an_array_of_objects_and_nothing_else() -> None:
    result = ask("--json", VALUES)
    assert json.loads(result.stdout) == [
        {
            "text": 'a, "b"\né', "nothing": None, "empty": "", "n": 1234567, "flag": True, "d": 1.5, "nan": None,
            "at": "2026-01-31T02:00:00.500000Z", "day": "2026-01-31", "list": [1, None],
            "struct": {"t": "2026-01-31T04:00:00Z"}, "n_1": 2,
        }
    ]  # fmt: skip
    assert json.loads(ask("--json", "FROM sources WHERE FALSE").stdout) == []
    several = ask("--json", "SELECT range AS n FROM range(25000)")
    assert json.loads(several.stdout) == [{"n": number} for number in range(25_000)]


def test_csv_for_programs_is_quoted_and_nothing_else() -> None:
    header, row = csv.reader(io.StringIO(ask("--csv", VALUES).stdout))
    assert header == ["text", "nothing", "empty", "n", "flag", "d", "nan", "at", "day", "list", "struct", "n"]
    assert row == [
        'a, "b"\né', "", "", "1234567", "true", "1.5", "", "2026-01-31T02:00:00.500000Z", "2026-01-31", "[1, null]",
        '{"t": "2026-01-31T04:00:00Z"}', "2",
    ]  # fmt: skip
    assert ask("--csv", "SELECT 1 AS n WHERE FALSE").stdout == "n\n"


def test_what_programs_read_is_not_mixed_with_what_is_left_out() -> None:
    result = ask("--csv", "SELECT count(*) AS n FROM campaign_interactions WHERE source_id = 'old'")
    assert result.stdout == "n\n0\n"
    assert OLD in result.stderr
    assert "not both" in ask("--csv", "--json", "SELECT 1", exit_code=2).stderr
