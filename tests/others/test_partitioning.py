"""Somebody partitions a table anew: rows written before, meanwhile and after are found, moved and brought back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyiceberg.table.update.spec import UpdateSpec
from pyiceberg.transforms import BucketTransform, MonthTransform

from perennial.lifecycle import Run, expire_sources, restore_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests.audiences.worlds import ask
from tests.others.writer import NOW, append, repartition
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace, received

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
RUN = Run("r1", NOW, "ann")
Change = Callable[[UpdateSpec], object]
CHANGES: dict[str, Change] = {
    "month-added": lambda update: update.add_field("occurred_at", MonthTransform(), "month"),
    "bucket-added": lambda update: update.add_field("user_id", BucketTransform(4), "bucket"),
    "renamed": lambda update: update.rename_field("source_id", "source"),
    "removed": lambda update: update.remove_field("source_id"),
    "replaced-by-month": lambda update: update.remove_field("source_id").add_field(
        "occurred_at", MonthTransform(), "month"
    ),
    "month-first": lambda update: (
        update.remove_field("source_id").add_field("occurred_at", MonthTransform(), "month").add_identity("source_id")
    ),
}


def back(update: UpdateSpec) -> None:
    for field in update._transaction.table_metadata.spec().fields:
        update.remove_field(field.name)
    update.add_identity("source_id")


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    users = [{"user_id": f"user-{number}", "invalid_phone": False, "feature_flags": []} for number in range(20)]
    workspace.replace("users", users)
    append_hot(local_warehouse, [interaction(source, number) for source in ("old", "running") for number in range(4)])
    return local_warehouse


def people(warehouse: Warehouse, source: str) -> list[str]:
    return ask(warehouse, received(source), NOW, counted=False).users


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_source_moves_both_ways_whatever_the_partitioning_of_hot(warehouse: Warehouse, change: Change) -> None:
    repartition(warehouse, change)
    append(warehouse, [interaction(source, number) for number in (4, 5) for source in ("old", "running")])
    append_hot(warehouse, [interaction("old", 6), interaction("running", 6)])
    rows = multiset(warehouse, HOT)
    assert rows.total() == 14
    totals = warehouse.source_totals(HOT)
    assert {source: total.row_count for source, total in totals.items()} == {"old": 7, "running": 7}
    assert warehouse.source_totals(HOT, ["old"])["old"].row_count == 7
    assert people(warehouse, "running") == [f"user-{number}" for number in range(7)]

    expire_sources(warehouse, RUN)

    assert {source: total.row_count for source, total in warehouse.source_totals(HOT).items()} == {"running": 7}
    assert hot_and_archive(warehouse) == rows
    append(warehouse, [interaction(source, 7) for source in ("old", "running")])
    assert people(warehouse, "running") == [f"user-{number}" for number in range(7)]
    assert people(warehouse, "old") == [], "rows of an expired source that come late stay hidden"
    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, RUN)
    assert multiset(warehouse, HOT, ["old"]).total() == 8
    assert rows <= multiset(warehouse, HOT)


@pytest.mark.parametrize(
    "change", [CHANGES[name] for name in ("month-first", "removed")], ids=("month-first", "removed")
)
def test_a_source_comes_back_whatever_the_partitioning_of_the_archive(warehouse: Warehouse, change: Change) -> None:
    expire_sources(warehouse, RUN)
    repartition(warehouse, change, ARCHIVE)
    append(warehouse, [interaction("old", number) for number in (4, 5)], ARCHIVE)
    repartition(warehouse, back, ARCHIVE)
    append(warehouse, [interaction("old", 6)], ARCHIVE)
    rows = hot_and_archive(warehouse)
    assert rows.total() == 11

    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, RUN)

    assert multiset(warehouse, HOT) == rows
    assert multiset(warehouse, ARCHIVE).total() == 0
