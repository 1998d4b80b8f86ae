"""A platform of one's own: a folder of SELECTs, and the command that says what of it does not fit."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from typer.testing import CliRunner

from perennial.cli import app
from perennial.currents import load_interactions
from perennial.errors import TerminalMetadataError, TerminalSettingError
from perennial.moves import Run, expire_sources
from perennial.platform import sync_sources
from perennial.platform.selects import FILES
from perennial.settings import Settings
from perennial.statements import statement
from perennial.tables import SYNCED
from perennial.warehouse import Warehouse
from tests import PROJECT_ROOT
from tests.currents.landing import NOW
from tests.pages import copied, examples_of
from tests.rows import append_hot, interaction
from tests.workspace import PlatformWorkspace

PAGE = PROJECT_ROOT / "docs" / "your-data.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where the command line works with it."""
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_LANDING_SETTLE_SECONDS", "0")
    (tmp_path / "home").mkdir(exist_ok=True)
    return tmp_path / "home"


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a platform's own SELECTs, as `init --platform` writes them."""
    own = home / "own"
    run("init", "--platform", str(own))
    monkeypatch.setenv("PERENNIAL_PLATFORM_SQL", str(own))
    return own


@pytest.fixture
def platform(home: Path) -> Path:
    """The platform's database of the embedded default, with one source and one user."""
    path = home / "platform.db"
    execute(path, statement("platform/create_platform"))
    execute(path, "INSERT INTO sources VALUES ('s1', 'campaign', 'S', 'draft', '2026-01-02', NULL, NULL, NULL, NULL)")
    execute(path, "INSERT INTO users (user_id, invalid_phone, feature_flags) VALUES ('u1', 0, '[]')")
    return path


def execute(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(sql)


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == exit_code, result.output
    return result.output


def refusal() -> str:
    with pytest.raises((TerminalMetadataError, TerminalSettingError)) as error:
        sync_sources(Warehouse(Settings.from_environment()), "run-1")
    return str(error.value)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- the folder ---------------------------------------------------------------------------------------------------


def test_the_files_that_are_written_name_every_column_and_read_the_same_rows(
    warehouse: Warehouse, folder: Path, platform: Path
) -> None:
    for table in SYNCED:
        written = (folder / f"select_{table.name}.sql").read_text(encoding="utf-8")
        head = written.partition("SELECT\n")[0]
        assert all(f"{column.name}{'*' * column.required} " in head for column in table.columns)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)

    warehouse = Warehouse(Settings.from_environment())
    sync_sources(warehouse, "run-1")

    assert warehouse.read("sources")["source_id"].to_pylist() == ["s1"]
    assert warehouse.read("users")["user_id"].to_pylist() == ["u1"]


def test_files_are_written_again_where_they_are_missing_and_nothing_is_overwritten(folder: Path) -> None:
    (folder / "select_users.sql").unlink()
    assert "wrote" in run("init", "--platform", str(folder))
    assert "exists already" in run("init", "--platform", str(folder))
    (folder / "select_users.sql").unlink()
    (folder / "select_sources.sql").write_text("SELECT 1")
    before = everything_in(folder)

    said = run("init", "--platform", str(folder), exit_code=1)

    assert f"{folder}/select_sources.sql exists already" in said
    assert everything_in(folder) == before
    (folder / "file").touch()
    assert "cannot be written" in run("init", "--platform", str(folder / "file"), exit_code=1)


def test_a_file_replaces_one_select_and_the_others_stay_the_packages(
    warehouse: Warehouse, folder: Path, platform: Path
) -> None:
    for name in FILES:
        (folder / name).unlink()
    (folder / ".hidden").mkdir()
    # As editors of other systems write it.
    (folder / "select_source_tags.sql").write_text("\ufeffSELECT source_id, 'of my own' AS tag FROM sources;\r\n-- end")
    warehouse = Warehouse(Settings.from_environment())

    sync_sources(warehouse, "run-1")

    assert warehouse.read("source_tags").to_pylist() == [{"source_id": "s1", "tag": "of my own"}]
    assert warehouse.read("sources").num_rows == 1


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("select_source.sql", "did you mean 'select_sources.sql'?"),
        ("sources.SQL", "did you mean 'select_sources.sql'?"),
        ("select_users.sql~", "did you mean 'select_users.sql'?"),
        ("README.md", "use select_sources.sql, select_source_tags.sql"),
    ],
)
def test_a_file_with_an_unknown_name_is_refused_naming_the_nearest(
    name: str, nearest: str, warehouse: Warehouse, folder: Path, platform: Path
) -> None:
    (folder / name).write_text("SELECT 1")

    for said in (refusal(), run("check", "--platform", exit_code=1)):
        assert f"{name!r} is not a file that a sync reads; {nearest}" in said
        assert str(folder / name) in said


