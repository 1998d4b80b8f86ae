"""Merging on Spark: the rows stay, whoever interferes, whatever the engine makes of them, and wherever it is killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from perennial.engines.spark import SparkSession
from perennial.maintenance.compaction import compact_table
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from perennial.warehouse.staging import staging_names
from tests.engines.test_other_writers import delete_by_position
from tests.maintenance.steps import append_loads, data_files
from tests.maintenance.test_compaction import HOSTILE
from tests.rows import append_hot, interaction, multiset
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
