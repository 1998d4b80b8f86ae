"""Merging on Spark: the rows stay, whoever interferes, whatever the engine makes of them, and wherever it is killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.types import StringType

from perennial.engines.spark import SparkEngine, SparkSession
from perennial.errors import TerminalDataError
from perennial.maintenance import groups, maintain_warehouse, on_engine
from perennial.maintenance.compaction import compact_table
from perennial.maintenance.staging import staging_table
from perennial.moves.plan import EXPIRE
from perennial.sql import statement
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from perennial.warehouse.staging import create_staging, staging_names
from perennial_sample.ports import free_port
from tests.engines.test_other_writers import COLUMNS, delete_by_position
from tests.kill import Point, run_and_kill
from tests.maintenance.steps import Move, append_loads, data_files, stored
from tests.maintenance.test_compaction import HOSTILE
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.spark import Spark

HOT = INTERACTIONS.name
LATER = timedelta(days=100)


@pytest.fixture(params=["spark"])
def on_spark(request: pytest.FixtureRequest, lake_warehouse: Warehouse, spark: Spark) -> Warehouse:
    return Warehouse(replace(lake_warehouse.settings, engine_url=spark.url, compact_on_engine=True))


@pytest.fixture
def session(spark: Spark) -> Iterator[Any]:
    opened = SparkSession(connection=spark.url)
    yield opened
    opened.stop()


def file_counts(warehouse: Warehouse) -> dict[str, int]:
    return {source_id: total.file_count for source_id, total in warehouse.source_totals(HOT).items()}


def engine_written(warehouse: Warehouse) -> set[str]:
    """Sources that have a file which DuckDB has not written: Sail leaves no sizes of columns out of its offsets."""
    return {
        live.source_id
        for live in warehouse.live_files(warehouse.table(HOT))
        if live.data_file.split_offsets is not None
    }


def left_behind(warehouse: Warehouse) -> list[str]:
    """Staging tables, what lies where they were, and files of hot that it does not list."""
    root = warehouse.table(HOT).location().rpartition("/")[0]
    found = [stored.uri for stored in storage_for(root).list_files(root) if "/compaction_" in stored.uri]
    place = warehouse.table(HOT).location_provider().data_path
    names = {stored.uri.rpartition("/")[2] for stored in storage_for(place).list_files(place)}
    return [*staging_names(warehouse), *found, *(names - data_files(warehouse, HOT))]


def test_the_hash_of_the_engine_covers_every_column() -> None:
    hashed = statement("maintenance/fingerprint_sources").partition("hash(")[2].partition(")")[0]
    assert [name.strip() for name in hashed.split(",")] == [column.name for column in INTERACTIONS.columns]


def test_every_row_of_every_id_is_kept_and_each_source_has_one_file(on_spark: Warehouse, session: Any) -> None:
    append_loads(on_spark, HOSTILE, loads=5)
    append_hot(on_spark, [interaction("few", number) for number in range(3)])
    append_hot(on_spark, [interaction("gone", number) for number in range(2)])
    delete_by_position(on_spark, session, "plain#1", "plain#4", "🦄#0", "gone#0", "gone#1")
    before = multiset(on_spark, HOT)

    outcome = compact_table(on_spark, HOT)

    assert multiset(on_spark, HOT) == before
    assert before.total() == 10 * len(HOSTILE) - 2 + 3
    assert file_counts(on_spark) == {**dict.fromkeys(HOSTILE, 1), "few": 1}
    assert not any(live.deletes for live in on_spark.live_files(on_spark.table(HOT)))
    assert outcome.row_count == 10 * len(HOSTILE) - 2
    # An id that no engine can make a path of is merged in process.
    assert engine_written(on_spark) == {source for source in HOSTILE if 0 < len(source) < 20 or source == "🦄" * 20}
    assert compact_table(on_spark, HOT).files_before == 0, "nothing is left to save"
    assert staging_names(on_spark) == []


# --- others at work while the engine writes -----------------------------------------------------------------------


def while_it_writes(patch: pytest.MonkeyPatch, others: Callable[[Sequence[str]], None], after: bool = False) -> None:
    """Let others work when the engine has its statement, or when it has just finished it."""
    append = SparkEngine.append

    def appended(engine: SparkEngine, table: Sequence[str], *arguments: Any) -> None:
        if after:
            append(engine, table, *arguments)
            others(table)
        else:
            others(table)
            append(engine, table, *arguments)

    patch.setattr(SparkEngine, "append", appended)


def test_a_load_an_expiry_and_a_delete_while_the_engine_writes_are_kept(
    on_spark: Warehouse, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_loads(on_spark, ["loaded", "expired", "deleted", "moving", "quiet"], loads=4)
    moving = Move(on_spark, EXPIRE, ["moving"])
    before = multiset(on_spark, HOT)

    def others(_: Sequence[str]) -> None:
        append_loads(on_spark, ["loaded"], loads=1, first=100)
        Move(on_spark, EXPIRE, ["expired"]).run()
        moving.plan()
        delete_by_position(on_spark, session, "deleted#3")

    while_it_writes(monkeypatch, others)
    outcome = compact_table(on_spark, HOT)

    assert outcome.files_before == 8, "loaded and quiet"
    assert file_counts(on_spark) == {"loaded": 2, "deleted": 4, "moving": 4, "quiet": 1}
    moving.copy()
    moving.add()
    moving.remove()
    rows = hot_and_archive(on_spark)
    assert {json.loads(row)["event_id"] for row in before - rows} == {"deleted#3"}
    assert sorted(json.loads(row)["event_id"] for row in (rows - before).elements()) == ["loaded#200", "loaded#201"]
    assert {json.loads(row)["source_id"] for row in multiset(on_spark, HOT)} == {"loaded", "deleted", "quiet"}
    assert staging_names(on_spark) == []


# --- wrong rows ---------------------------------------------------------------------------------------------------

DROPPED = "DELETE FROM {table} WHERE event_id = 'a#3'"
DOUBLED = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE event_id = 'a#3'"
CHANGED = "UPDATE {table} SET external_user_id = user_id, channel = NULL WHERE event_id = 'a#3'"


@pytest.mark.parametrize("blind", [False, True], ids=["spark proves it", "spark sees nothing, DuckDB proves it"])
def test_wrong_rows_are_never_committed(on_spark: Warehouse, monkeypatch: pytest.MonkeyPatch, blind: bool) -> None:
    append_loads(on_spark, ["a", "b"], loads=4)
    files, before = data_files(on_spark, HOT), multiset(on_spark, HOT)
    if blind:
        monkeypatch.setattr(on_engine, "_prove_by_engine", lambda *_: None)
    wrong: list[str] = []

    def others(table: Sequence[str]) -> None:
        session = SparkSession(connection=on_spark.settings.engine_url)
        for text in wrong:
            session.sql(text.format(table=".".join(table), columns=COLUMNS)).collect()
        session.stop()

    while_it_writes(monkeypatch, others, after=True)
    for wrong[:] in ([DROPPED], [DOUBLED], [DROPPED, DOUBLED.replace("a#3", "a#2")], [CHANGED]):
        with pytest.raises(TerminalDataError, match=r"(?s)'a'.*Nothing was replaced.*PERENNIAL_COMPACT_ON_ENGINE"):
            compact_table(on_spark, HOT)
        assert data_files(on_spark, HOT) == files
        assert staging_names(on_spark) == []

    wrong.clear()
    assert compact_table(on_spark, HOT).files_before == 8
    assert multiset(on_spark, HOT) == before


# --- killed -------------------------------------------------------------------------------------------------------

POINTS = [
    Point("after", "perennial.maintenance.staging:create_staging"),
    Point("before", "perennial.maintenance.on_engine:find_staging"),
    Point("after", "perennial.maintenance.on_engine:_copied"),
    Point("after", "perennial.maintenance.staging:drop_staging"),
    Point("before", "commit:compact"),
    Point("after", "commit:compact"),
]


def test_killed_between_any_two_steps_it_is_made_good_by_the_next_run(on_spark: Warehouse) -> None:
    append_loads(on_spark, ["a", "it's/b"], loads=4)
    before = multiset(on_spark, HOT)
    for point in POINTS:
        # Each run comes across what those before it have left.
        run_and_kill(on_spark.settings, point, compact_table, HOT)
        assert multiset(on_spark, HOT) == before, point
    assert len(staging_names(on_spark)) == 3
    assert left_behind(on_spark)

    maintain_warehouse(on_spark, datetime.now(UTC) + LATER)

    assert multiset(on_spark, HOT) == before
    assert file_counts(on_spark) == {"a": 1, "it's/b": 1}
    assert left_behind(on_spark) == []


# --- what is chosen -----------------------------------------------------------------------------------------------


def test_a_source_of_which_most_is_merged_already_is_left_to_the_pass_in_process(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_hot(warehouse, [interaction("mostly large", number) for number in range(20_000)])
    append_loads(warehouse, ["mostly large", "small", ""], loads=4)
    monkeypatch.setattr(groups, "SMALL_BYTES", 20_000)
    table = warehouse.table(HOT)
    planned = groups.plan_groups(warehouse, table)

    assert {group.source_id for group in planned} == {"mostly large", "small", ""}
    (chosen,) = on_engine.whole_sources(warehouse, table, planned)
    assert (chosen.source_id, len(chosen.files)) == ("small", 4)


def test_columns_with_other_field_ids_than_a_new_table_has_are_merged_in_process(
    lake_warehouse: Warehouse,
) -> None:
    # Somebody has added a column and dropped it again, then a later version added one.
    for change in ("add", "drop", "later"):
        with lake_warehouse.table(HOT).update_schema() as update:
            if change == "drop":
                update.delete_column("add")
            else:
                update.add_column(change, StringType())
    append_loads(lake_warehouse, ["a"], loads=4)
    before = multiset(lake_warehouse, HOT)
    # Nobody is there to be asked.
    settings = replace(lake_warehouse.settings, engine_url=f"sc://127.0.0.1:{free_port()}", compact_on_engine=True)

    assert compact_table(Warehouse(settings), HOT).files_after == 1

    assert multiset(lake_warehouse, HOT) == before
    assert staging_names(lake_warehouse) == []


# --- purged -------------------------------------------------------------------------------------------------------


def test_files_that_a_dropped_staging_table_left_go_when_they_are_old_and_no_other(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    before = multiset(warehouse, HOT)
    table = warehouse.table(HOT)
    with staging_table(warehouse, table) as staging:
        staging.append(table.scan().to_arrow())
        listed = staging.refresh().location().removeprefix("file://")
    killed = create_staging(warehouse, table)
    neighbour = warehouse.catalog.create_table((warehouse.settings.namespace, "compaction_of_ours"), table.schema())
    neighbours = stored(neighbour.location())
    assert stored(listed)
    assert staging_names(warehouse) == [killed.name()[-1]]
    notes = f"{warehouse.operations_uri()}/compactions"

    maintain_warehouse(warehouse, datetime.now(UTC))
    assert stored(listed)
    assert staging_names(warehouse) == [killed.name()[-1]], "it might be at work"
    assert len(stored(notes)) == 2, "the next purge finds both"

    maintain_warehouse(warehouse, datetime.now(UTC) + LATER)
    assert (stored(listed), stored(killed.location()), staging_names(warehouse), stored(notes)) == (
        set(), set(), [], set(),
    )  # fmt: skip
    assert stored(neighbour.location()) == neighbours
    assert multiset(warehouse, HOT) == before