def test_a_folder_that_is_not_there_or_a_file_that_cannot_be_read_is_refused(
    warehouse: Warehouse, folder: Path, platform: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "select_users.sql").write_bytes(b"SELECT '\xe9'")
    assert f"{folder}/select_users.sql cannot be read" in refusal()
    monkeypatch.setenv("PERENNIAL_PLATFORM_SQL", "absent")
    said = refusal()
    assert f"PERENNIAL_PLATFORM_SQL is '{folder.parent}/absent', which cannot be read as a folder (No such file" in said


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("DELETE FROM users", "attempt to write a readonly database"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("", "returns no rows; write one SELECT in"),
        ("SELECT 'u1' AS user_id", "has no column external_user_id. Select it once in"),
    ],
)
def test_a_statement_that_cannot_be_used_is_named_with_its_file_and_changes_nothing(
    sql: str, said: str, warehouse: Warehouse, folder: Path, platform: Path
) -> None:
    (folder / "select_users.sql").write_text(sql)
    before = platform.read_bytes()

    refused = refusal()

    assert said in refused
    assert f"{folder}/select_users.sql" in refused
    assert "include/sql" not in refused
    printed = run("check", "--platform", exit_code=1)
    assert said in printed
    assert f"sources: 1 row from {folder}/select_sources.sql" in printed
    assert platform.read_bytes() == before


def test_a_value_is_named_with_the_file_of_the_select_in_use(
    warehouse: Warehouse, folder: Path, platform: Path
) -> None:
    execute(platform, "UPDATE sources SET stopped_at = 0, status = 'stopped'")
    assert f"NULLIF(stopped_at, 0) AS stopped_at in {folder}/select_sources.sql. " in refusal()
    (folder / "select_sources.sql").unlink()
    said = refusal()
    assert "AS stopped_at in a select_sources.sql of your own (`perennial init --platform FOLDER` writes it" in said


# --- check --platform ---------------------------------------------------------------------------------------------


BROKEN = {
    "select_sources.sql": """
        SELECT 's' || i AS source_id, 'campaign' AS kind, 'Name ' || i AS name,
            CASE i % 3 WHEN 0 THEN 'LIVE' WHEN 1 THEN 'PAUSED' ELSE 'draft' END AS status,
            CASE i WHEN 7 THEN NULL ELSE '2026-01-02' END AS created_at, CASE i WHEN 8 THEN 0 END AS stopped_at,
            CASE i WHEN 9 THEN '9999-12-31' END AS last_sent, NULL AS owner_email, NULL AS interaction_data_deleted_at
        FROM numbers""",
    "select_source_tags.sql": "SELECT 's' || (i * 2) AS source_id, 'one' || CASE i WHEN 2 THEN x'0A' ELSE '' END AS tag FROM numbers",
    "select_source_variants.sql": "SELECT * FROM nowhere",
    "select_canvas_steps.sql": "SELECT 'step' || (i / 2) AS step_id, 's1' AS source_id, 'n' AS name FROM numbers",
    "select_users.sql": """
        SELECT i AS user_id, NULL AS external_user_id, NULL AS email, NULL AS phone, NULL AS first_name,
            NULL AS last_name, NULL AS country, NULL AS language, NULL AS time_zone, 0 AS created_at,
            'perhaps' AS invalid_phone, '[]' AS feature_flags, NULL AS custom_attributes
        FROM numbers""",
}


def test_check_shows_five_rows_and_everything_at_once_and_changes_nothing(folder: Path, platform: Path) -> None:
    for name, sql in BROKEN.items():
        (folder / name).write_text(sql)
    numbers = "CREATE TABLE numbers (i INTEGER); INSERT INTO numbers VALUES "
    execute(platform, numbers + ", ".join(f"({number})" for number in range(1, 10)))
    before = everything_in(folder.parent)

    printed = run("check", "--platform", exit_code=1)

    assert everything_in(folder.parent) == before
    lines = printed.splitlines()
    for said in (
        "Refused: Platform table sources has no column last_sent_at; perhaps 'last_sent' is meant. Select it once",
        "Left out: Column 'last_sent' of sources is left out",
        "Refused (6 rows): Platform table sources, row source_id 's1': column status is 'PAUSED'; it must be draft,",
        "  Also: Platform table sources, row source_id 's3': column status is 'LIVE'; it must be draft,",
        "Refused (1 row): Platform table sources, row source_id 's7': column created_at is None; the column is required",
        "Refused (1 row): Platform table sources, row source_id 's8': column stopped_at is 0; a time before 2000",
        "Refused (1 row): Platform table source_tags, row source_id 's4', tag 'one\\n': column tag is 'one\\n'; ids and",
        "Refused (5 rows): Platform table source_tags, row source_id 's10', tag 'one': column source_id is 's10'; the",
        "Refused: Platform database sqlite:///",
        "Refused (4 rows): Platform table canvas_steps, row step_id 'step1': this id comes 2 times; it must be unique.",
        "created_at is read as null (9 rows): row user_id '1' has 0 (a time before 2000 cannot be right).",
        "Refused (9 rows): Platform table users, row user_id '1': column invalid_phone is 'perhaps'; true, false,",
    ):
        assert [line for line in lines if line.startswith(said)], said
    assert len([line for line in lines if line.lstrip().startswith("s") and " Name " in line]) == 5
    assert "sources: 9 rows from" in printed
    assert "A sync would refuse this platform: 9 issues." in printed
    Warehouse(Settings.from_environment()).create_tables()
    assert refusal().removesuffix(" The previous metadata stays in place.") in printed


