"""What every catalog keeps to: SQLite, PostgreSQL, a REST catalog, Glue; one suite over all of them."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.glue.responses import GlueResponse
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.types import StringType
from sqlalchemy import make_url

from perennial.errors import TerminalSettingError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, SOURCE_TAGS, TABLES
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change
from tests.aws import REGION, Aws
from tests.lake import KEY, SECRET, Lake
from tests.maintenance.maintain import maintain_warehouse
from tests.rows import append_hot, interaction, multiset
from tests.workspace import Workspace

CATALOG = "PYICEBERG_CATALOG__PERENNIAL__"
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "rest", "glue"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One warehouse of each catalog, for all the tests here; each has sources of its own."""
    home = tmp_path_factory.mktemp(request.param)
    environment = {"PERENNIAL_HOME": str(home), **_configured(request, home)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3_storage.cache_clear()
        with opened(Settings.from_environment(environment)) as warehouse:
            warehouse.create_tables()
            yield warehouse
    s3_storage.cache_clear()


@contextmanager
def opened(settings: Settings) -> Iterator[Warehouse]:
    """A warehouse whose connections to a database end with the block, not when they are collected."""
    warehouse = Warehouse(settings)
    yield warehouse
    if isinstance(warehouse.catalog, SqlCatalog):
        warehouse.catalog.engine.dispose()


def _configured(request: pytest.FixtureRequest, home: Path) -> dict[str, str]:
    if request.param == "rest":
        lake: Lake = request.getfixturevalue("lake")
        return lake.environment(f"n{uuid.uuid4().hex}")
    if request.param == "postgresql":
        uri = make_url(request.getfixturevalue("postgresql")).render_as_string(hide_password=False)
        warehouse = {f"{CATALOG}WAREHOUSE": f"file://{home}/warehouse", "PERENNIAL_NAMESPACE": f"n{uuid.uuid4().hex}"}
        return {f"{CATALOG}TYPE": "sql", f"{CATALOG}URI": uri, "PERENNIAL_ARCHIVE_URI": f"{home}/archive", **warehouse}
    if request.param == "glue":
        aws: Aws = request.getfixturevalue("aws")
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": aws.connection,
            f"{CATALOG}TYPE": "glue",
            f"{CATALOG}WAREHOUSE": f"s3://{aws.bucket()}/warehouse",
            f"{CATALOG}GLUE__ENDPOINT": aws.url,
            f"{CATALOG}CLIENT__REGION": REGION,
            f"{CATALOG}CLIENT__ACCESS_KEY_ID": KEY,
            f"{CATALOG}CLIENT__SECRET_ACCESS_KEY": SECRET,
            "PERENNIAL_ARCHIVE_URI": f"s3://{aws.bucket()}/archive",
            # There is one Glue for all tests of this process.
            "PERENNIAL_NAMESPACE": f"n{uuid.uuid4().hex}",
        }
    return {}


@pytest.mark.long(but="^sqlite$")
def test_every_table_is_there_once_and_setting_up_again_changes_nothing(shared: Warehouse) -> None:
    assert not shared.missing_tables()
    assert shared.create_tables() == []
    hot, archive = shared.table(INTERACTIONS.name), shared.table(INTERACTIONS_ARCHIVE.name)
    assert hot.schema().as_struct() == archive.schema().as_struct()
    assert len(TABLES) == len(shared.catalog.list_tables(shared.settings.namespace))


@pytest.mark.long(but="^sqlite$")
def test_a_column_that_was_called_otherwise_is_renamed_and_keeps_its_values(shared: Warehouse) -> None:
    with shared.table(ARCHIVED_FILES.name).update_schema() as update:
        update.rename_column("checksum", "sha256")

    assert shared.create_tables() == ["renamed column archived_files.sha256 to checksum"]
    assert shared.create_tables() == []


@pytest.mark.long(but="sqlite")
def test_a_table_that_another_program_gave_a_column_is_left_with_it(shared: Warehouse) -> None:
    with shared.table(SOURCE_TAGS.name).update_schema() as update:
        update.add_column("theirs", StringType())

    assert shared.create_tables() == []
    assert "theirs" in shared.table(SOURCE_TAGS.name).schema().column_names


