"""Properties, branches and tags that somebody sets: work goes on as before, and what they keep is kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortDirection
from pyiceberg.table.update import SetSnapshotRefUpdate
from pyiceberg.transforms import IdentityTransform

from perennial.maintenance import expire_old_snapshots
from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES
from perennial.warehouse import Warehouse
from tests.currents.landing import OPEN, event, everything, land_avro, load
from tests.maintenance.maintain import maintain_warehouse
from tests.others.writer import NOW, append, repartition, set_properties, table_of_others
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
RUN = Run("r1", NOW, "ann")
NAMES = [table.name for table in TABLES]
DAY = timedelta(days=1)
MS = 86_400_000
# Of the configuration page of Iceberg, what bears on how a table is written, committed to and cleaned up.
SET = {
    "write.format.default": "avro",
    "write.delete.format.default": "avro",
    "write.delete.mode": "merge-on-read",
    "write.update.mode": "merge-on-read",
    "write.merge.mode": "merge-on-read",
    "write.delete.isolation-level": "serializable",
    "write.update.isolation-level": "serializable",
    "write.merge.isolation-level": "serializable",
    "write.distribution-mode": "range",
    "write.object-storage.enabled": "true",
    "write.object-storage.partitioned-paths": "false",
    "write.parquet.compression-codec": "gzip",
    "write.parquet.row-group-limit": "2",
    "write.target-file-size-bytes": "1024",
    "write.metadata.compression-codec": "gzip",
    "write.metadata.metrics.default": "none",
    "write.metadata.delete-after-commit.enabled": "false",
    "write.metadata.previous-versions-max": "3",
    "write.summary.partition-limit": "100",
    "write.wap.enabled": "true",
    "commit.retry.num-retries": "0",
    "commit.retry.total-timeout-ms": "1",
    "commit.manifest-merge.enabled": "false",
    "commit.manifest.min-count-to-merge": "1",
    "read.split.target-size": "1",
}


def now() -> datetime:
    return datetime.now(UTC)


def work(warehouse: Warehouse) -> None:
    """Everything that writes: sync, load, expire, restore, compaction, snapshots, purge."""
    workspace = Workspace(warehouse)
    workspace.source("c1")
    workspace.source("old")
    workspace.sync()
    append_hot(warehouse, *([interaction("old", number)] for number in range(9)))
    for number in range(3):
        land_avro(warehouse.settings, OPEN, [event(number), event(number + 10, campaign_id="old")], f"{number}.avro")
        load(warehouse)
    expire_sources(warehouse, RUN)
    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, RUN)
    maintain_warehouse(warehouse, now() + 100 * DAY)


def sorted_and_partitioned(table: Table) -> None:
    column = table.schema().fields[0].name
    with table.update_sort_order() as update:
        update.desc(column, IdentityTransform())
    assert table.sort_order().fields[0].direction is SortDirection.DESC


@pytest.mark.long
def test_work_goes_on_whatever_properties_and_order_are_set(warehouse: Warehouse) -> None:
    for name in NAMES:
        set_properties(warehouse, name, SET)
        sorted_and_partitioned(table_of_others(warehouse, name))
        if not table_of_others(warehouse, name).spec().fields:
            column = warehouse.table(name).schema().fields[0].name
            repartition(warehouse, lambda update, column=column: update.add_identity(column), name)  # type: ignore[misc]
    work(warehouse)

    assert multiset(warehouse, ARCHIVE).total() == 3
    assert hot_and_archive(warehouse).total() == 15
    found = everything(warehouse)
    assert {name: rows.total() for name, rows in found.items()} == {
        "interactions": 12,
        "loaded_events": 6,
        "source_daily_stats": 6,
        "user_message_summary": 3,
        "rejected_events": 0,
        "loaded_files": 3,
    }
    assert warehouse.create_tables() == [], "a table's own properties win"
    assert all(table_of_others(warehouse, name).properties.items() >= SET.items() for name in NAMES)


def test_no_file_and_no_snapshot_of_a_table_without_garbage_collection_goes(warehouse: Warehouse) -> None:
    for number in range(5):
        append_hot(warehouse, [interaction("a", number)])
    set_properties(warehouse, HOT, {"gc.enabled": "false"})
    before = table_of_others(warehouse).inspect.all_files()["file_path"].to_pylist()
    snapshots = len(table_of_others(warehouse).metadata.snapshots)

    for _ in range(2):
        maintain_warehouse(warehouse, now() + 100 * DAY)

    table = table_of_others(warehouse)
    assert len(table.metadata.snapshots) == snapshots + 1, "the merging of small files is one more"
    assert all(table.io.new_input(uri).exists() for uri in before)
    set_properties(warehouse, HOT, {"gc.enabled": "true"})
    maintain_warehouse(warehouse, now() + 100 * DAY)
    assert not any(table.io.new_input(uri).exists() for uri in before)
    assert multiset(warehouse, HOT).total() == 5


def branch(**retention: int) -> Callable[[Table], None]:
    def keep(table: Table) -> None:
        update = SetSnapshotRefUpdate(
            ref_name="main", type="branch", snapshot_id=table.metadata.current_snapshot_id, **retention
        )
        table.catalog.commit_table(table, (), (update,))

    return keep


def properties(**named: str) -> Callable[[Table], None]:
    def keep(table: Table) -> None:
        with table.transaction() as transaction:
            transaction.set_properties({f"history.expire.{key.replace('_', '-')}": text for key, text in named.items()})

    return keep


# What is asked to be kept, and how many of five snapshots are left 100 days later.
KEPT = {
    "nothing": (lambda table: None, 1),
    "number": (properties(min_snapshots_to_keep="3"), 3),
    "more-than-there-are": (properties(min_snapshots_to_keep="30"), 5),
    "age": (properties(max_snapshot_age_ms=str(200 * MS)), 5),
    "age-below-the-window": (properties(max_snapshot_age_ms="1"), 1),
    "number-of-the-branch": (branch(min_snapshots_to_keep=2), 2),
    "age-of-the-branch": (branch(max_snapshot_age_ms=200 * MS), 5),
}


@pytest.mark.long(but="nothing|branch")
@pytest.mark.parametrize(("keep", "left"), KEPT.values(), ids=KEPT.keys())
def test_snapshots_that_a_table_or_a_branch_asks_for_are_kept(
    warehouse: Warehouse, keep: Callable[[Table], None], left: int
) -> None:
    for number in range(5):
        append_hot(warehouse, [interaction("a", number)])
    keep(table_of_others(warehouse))

    expire_old_snapshots(warehouse, now() + 100 * DAY)

    table = table_of_others(warehouse)
    assert len(table.metadata.snapshots) == left
    numbers = [table.scan(snapshot_id=found.snapshot_id).count() for found in table.metadata.snapshots]
    assert sorted(numbers) == list(range(6 - left, 6))


@pytest.mark.long
def test_rows_that_only_a_branch_or_a_tag_reaches_stay_readable(warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.sync()
    for number in range(9):
        append_hot(warehouse, [interaction("old", number)])
    table = table_of_others(warehouse)
    head = table.metadata.current_snapshot_id
    assert head is not None
    # References whose age limit is over: other engines may remove them, this product never does.
    table.manage_snapshots().create_tag(head, "audit", max_ref_age_ms=1).create_branch(
        head, "work", max_ref_age_ms=1
    ).commit()
    append(warehouse, [interaction("theirs", 1)], branch="work")
    # Write, audit, publish: in a snapshot that nothing refers to before it is published.
    append(warehouse, [interaction("staged", 1)], branch=None)
    before = hot_and_archive(warehouse)

    expire_sources(warehouse, RUN)
    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, RUN)
    for _ in range(2):
        maintain_warehouse(warehouse, now() + 100 * DAY)

    assert before.total() == 9
    assert hot_and_archive(warehouse) == before, "main alone is read and moved"
    table = table_of_others(warehouse)
    assert table.scan(snapshot_id=table.metadata.refs["audit"].snapshot_id).to_arrow().num_rows == 9
    assert table.scan(snapshot_id=table.metadata.refs["work"].snapshot_id).to_arrow().num_rows == 10
