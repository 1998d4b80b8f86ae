"""What analysts call from Python: the functions of the package, and the session of `connect` (R16)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

import perennial
from perennial.cli import app
from perennial.errors import TerminalEngineError, TerminalRequestError
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.tables import TABLES, USERS, VIEWS
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction, multiset
from tests.strict_mail_server import StrictServer, listening
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
EITHER = {
    "or": [
        {"filter": "received_message_from_campaign", "campaign_id": "old"},
        {"not": {"filter": "received_message_from_campaign", "campaign_id": "kept"}},
    ]
}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Two campaigns that are expired, and two that are there."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("asked"))}))
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    for name in ("old", "older", "kept"):
        workspace.source(name)
    workspace.source("running", "active")
    workspace.audience("campaign:running", received("kept"))
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    people = [{"user_id": f"user-{n}", "invalid_phone": False, "feature_flags": []} for n in range(5)]
    workspace.replace(USERS.name, people)
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    return warehouse


@pytest.fixture(autouse=True)
def _configured(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))


@pytest.fixture
def connection(capsys: pytest.CaptureFixture[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    with perennial.connect() as connection:
        yield connection


def command(*arguments: str, given: str | None = None) -> Any:
    result = CliRunner().invoke(app, arguments, input=given)
    assert result.exit_code == 0, result.output
    return result


# --- the session ------------------------------------------------------------------------------------------------------


def test_main_has_the_tables_and_views_for_analysts_with_comments_and_nothing_else(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    public = {relation.name for relation in (*TABLES, *VIEWS)}
    assert {name for (name,) in connection.execute("SHOW TABLES").fetchall()} == public
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'"
    assert {name for (name,) in connection.execute(listed).fetchall()} == public
    bare = "FROM duckdb_columns() SELECT table_name, column_name WHERE schema_name = 'main' AND comment IS NULL"
    assert connection.execute(f"{bare} AND database_name = 'memory'").fetchall() == []
    described = "FROM duckdb_views() SELECT view_name, comment WHERE schema_name = 'main' AND database_name = 'memory'"
    comments = dict(connection.execute(described).fetchall())
    assert comments.keys() == public
    assert comments["source_availability"].startswith("Where the interactions of each source are")
    assert "Grain" not in str(comments)


def test_the_views_are_the_same_for_a_cursor_and_after_use_of_a_database_with_the_same_names(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    counts = {view.name: _count(connection, view.name) for view in VIEWS}
    assert counts["available_interactions"] == 6
    cursor = connection.cursor()
    assert {view.name: _count(cursor, view.name) for view in VIEWS} == counts
    connection.execute("ATTACH ':memory:' AS mine; USE mine")
    for name in ("interactions", "sources", "hidden_sources", "known_sources", "source_totals"):
        connection.execute(f"CREATE TABLE {name} AS SELECT 1 AS n")
    assert {view.name: _count(connection, f"memory.main.{view.name}") for view in VIEWS} == counts


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
    return int(count)


def test_iceberg_tables_have_the_same_texts_and_init_adds_that_of_a_table_without(local_warehouse: Warehouse) -> None:
    for declared in TABLES:
        table = local_warehouse.table(declared.name)
        assert table.properties["comment"] == declared.doc
        assert {field.name: field.doc for field in table.schema().fields} == {c.name: c.doc for c in declared.columns}
    with local_warehouse.table("sources").transaction() as changed, local_warehouse.table("users").transaction() as own:
        changed.remove_properties("comment")
        own.set_properties(comment="People")
    local_warehouse.create_tables()
    assert local_warehouse.table("sources").properties["comment"] == TABLES[0].doc
    assert local_warehouse.table("users").properties["comment"] == "People"


# --- the functions ----------------------------------------------------------------------------------------------------


def test_no_function_has_the_name_of_a_module_which_would_replace_it() -> None:
    folder = Path(str(perennial.__file__)).parent
    named = {"audience", "connect", "explain", "query", "restore", "sql"}
    assert all(callable(getattr(perennial, name)) for name in named)
    assert not named & {path.stem for path in folder.iterdir()}


def test_r16_sql_asks_duckdb_whatever_the_engine_and_says_what_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "SELECT count(*) FILTER (source_id = $id) AS n FROM campaign_interactions WHERE source_id IN ($id, 'old')"
    monkeypatch.setenv("PERENNIAL_ENGINE_URL", "sc://nowhere.invalid:1")
    assert perennial.sql(asked, {"id": "kept"}).to_pylist() == [{"n": 3}]
    assert capsys.readouterr().err.startswith("Left out: 3 expired interactions of campaign 'old' (since 2026-06-01).")
    with pytest.raises(TerminalRequestError, match=r"perennial.sql\(\) is read only: DROP was refused"):
        perennial.sql("DROP VIEW campaign_interactions")
    with pytest.raises(TerminalEngineError, match="nothing_there"):
        perennial.sql("FROM nothing_there")


def test_r16_an_audience_in_python_is_that_of_the_command_and_warns_in_the_same_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = perennial.audience(EITHER, now="2026-06-02")
    warned = capsys.readouterr().err
    result = command("audience", "-", "--as-of", "2026-06-02", given=json.dumps(EITHER))
    assert sorted(found["user_id"].to_pylist()) == sorted(result.stdout.split()) == ["user-3", "user-4"]
    assert warned == result.stderr
    assert "So some users may be missing.\nTo bring it back: perennial restore old" in warned
    assert perennial.audience(json.dumps(EITHER), NOW).equals(found)
    with pytest.raises(TerminalRequestError, match="The answer would not be complete"):
        perennial.audience(EITHER, strict=True)
    with pytest.raises(TerminalRequestError, match="now is 'soon'; give a moment"):
        perennial.audience(EITHER, "soon")


def test_an_explanation_in_python_reads_as_that_of_the_command() -> None:
    answer = perennial.explain("kept", "2030-01-31T04:00")
    printed = command("explain", "kept", "--as-of", "2030-01-31T04:00").stdout
    assert [line.split() for line in str(answer).splitlines()] == [line.split() for line in printed.splitlines()]
    assert answer.explanation is not None
    assert answer.explanation.decision.decision == "referenced"
    with pytest.raises(TerminalRequestError, match=r"'keptt'.*'kept'"):
        perennial.explain("keptt")


def test_r12_a_restore_in_python_brings_back_and_notifies_as_the_command_does(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = multiset(warehouse, "interactions")
    with listening(StrictServer(), monkeypatch) as server:
        with pytest.raises(TerminalRequestError, match="notify is"):
            perennial.restore("older", notify=())
        with pytest.raises(TerminalRequestError, match="'oldest'"):
            perennial.restore("oldest", notify="ann@example.com")
        assert perennial.restore("older", notify="ann@example.com", dry_run=True).state == "finished"
        assert multiset(warehouse, "interactions") == before
        server.taken.clear()
        report = perennial.restore("older", notify=["ann@example.com"], reason="Audit")
    assert [(source.source_id, source.outcome, source.row_count) for source in report.sources] == [
        ("older", "restored", 3)
    ]
    assert (report.state, report.reason) == ("finished", "Audit")
    assert multiset(warehouse, "interactions") - before == multiset(warehouse, "interactions", ["older"])
    assert [recipients for recipients, _ in server.taken] == [("ann@example.com",)]
    assert capsys.readouterr().err.endswith(f"Run {report.run_id}: finished (1 restored).\n")


def test_the_package_is_light_and_its_functions_need_no_airflow() -> None:
    script = """
import sys, perennial
heavy = {"airflow", "duckdb", "pandas", "pyarrow", "pyiceberg", "sqlalchemy"}
assert not heavy & sys.modules.keys()
assert perennial.sql("SELECT 1 AS n").num_rows == 1
assert perennial.audience({"filter": "received_message_from_campaign", "campaign_id": "kept"}).num_rows
assert perennial.explain("old").explanation.state == "expired"
assert "airflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
