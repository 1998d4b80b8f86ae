"""Thinning out snapshots: fewer are retained, and everything that others rely on is known as before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.maintenance import expire_old_snapshots, purge_files
from perennial.operations import OperationRecord, remove_pending, write_pending
from perennial.tables import INTERACTIONS
from perennial.warehouse import FileChange, Warehouse, history
from perennial.warehouse.commits import commit_change, operations, removed_since
from perennial.warehouse.heads import find_losses
from perennial.warehouse.lineage import THINNED_KEY, History, known_since
from perennial.warehouse.repair import repair_table
from tests.maintenance.steps import append_loads
from tests.rows import multiset

DAY = timedelta(days=1)
NAME = INTERACTIONS.name


@pytest.fixture(autouse=True)
def one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """All snapshots of a test are of one hour."""
    monkeypatch.setattr(history, "_HOUR_MS", 10**15)


def snapshot_ids(warehouse: Warehouse) -> list[int]:
    return [snapshot.snapshot_id for snapshot in warehouse.table(NAME).metadata.snapshots]


def remove_first(warehouse: Warehouse) -> str:
    """Remove one file; returns its address."""
    first = min((live.data_file for live in warehouse.live_files(warehouse.table(NAME))), key=lambda one: one.file_path)
    commit_change(warehouse, NAME, lambda _: FileChange(remove=[first]), "compact:test")
    return first.file_path


def thin(warehouse: Warehouse, days: int = 2) -> int:
    return expire_old_snapshots(warehouse, datetime.now(UTC) + days * DAY).get(NAME, 0)


def test_the_last_of_an_hour_stays_and_the_operations_of_the_others_are_known(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=5)
    ids, made = snapshot_ids(warehouse), operations(warehouse.table(NAME))
    since = known_since(warehouse.table(NAME))
    rows = multiset(warehouse, NAME)

    assert thin(warehouse, days=0) == 0, "none is older than a day"
    assert thin(warehouse) == 3
    assert snapshot_ids(warehouse) == [ids[0], ids[4]]
    assert thin(warehouse) == 0
    append_loads(warehouse, ["a"], loads=2, first=5)
    ids += snapshot_ids(warehouse)[2:]
    assert thin(warehouse) == 2, "with more snapshots, those of before are still known"

    table = warehouse.table(NAME)
    assert snapshot_ids(warehouse) == [ids[0], ids[6]]
    assert list(History(table.metadata).lineage) == ids[::-1]
    assert operations(table) > made
    assert len(operations(table)) == 7
    assert known_since(table) == since
    assert rows <= multiset(warehouse, NAME)
    assert list(find_losses(warehouse)) == []


def test_the_state_before_any_other_commit_stays_and_no_file_becomes_unreachable(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=3)
    removed = remove_first(warehouse)
    append_loads(warehouse, ["a"], loads=3, first=3)
    ids = snapshot_ids(warehouse)

    assert thin(warehouse) == 3
    assert snapshot_ids(warehouse) == [ids[0], ids[2], ids[3], ids[6]]
    purge_files(warehouse, datetime.now(UTC) + 6 * DAY)
    table = warehouse.table(NAME)
    assert [table.scan(snapshot_id=snapshot).count() for snapshot in snapshot_ids(warehouse)] == [2, 6, 4, 10]
    assert removed_since(table, ids[1]) == {removed: "compact:test"}


def test_a_table_that_is_set_back_before_thinned_snapshots_is_repaired_row_for_row(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a", "b"], loads=2)
    remove_first(warehouse)
    append_loads(warehouse, ["a"], loads=4, first=2)
    rows, made = multiset(warehouse, NAME), operations(warehouse.table(NAME))
    assert thin(warehouse) == 3
    first = snapshot_ids(warehouse)[0]
    for others_commit in (False, True):
        warehouse.table(NAME).manage_snapshots().set_current_snapshot(first).commit()
        (loss,) = find_losses(warehouse)
        assert len(loss.operations) >= 4
        if others_commit:
            table = warehouse.table(NAME)
            again = table.scan(snapshot_id=first, limit=1).to_arrow()
            table.append(again)
        repair = repair_table(warehouse, NAME, dry_run=False)
        assert repair is not None
        assert repair.possible, repair.how
        if others_commit:
            assert multiset(warehouse, NAME).total() == rows.total() + 1
            assert rows <= multiset(warehouse, NAME)
        else:
            assert multiset(warehouse, NAME) == rows
        assert operations(warehouse.table(NAME)) >= made - {"compact:test"}
        assert list(find_losses(warehouse)) == []


def test_what_protects_snapshots_protects_them_from_thinning(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=7)
    ids = snapshot_ids(warehouse)
    stamp = datetime.now(UTC).isoformat()
    write_pending(warehouse, OperationRecord("load", "l1", stamp, stamp))
    assert thin(warehouse) == 0, "an operation is under way"
    remove_pending(warehouse, "load", "l1")

    with warehouse.table(NAME).transaction() as transaction:
        transaction.set_properties({"gc.enabled": "false"})
    assert thin(warehouse) == 0
    with warehouse.table(NAME).transaction() as transaction:
        transaction.set_properties({"gc.enabled": "true", "history.expire.min-snapshots-to-keep": "3"})
    warehouse.table(NAME).manage_snapshots().create_tag(ids[2], "audit").create_branch(ids[1], "other").commit()
    assert thin(warehouse) == 1
    assert snapshot_ids(warehouse) == [*ids[:3], *ids[4:]], "the tag, a branch with its past, and the latest three"
    with warehouse.table(NAME).transaction() as transaction:
        transaction.set_properties({"history.expire.max-snapshot-age-ms": str(3 * 86_400_000)})
    append_loads(warehouse, ["a"], loads=4, first=7)
    assert thin(warehouse) == 0, "none is older than the table wants"


def test_a_table_whose_property_somebody_drops_is_as_if_the_snapshots_had_expired(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    assert thin(warehouse) == 2
    with warehouse.table(NAME).transaction() as transaction:
        transaction.remove_properties(THINNED_KEY)
    assert len(History(warehouse.table(NAME).metadata).lineage) == 1
    assert list(find_losses(warehouse)) == []
    append_loads(warehouse, ["a"], loads=1, first=4)
    assert multiset(warehouse, NAME).total() == 10