@pytest.mark.long(but="^(sqlite|postgresql)$")
def test_rows_of_any_ids_are_appended_once_and_found_by_source(shared: Warehouse) -> None:
    ids = ["a/b", "it's", 'say "x"', "50%", "é😀", "x" * 300]
    append_hot(shared, [interaction(source_id, number) for source_id in ids for number in range(3)])
    table = shared.table(INTERACTIONS.name)

    for source_id in ids:
        assert {live.source_id for live in shared.live_files(table, [source_id])} == {source_id}
        assert shared.source_totals(INTERACTIONS.name, [source_id])[source_id].row_count == 3

    files = [live.data_file for live in shared.live_files(table, ids)]
    assert commit_change(shared, INTERACTIONS.name, lambda _: FileChange(remove=files), "gone")
    assert not commit_change(shared, INTERACTIONS.name, lambda _: FileChange(remove=files), "gone")


@pytest.mark.long(but="sqlite|rest")
def test_a_commit_whose_answer_is_lost_is_found_made_and_nothing_of_it_is_deleted(
    shared: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    def once(commit: Callable[..., Any]) -> Callable[..., Any]:
        def committed(*arguments: Any) -> Any:
            answer = commit(*arguments)
            if not lost:
                lost.append("its answer")
                # Of this, Glue's client asks again by itself, and is told of a conflict with itself.
                raise RuntimeError("the answer is lost") if on_glue else CommitFailedException("somebody was faster")
            return answer

        return committed

    append_hot(shared, [interaction("lost", number) for number in range(3)])
    on_glue = isinstance(shared.catalog, GlueCatalog)
    place, name = (GlueResponse, "update_table") if on_glue else (shared.catalog, "commit_table")
    monkeypatch.setattr(place, name, once(getattr(place, name)))

    append_hot(shared, [interaction("lost", number) for number in range(3, 5)])

    assert lost
    assert multiset(shared, INTERACTIONS.name, ["lost"]).total() == 5
    assert len(multiset(shared, INTERACTIONS.name, ["lost"])) == 5


@pytest.mark.long(but="^sqlite$")
def test_writers_at_once_all_get_through(shared: Warehouse) -> None:
    sources = [f"writer-{number}" for number in range(4)]
    failed: list[Exception] = []

    def write(source_id: str) -> None:
        try:
            with opened(shared.settings) as mine:
                for number in range(3):
                    append_hot(mine, [interaction(source_id, number)])
        except Exception as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(source_id,)) for source_id in sources]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert not failed
    assert multiset(shared, INTERACTIONS.name, sources).total() == 12


@pytest.mark.long
def test_the_main_job_there_and_back_and_the_upkeep(shared: Warehouse) -> None:
    workspace = Workspace(shared)
    workspace.source("old", "stopped")
    append_hot(shared, [interaction("old", number) for number in range(20)])
    workspace.sync()
    before = multiset(shared, INTERACTIONS.name, ["old"])

    expire_sources(shared, Run("e", NOW, "ann"))
    assert multiset(shared, INTERACTIONS.name, ["old"]) == Counter()
    assert multiset(shared, INTERACTIONS_ARCHIVE.name, ["old"]) == before

    maintain_warehouse(shared, datetime.now(UTC) + timedelta(days=30))
    assert multiset(shared, INTERACTIONS_ARCHIVE.name, ["old"]) == before

    restore_sources(shared, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("r", NOW, "ann"))
    assert multiset(shared, INTERACTIONS.name, ["old"]) == before


def test_a_namespace_that_was_not_set_up_is_said(shared: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_NAMESPACE", "nowhere")
    with opened(Settings.from_environment()) as warehouse:
        assert warehouse.missing_tables() == {table.name for table in TABLES}
        with pytest.raises(TerminalSettingError, match="perennial init"):
            warehouse.table(INTERACTIONS.name)
