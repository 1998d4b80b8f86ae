"""Tables that Spark writes to: what it appends and deletes is seen, merged and moved as if it were ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.engines.spark import SparkSession
from perennial.maintenance.compaction import compact_table
from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from tests.audiences.worlds import ask
from tests.rows import append_hot, interaction, multiset, visible
from tests.spark import Spark
from tests.workspace import Workspace, received

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
COLUMNS = ", ".join(column.name for column in INTERACTIONS.columns)
ROWS = [interaction(source, number) for source in ("old", "running") for number in range(14)]


@pytest.fixture
def workspace(lake_warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(lake_warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    users = [{"user_id": f"user-{number}", "invalid_phone": False, "feature_flags": []} for number in range(20)]
    workspace.replace("users", users)
    append_hot(lake_warehouse, ROWS)
    return lake_warehouse


@pytest.fixture(params=["spark"])
def writer(request: pytest.FixtureRequest, spark: Spark) -> Iterator[SparkSession]:
    session = SparkSession(connection=spark.url)
    yield session
    session.stop()


def table(warehouse: Warehouse) -> str:
    return f"{warehouse.settings.namespace}.{INTERACTIONS.name}"


def set_property(warehouse: Warehouse, key: str, value: str) -> None:
    with warehouse.table(INTERACTIONS.name).transaction() as transaction:
        transaction.set_properties({key: value})


def delete_by_position(warehouse: Warehouse, writer: SparkSession, *event_ids: str) -> None:
    """Sail deletes by position only where a MERGE does, and where the table asks for it."""
    set_property(warehouse, "write.merge.mode", "merge-on-read")
    writer.createDataFrame([(event_id,) for event_id in event_ids], "event_id STRING").createOrReplaceTempView("gone")
    merge = f"MERGE INTO {table(warehouse)} AS t USING gone AS g ON t.event_id = g.event_id WHEN MATCHED THEN DELETE"
    writer.sql(merge).collect()
    assert any(live.deletes for live in warehouse.live_files(warehouse.table(INTERACTIONS.name)))


def seen_by_both(warehouse: Warehouse, spark: Spark) -> dict[str, list[str]]:
    """Who received something of each source: as DuckDB says, which has to be what Spark says."""
    on_spark = Warehouse(replace(warehouse.settings, engine_url=spark.url))
    definitions: dict[str, Any] = {source: received(source) for source in ("old", "running")}
    found = {source: ask(warehouse, definition, NOW).users for source, definition in definitions.items()}
    assert found == {source: ask(on_spark, definition, NOW).users for source, definition in definitions.items()}
    return found


@pytest.mark.long
def test_rows_that_spark_appends_are_rows_like_all_others(
    workspace: Warehouse, writer: SparkSession, spark: Spark
) -> None:
    before = multiset(workspace, INTERACTIONS.name)
    insert = f"INSERT INTO {table(workspace)} ({COLUMNS}) SELECT {COLUMNS} FROM {table(workspace)}"
    writer.sql(f"{insert} WHERE source_id = 'old' AND user_id = 'user-1'").collect()

    added = multiset(workspace, INTERACTIONS.name, ["old"]) - before
    assert {json.loads(row)["user_id"] for row in added} == {"user-1"}
    assert sum(added.values()) == 2
    after = multiset(workspace, INTERACTIONS.name)
    expire_sources(workspace, Run("expiry", NOW))
    assert multiset(workspace, INTERACTIONS.name, ["old"]).total() == 0
    restore_sources(workspace, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("restore", NOW))
    assert multiset(workspace, INTERACTIONS.name) == after
    assert seen_by_both(workspace, spark)["old"] == [f"user-{number}" for number in range(7)]


@pytest.mark.long
def test_rows_that_spark_deletes_by_rewriting_their_file_are_gone(
    workspace: Warehouse, writer: SparkSession, spark: Spark
) -> None:
    writer.sql(f"DELETE FROM {table(workspace)} WHERE source_id = 'running' AND user_id = 'user-3'").collect()
    gone = {f"running#{number}" for number in (3, 10)}
    left = sorted({row["event_id"] for row in ROWS} - gone)
    assert sorted(json.loads(row)["event_id"] for row in visible(workspace).elements()) == left
    assert "user-3" not in seen_by_both(workspace, spark)["running"]


@pytest.mark.long
def test_rows_that_spark_deletes_by_position_are_gone_and_are_merged_away(
    workspace: Warehouse, writer: SparkSession, spark: Spark
) -> None:
    before = multiset(workspace, INTERACTIONS.name)
    delete_by_position(workspace, writer, "running#2", "running#9", "old#0")
    after = multiset(workspace, INTERACTIONS.name)
    assert sorted(json.loads(row)["event_id"] for row in (before - after).elements()) == [
        "old#0",
        "running#2",
        "running#9",
    ]
    assert (after - before).total() == 0
    people = seen_by_both(workspace, spark)
    assert people["running"] == [f"user-{number}" for number in (0, 1, 3, 4, 5, 6)]

    compact_table(workspace, INTERACTIONS.name)
    assert not any(live.deletes for live in workspace.live_files(workspace.table(INTERACTIONS.name)))
    assert multiset(workspace, INTERACTIONS.name) == after
    assert seen_by_both(workspace, spark) == people


@pytest.mark.long
def test_a_source_with_rows_that_spark_deleted_by_position_expires_and_comes_back_without_them(
    workspace: Warehouse, writer: SparkSession, spark: Spark
) -> None:
    delete_by_position(workspace, writer, "old#4", "old#11")
    after = multiset(workspace, INTERACTIONS.name)
    expire_sources(workspace, Run("expiry", NOW))
    restore_sources(workspace, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("restore", NOW))
    assert multiset(workspace, INTERACTIONS.name) == after
    assert "user-4" not in seen_by_both(workspace, spark)["old"]
