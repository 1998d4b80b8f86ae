"""Apache Spark reads every row of our tables as DuckDB does, and answers our statements as DuckDB does."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perennial.currents import load_interactions
from perennial.engines.analysts import open_query_session
from perennial.maintenance.compaction import compact_tables
from perennial.moves import Run, expire_sources, restore_sources
from perennial.platform import sync_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES
from perennial.warehouse import Warehouse
from perennial_sample.workspace import advance_workspace, create_workspace
from tests.analysts_page import QUERIES
from tests.engines.test_features_on_spark import Answers, look, of_old, rows
from tests.exports.received_world import expire, filled, restore
from tests.installed.spark import ApacheSpark
from tests.installed.spark_engine import ApacheEngine
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
MOVED = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
PLACES = [
    pytest.param("spark_on_disk", "local_warehouse", id="disk"),
    pytest.param("spark_on_s3", "lake_warehouse", id="s3", marks=pytest.mark.long),
]


@pytest.fixture
def on_spark(
    spark_on_disk: ApacheSpark, local_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    """The same workspace, asked through Spark."""
    engine = ApacheEngine(spark_on_disk, tmp_path)
    monkeypatch.setattr("perennial.engines.spark.SparkEngine", lambda _: engine)
    return Warehouse(replace(local_warehouse.settings, engine_url="sc://apache"))


@pytest.mark.parametrize(("spark", "warehouse"), PLACES)
def test_every_row_of_every_table_is_the_same_in_spark(
    request: pytest.FixtureRequest, spark: str, warehouse: str
) -> None:
    made = filled(request.getfixturevalue(warehouse))
    apache: ApacheSpark = request.getfixturevalue(spark)
    expire(made)
    append_hot(made, *([interaction("fresh", number)] for number in range(100, 110)))
    compact_tables(made)
    counted = Counter[str]()
    for table in TABLES:
        ours = multiset(made, table.name)
        assert apache.multiset(table.name) == ours, table.name
        counted[table.name] = ours.total()
    assert all(counted[name] for name in (*MOVED, "users", "expiry_decisions", "lifecycle_events", "archived_files"))


def test_r14_r17_our_statements_say_on_spark_what_they_say_in_duckdb(
    local_warehouse: Warehouse, on_spark: Warehouse
) -> None:
    filled(local_warehouse)
    before = of_old(on_spark)
    expire(local_warehouse)
    in_duckdb, in_spark = look(local_warehouse), look(on_spark)
    for topic in (field.name for field in fields(Answers)):
        said, found = getattr(in_duckdb, topic), getattr(in_spark, topic)
        assert said.keys() == found.keys()
        for question, answer in said.items():
            assert found[question] == answer, (topic, question)
    assert of_old(on_spark) != before
    restore(local_warehouse)
    assert of_old(on_spark) == before


def test_the_queries_of_the_analysts_page_say_on_spark_what_they_say_in_duckdb(
    local_warehouse: Warehouse, on_spark: Warehouse
) -> None:
    now = datetime.now(UTC) - timedelta(minutes=1)
    advance_workspace(create_workspace(local_warehouse.settings, 2_000, now=now))
    sync_sources(local_warehouse, "sync")
    load_interactions(local_warehouse, now)
    expire_sources(local_warehouse, Run("expiry", now))
    answered = 0
    for (_, heading), query in QUERIES.items():
        # A test that runs over midnight must not ask about another day.
        dated = query.replace("current_date", f"DATE '{now:%Y-%m-%d}'")
        said, found = (asked(warehouse, dated) for warehouse in (local_warehouse, on_spark))
        assert found == said, heading
        answered += bool(said)
    assert answered > len(QUERIES) / 2


def asked(warehouse: Warehouse, query: str) -> list[str]:
    with open_query_session(warehouse) as session:
        return rows(session.query(query).read_all())


@pytest.fixture
def moved(local_warehouse: Warehouse) -> Warehouse:
    """Two loads of two sources, one of them expired, and more loads of what runs on."""
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    sources = ("old", "running")
    for load in range(2):
        append_hot(local_warehouse, *([interaction(name, 20 * load + n) for n in range(20)] for name in sources))
    expire_sources(local_warehouse, Run("expiry", NOW))
    append_hot(local_warehouse, [interaction("running", 100)])
    return local_warehouse


@pytest.mark.parametrize("name", MOVED)
def test_the_metadata_tables_of_spark_agree_with_each_other_and_with_us(
    moved: Warehouse, spark_on_disk: ApacheSpark, name: str
) -> None:
    def asked(columns: str, kind: str) -> list[Any]:
        return sorted(spark_on_disk.sql(f"SELECT {columns} FROM {spark_on_disk.table(name)}.{kind}"))

    table = moved.table(name)
    live = [[file.uri, file.row_count, file.file_bytes] for file in moved.live_files(table)]
    assert asked("file_path, record_count, file_size_in_bytes", "files") == sorted(live)
    assert {uri for (uri,) in asked("file_path", "all_data_files")} >= {uri for uri, *_ in live}
    assert asked("file_path", "delete_files") == []
    (totals,) = asked("sum(existing_data_files_count + added_data_files_count), count(*)", "manifests")
    assert totals == [len(live), len(table.current_snapshot().manifests(table.io))]
    assert [each for (each,) in asked("snapshot_id", "snapshots")] == sorted(s.snapshot_id for s in table.snapshots())
    summary = table.current_snapshot().summary
    (counted,) = asked("count(*), sum(record_count), sum(file_size_in_bytes)", "files")
    said = [int(summary[f"total-{what}"]) for what in ("data-files", "records", "files-size")]
    assert said == counted
    partitions = asked("partition.source_id, record_count, file_count", "partitions")
    assert sum(files for _, _, files in partitions) == len(live)
    assert sum(count for _, count, _ in partitions) == sum(count for _, count, _ in live)


def test_the_procedures_of_spark_clean_up_what_moves_leave_behind_and_no_row(
    moved: Warehouse, spark_on_disk: ApacheSpark
) -> None:
    before = {name: multiset(moved, name) for name in MOVED}
    hot = files_below(moved, INTERACTIONS.name)
    for name in MOVED:
        call = f"table => '{moved.settings.namespace}.{name}', older_than => timestamp '2999-01-01 00:00:00'"
        spark_on_disk.sql(f"CALL perennial.system.expire_snapshots({call}, retain_last => 1)")
        assert len(moved.table(name).snapshots()) == 1
    assert {name: multiset(moved, name) for name in MOVED} == before
    for name in MOVED:
        listed = {Path(file.uri.removeprefix("file://")) for file in moved.live_files(moved.table(name))}
        assert files_below(moved, name) >= listed
    # Those of the expired source have gone from hot, which no snapshot lists any more.
    assert len(files_below(moved, INTERACTIONS.name)) < len(hot)
    restore_sources(moved, {"source_ids": ["old"], "notify": ["ann@example.com"]}, Run("restore", NOW))
    assert hot_and_archive(moved) == before[MOVED[0]] + before[MOVED[1]]


def files_below(warehouse: Warehouse, name: str) -> set[Path]:
    location = Path(warehouse.table(name).location().removeprefix("file://"))
    roots = {
        location,
        *(Path(f.uri.removeprefix("file://")).parent for f in warehouse.live_files(warehouse.table(name))),
    }
    return {
        Path(root) / file for top in roots for root, _, files in os.walk(top) for file in files if ".parquet" in file
    }
