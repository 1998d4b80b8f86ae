"""Letting go of old snapshots: only those nobody can ask about any more, and beside other writers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.exceptions import CommitFailedException

from perennial.errors import TerminalSettingError
from perennial.maintenance import expire_old_snapshots
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction
from perennial.operations import OperationRecord, remove_pending, write_pending
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse, history
from tests.maintenance.maintain import maintain_warehouse
from tests.maintenance.steps import Move, append_loads
from tests.rows import hot_and_archive, multiset

DAY = timedelta(days=1)


def snapshot_ids(warehouse: Warehouse) -> list[int]:
    return [snapshot.snapshot_id for snapshot in warehouse.table(INTERACTIONS.name).metadata.snapshots]


def wall_clock() -> datetime:
    return datetime.now(UTC)


def test_every_state_of_the_window_stays_readable_and_what_was_replaced_before_goes(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=3)
    moment = wall_clock()
    append_loads(warehouse, ["a"], loads=2, first=3)
    before = snapshot_ids(warehouse)

    assert expire_old_snapshots(warehouse, moment + DAY, retain_days=1) == {INTERACTIONS.name: 2}

    assert snapshot_ids(warehouse) == before[2:], "the third was still current when the window began"
    table = warehouse.table(INTERACTIONS.name)
    assert [table.scan(snapshot_id=snapshot).count() for snapshot in before[2:]] == [6, 8, 10]


def test_the_current_snapshot_and_tagged_ones_stay_however_old(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    before = snapshot_ids(warehouse)
    warehouse.table(INTERACTIONS.name).manage_snapshots().create_tag(before[1], "audit").commit()

    expire_old_snapshots(warehouse, wall_clock() + 100 * DAY)

    assert snapshot_ids(warehouse) == [before[1], before[3]]
    assert multiset(warehouse, INTERACTIONS.name).total() == 8


def test_nothing_is_let_go_since_a_day_before_the_oldest_pending_record(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    stamp = (wall_clock() + timedelta(hours=23)).isoformat()
    write_pending(warehouse, OperationRecord("load", "l1", stamp, stamp))

    assert expire_old_snapshots(warehouse, wall_clock() + 100 * DAY) == {}

    remove_pending(warehouse, "load", "l1")
    assert expire_old_snapshots(warehouse, wall_clock() + 100 * DAY) == {INTERACTIONS.name: 3}


@pytest.mark.long
@pytest.mark.parametrize("direction", [EXPIRE, RESTORE], ids=lambda direction: direction.name)
def test_a_move_ends_well_with_months_of_maintenance_before_each_of_its_steps(
    warehouse: Warehouse, direction: Direction
) -> None:
    append_loads(warehouse, ["a"], loads=9)
    append_loads(warehouse, ["b"], loads=2)
    if direction is RESTORE:
        Move(warehouse, EXPIRE, ["a", "b"]).run()
    before = hot_and_archive(warehouse)

    for months, step in enumerate([*Move(warehouse, direction, ["a", "b"]).steps, lambda: None]):
        maintain_warehouse(warehouse, wall_clock() + months * 100 * DAY)
        step()

    assert multiset(warehouse, direction.destination) == before
    assert multiset(warehouse, direction.origin) == {}


def test_a_commit_in_between_is_not_lost_and_the_question_is_asked_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_loads(warehouse, ["a"], loads=3)
    remove, raced = history._remove, []

    def remove_after_an_append(*arguments: object) -> None:
        if not raced:
            raced.append(True)
            append_loads(warehouse, ["a"], loads=1, first=10)
            with pytest.raises(CommitFailedException) as error:
                remove(*arguments)  # type: ignore[arg-type]
            raise error.value
        remove(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(history, "_remove", remove_after_an_append)

    assert expire_old_snapshots(warehouse, wall_clock() + 100 * DAY) == {INTERACTIONS.name: 3}
    assert multiset(warehouse, INTERACTIONS.name).total() == 8


@pytest.mark.parametrize("retain_days", [0, -1])
def test_a_window_below_a_day_is_refused_before_anything_is_done(warehouse: Warehouse, retain_days: int) -> None:
    append_loads(warehouse, ["a"], loads=4)
    before = snapshot_ids(warehouse)

    with pytest.raises(TerminalSettingError, match=f"retain_days is {retain_days}; give 1 or more"):
        maintain_warehouse(warehouse, wall_clock() + 100 * DAY, retain_days)

    assert snapshot_ids(warehouse) == before