def test_check_finds_what_a_sync_remarks_on_and_would_take(warehouse: Warehouse, folder: Path, platform: Path) -> None:
    execute(platform, "UPDATE sources SET stopped_at = '9999-12-31'")
    printed = run("check", "--platform")
    assert "stopped_at is later than now, so the source stays hot until then (1 row): row source_id 's1'" in printed
    assert "A sync would accept this platform as it is." in printed
    sync_sources(Warehouse(Settings.from_environment()), "run-1")


def test_check_finds_that_many_known_sources_would_be_missing(folder: Path, warehouse: Warehouse) -> None:
    workspace = PlatformWorkspace(warehouse)
    for number in range(20):
        workspace.source(f"s{number}")
    workspace.sync()
    execute(folder.parent / "platform.db", "DELETE FROM sources WHERE source_id <> 's1'")

    printed = run("check", "--platform", exit_code=1)

    assert "The platform's database lacks 19 of 20 known sources: that looks like a broken database" in printed
    assert f"Check PERENNIAL_PLATFORM_URL and {folder}/select_sources.sql." in printed


# --- ids of an earlier version ------------------------------------------------------------------------------------


def test_ids_with_control_characters_that_an_earlier_version_took_stay_readable(
    home: Path, warehouse: Warehouse
) -> None:
    old = ["line\nbreak", "nul\0id"]
    workspace = PlatformWorkspace(warehouse)
    for source_id in old:
        workspace.source(source_id)
    super(PlatformWorkspace, workspace).sync()
    append_hot(warehouse, [interaction(source_id, number) for source_id in old for number in range(3)])
    workspace.write()
    with pytest.raises(TerminalMetadataError, match="control characters"):
        sync_sources(warehouse, "refused")
    workspace.sources.clear()
    workspace.source("line break")
    workspace.sync()

    found = json.loads(run("sql", "SELECT source_id, hot_rows FROM source_availability", "--json"))
    assert {row["source_id"]: row["hot_rows"] for row in found} == {old[0]: 3, old[1]: 3, "line break": 0}
    assert set(warehouse.read("vanished_sources")["source_id"].to_pylist()) == set(old)


# --- docs/your-data.md --------------------------------------------------------------------------------------------


@pytest.mark.long(but="^sqlite$")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_examples_of_the_page_do_what_it_says(
    kind: str, home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    copied(PAGE, home)
    url = f"sqlite:///{home}/platform.db" if kind == "sqlite" else request.getfixturevalue("postgresql")
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for command in examples_of(PAGE)["platform.sql"].split(";\n"):
            connection.execute(text(command))
    monkeypatch.setenv("PERENNIAL_PLATFORM_URL", url)
    monkeypatch.setenv("PERENNIAL_PLATFORM_SQL", str(home / "platform-sql"))
    run("init")

    assert "A sync would accept this platform as it is." in run("check", "--platform")
    warehouse = Warehouse(Settings.from_environment())
    sync_sources(warehouse, "run-1")
    subprocess.run([sys.executable, "write_avro.py"], cwd=home, check=True)
    loaded = load_interactions(warehouse, NOW)
    due = expire_sources(warehouse, Run("run-2", NOW, "ann"), dry_run=True)

    assert warehouse.read("rejected_events").num_rows == 0
    assert Counter(warehouse.read("interactions")["event_id"].to_pylist()) == {f"e-{n}": 1 for n in range(1, 8)}
    assert (loaded.interactions, loaded.rejected) == (7, 0)
    assert [source.source_id for source in due.sources] == ["c-101"]
    decisions = warehouse.read("expiry_decisions").to_pylist()
    assert {row["source_id"]: row["decision"] for row in decisions} == {
        "c-101": "expire", "c-102": "referenced", "j-7": "active",
    }  # fmt: skip
