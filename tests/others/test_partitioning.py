"""Somebody partitions a table anew: rows written before, meanwhile and after are found, moved and brought back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.table.update.spec import UpdateSpec
from pyiceberg.transforms import BucketTransform, MonthTransform

from perennial.maintenance import compact_tables
from perennial.moves import Run, divide, expire_sources, restore_sources
from perennial.moves.divide import divide_mixed_files
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial.warehouse.files import mixed_files
from perennial.warehouse.history import reachable_files
from tests.audiences.worlds import ask
from tests.kill import Point, run_and_kill
from tests.maintenance.maintain import maintain_warehouse
from tests.others.writer import NOW, append, repartition, table_of_others
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace, received

HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name
RUN = Run("r1", NOW, "ann")
Change = Callable[[UpdateSpec], object]
CHANGES: dict[str, Change] = {
    "month-added": lambda update: update.add_field("occurred_at", MonthTransform(), "month"),
    "renamed": lambda update: update.rename_field("source_id", "source"),
    "removed": lambda update: update.remove_field("source_id"),
    "replaced-by-bucket": lambda update: update.remove_field("source_id").add_field(
        "user_id", BucketTransform(4), "bucket"
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


@pytest.mark.long(but="^removed$")
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


@pytest.mark.long(but="month")
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


KILLED = [
    Point("after", "perennial.moves.divide:rewrite_files"),
    Point("before", "commit:divide"),
    Point("after", "commit:divide"),
]


@pytest.mark.parametrize("point", KILLED, ids=str)
def test_dividing_files_by_source_can_be_killed_anywhere(warehouse: Warehouse, point: Point) -> None:
    repartition(warehouse, CHANGES["removed"])
    append(warehouse, [interaction(source, number) for number in (4, 5) for source in ("old", "running")])
    rows = multiset(warehouse, HOT)

    run_and_kill(warehouse.settings, point, divide_mixed_files, HOT)

    assert multiset(warehouse, HOT) == rows
    assert divide_mixed_files(warehouse, HOT) == (0 if point == Point("after", "commit:divide") else 1)
    assert multiset(warehouse, HOT) == rows
    assert not any(live.is_mixed for live in warehouse.live_files(warehouse.table(HOT)))
    maintain_warehouse(warehouse, datetime.now(UTC) + timedelta(days=100))
    assert multiset(warehouse, HOT) == rows
    data = warehouse.table(HOT).location_provider().data_path
    left = {stored.uri for stored in storage_for(data).list_files(data)}
    reached = {uri.removeprefix("file://") for uri in reachable_files(warehouse.table(HOT))}
    assert {uri.removeprefix("file://") for uri in left} <= reached, "what the killed one wrote is purged"


def test_maintenance_divides_them_and_others_changes_meanwhile_stay(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    repartition(warehouse, CHANGES["removed"])
    append(warehouse, [interaction(source, number) for number in (4, 5) for source in ("old", "running")])
    rewrite = divide.rewrite_files

    def deleted_meanwhile(*arguments: Any) -> Any:
        written = rewrite(*arguments)
        monkeypatch.setattr(divide, "rewrite_files", rewrite)
        with table_of_others(warehouse).transaction() as other, other.update_snapshot().overwrite() as producer:
            producer.delete_data_file(next(live.data_file for live in mixed_files(warehouse.table(HOT))))
        return written

    monkeypatch.setattr(divide, "rewrite_files", deleted_meanwhile)
    assert divide_mixed_files(warehouse, HOT) == 0
    assert multiset(warehouse, HOT).total() == 8, "rows that another writer has deleted do not come back"

    append(warehouse, [interaction(source, number) for number in (6, 7) for source in ("old", "running")])
    rows = multiset(warehouse, HOT)
    compact_tables(warehouse)
    assert not mixed_files(warehouse.table(HOT))
    assert multiset(warehouse, HOT) == rows
