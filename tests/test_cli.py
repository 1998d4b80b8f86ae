"""The command line, run as a person runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.errors import TerminalUnsetError
from perennial.moves import Run, expire_sources
from perennial.settings import Settings
from perennial.tables import USERS
from perennial.warehouse import Warehouse, describe_catalog
from tests.conftest import MadeOnce
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, member, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _configured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(fill)


def fill(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("old", owner_email="ann@example.com")
    workspace.source("kept [bold]", name="Kept <&> 🦄")
    workspace.source("running", "active", kind="canvas")
    workspace.audience("canvas:running", member("s1"))
    workspace.audience("segment:s1", received("kept [bold]"))
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(1234)])
    workspace.sync()
    expire_sources(warehouse, Run("r1", NOW, "ann"))
    return workspace


def run(*arguments: str, exit_code: int = 0, stdin: str | None = None) -> str:
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == exit_code, result.output
    return result.output


def test_init_creates_every_table_and_does_nothing_the_second_time() -> None:
    assert "24 changes" in run("init")
    assert run("init").startswith("Everything is in place.\n")


def test_init_and_status_say_where_everything_is(settings: Settings) -> None:
    for said in (run("init"), run("status")):
        places = dict(line.split(maxsplit=1) for line in said.splitlines()[-4:])
        assert places == {
            "Catalog": f"{settings.home}/catalog.db",
            "Tables": f"file://{settings.home}/warehouse/messaging",
            "Archive": f"file://{settings.home}/archive",
            "Landing": f"{settings.home}/landing",
        }


def test_where_a_catalog_is_is_said_without_its_password(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYICEBERG_CATALOG__SHARED__URI", "postgresql+psycopg://me:secret@db.example.com:5432/lake?a=b")
    shared = replace(settings, catalog="shared")
    assert describe_catalog(shared) == "shared (postgresql+psycopg://db.example.com:5432/lake)"


# An installed package has no folder of its own to put things into.
def test_without_home_and_catalog_the_command_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERENNIAL_HOME")
    monkeypatch.setattr("perennial.settings.checkout", lambda: None)
    said = " ".join(run("status", exit_code=2).split())
    assert said.startswith("PERENNIAL_HOME is not set, and pyiceberg's configuration has no catalog 'perennial'.")
    assert "PYICEBERG_CATALOG__PERENNIAL__URI" in said


@pytest.mark.parametrize("name", ["landing_uri", "platform_url", "exports_uri"])
def test_without_home_a_place_that_is_needed_has_to_be_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial.settings.checkout", lambda: None)
    with pytest.raises(TerminalUnsetError, match=f"^PERENNIAL_{name.upper()} is not set, and has no default without"):
        Settings.from_environment({}).place(name)
    set_to = Settings.from_environment({f"PERENNIAL_{name.upper()}": "sqlite:////data/x"})
    assert set_to.place(name) == "sqlite:////data/x"


def test_the_ids_of_dags_begin_with_the_prefix_also_in_what_people_are_asked_to_do(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_DAG_PREFIX", "acme_")
    assert "run acme_sync_sources" in " ".join(run("profile", "nobody", exit_code=1).split())
    monkeypatch.setenv("PERENNIAL_DAG_PREFIX", "acme sources/")
    assert "PERENNIAL_DAG_PREFIX is 'acme sources/'; set it to" in " ".join(run("status", exit_code=1).split())


def test_without_the_extra_the_sample_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perennial.cli.workspace.find_spec", lambda _: None)
    for name in ("demo", "up"):
        assert "run pip install 'perennial-airflow[sample]'" in " ".join(run(name, exit_code=1).split())


# For many who ask, Airflow is not there, or takes seconds to start.
def test_questions_are_answered_without_airflow(workspace: Workspace) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from perennial.cli import app\n"
        "for command in (['init'], ['status'], ['explain', 'old'], ['sql', 'FROM sources']):\n"
        "    result = CliRunner().invoke(app, command); assert result.exit_code == 0, result.output\n"
        "print([name for name in ('airflow', 'boto3', 'great_expectations') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_up_takes_no_other_server_for_its_own(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = " ".join(run("up", "--port", str(port), exit_code=1).split())
    assert f"Port {port} is taken by process {os.getpid()} (" in said
    assert said.endswith("Stop it, or choose another port with --port.")
    assert not settings.home.exists()


def test_status_lists_every_source_and_where_its_interactions_are(workspace: Workspace) -> None:
    lines = {line.split()[0]: line for line in run("status").splitlines() if line}
    assert "expired" in lines["old"]
    assert "1,234" in lines["old"]
    assert "available" in lines["running"]
    assert "Kept <&> 🦄" in lines["kept"]
    assert "kept [bold]" in lines["kept"]


def test_status_of_one_source_shows_its_history(workspace: Workspace) -> None:
    output = run("status", "old")
    assert "expired" in output
    assert "r1" in output
    assert "ann" in output


def test_explain_names_decision_clock_date_and_the_whole_path_of_every_referrer(workspace: Workspace) -> None:
    output = run("explain", "kept [bold]", "--as-of", "2026-06-01")
    assert "referenced" in output
    assert "canvas:running > segment:s1 > received_message_from_campaign" in output
    assert "2025-04-01" in output
    assert "started by: stopped" in output


def test_explain_decides_as_of_the_moment_asked_for(workspace: Workspace) -> None:
    assert "recent" in run("explain", "kept [bold]", "--as-of", "2025-03-31T23:59:59")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain", "nobody"), "'nobody' is not a known source; check the id"),
        (("status", "nobody"), "'nobody' is not a known source; check the id"),
        (("explain", "old", "--as-of", "soon"), "--as-of is 'soon'"),
        (("sql", "SELEC 1"), "syntax error"),
    ],
    ids=["explain unknown", "status unknown", "bad moment", "bad statement"],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    output = run(*arguments, exit_code=1)
    assert said in output
    assert "Traceback" not in output


def test_sql_answers_from_every_table_and_view(workspace: Workspace) -> None:
    assert "1,234" in run("sql", "SELECT count(*) AS n FROM interactions_archive")
    assert "old" in run("sql", stdin="SELECT source_id FROM source_availability WHERE state = 'expired'")
    assert "2,468" in run("sql", "SELECT count(*) AS n FROM available_interactions")


def test_one_row_is_one_row_and_what_ends_in_a_backslash_is_shown_as_it_is(workspace: Workspace) -> None:
    lines = run("sql", r"SELECT 'old\' AS source_id").splitlines()
    assert [line.strip() for line in lines] == ["source_id", "old\\", "1 row"]
    assert run("sql", "SELECT unnest([1, 2])").splitlines()[-1] == "2 rows"


def test_without_tables_the_remedy_is_named() -> None:
    assert "perennial init" in run("status", exit_code=1)


def test_a_notebook_gets_an_open_connection_with_everything_in_place(workspace: Workspace) -> None:
    import perennial

    with perennial.connect() as connection:
        found = connection.execute("SELECT state, count(*) FROM source_availability GROUP BY ALL ORDER BY 1").fetchall()
        joined = connection.execute("SELECT count(*) FROM interactions JOIN sources USING (source_id)").fetchone()
    assert found == [("available", 2), ("expired", 1)]
    assert joined == (2468,)


def test_a_home_that_cannot_be_an_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", "/tmp/h#me?")
    assert "PERENNIAL_HOME" in run("status", exit_code=1)


@pytest.mark.parametrize("name", ["PERENNIAL_ARCHIVE_URI", "PERENNIAL_OPERATIONS_URI"])
@pytest.mark.parametrize("uri", ["s3://bucket/y#b", "s3://bucket/y?b", "/data/#1"])
def test_an_address_that_files_cannot_be_put_below_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, uri: str
) -> None:
    monkeypatch.setenv(name, uri)
    said = run("status", exit_code=1)
    assert name in said
    assert uri in said


def test_audience_lists_users_and_says_what_it_leaves_out(workspace: Workspace, tmp_path: Path) -> None:
    users = [{"user_id": f"user-{n}", "invalid_phone": False, "feature_flags": []} for n in range(9)]
    workspace.replace(USERS.name, users)
    file = tmp_path / "definition.json"
    file.write_text(json.dumps({"not": received("old")}))
    result = CliRunner().invoke(app, ["audience", str(file)])
    assert sorted(result.stdout.split()) == sorted(user["user_id"] for user in users)
    assert "Left out: 1,234 expired interactions of campaign 'old'" in result.stderr
    assert "some users may be included by mistake" in result.stderr
    assert "perennial restore old --notify you@example.com --reason 'Needed by an answer" in result.stderr
    assert run("audience", "--segment", "s1", "--count") == "7\n"
    assert run("audience", "-", "--count", stdin='{"or": []}') == "0\n"
    assert "would not be complete" in run("audience", str(file), "--strict", exit_code=1)
    assert "Reads 1 file with 1,234 interactions of 1 source." in run("audience", "--segment", "s1", "--explain")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "and not both"),
        (("missing.json",), "cannot be read"),
        (("--segment", "nobody"), "$.segment_id: 'nobody' is not a known segment; name one"),
        (("-",), "$: not JSON"),
    ],
    ids=["nothing asked", "missing file", "unknown segment", "not JSON"],
)
def test_an_audience_that_cannot_be_evaluated_is_said_in_a_sentence(
    workspace: Workspace, arguments: tuple[str, ...], said: str
) -> None:
    assert said in run("audience", *arguments, exit_code=1, stdin="{")
