"""R22: an erasure beside moves, restores, compaction, loads and other erasures, and one that is killed at any step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from perennial.currents import load_interactions
from perennial.erase import remove
from perennial.erase.locate import locate_rows
from perennial.erase.purge_history import purge_history
from perennial.erase.remove import remove_rows
from perennial.erase.verify_tables import verify_tables
from perennial.errors import TerminalDataError
from perennial.maintenance import compaction
from perennial.maintenance.compaction import compact_table
from perennial.maintenance.last_copies import find_lost_sources
from perennial.moves import Run, expire_sources, recovery, restore_sources
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from tests.conftest import MadeOnce
from tests.currents.landing import NOW as LOADED_AT
from tests.currents.landing import OPEN, event, land_json
from tests.erase.persons import (
    NOW,
    PERSON,
    assert_gone,
    contents,
    erase,
    facts,
    populated,
    purge,
    without,
)
from tests.kill import Point, run_and_kill
from tests.maintenance.child import SOURCES
from tests.maintenance.steps import Move, append_loads
from tests.maintenance.test_processes import run_beside_each_other
from tests.rows import append_hot, hot_and_archive, interaction

LATER = Run("later", NOW + timedelta(days=1))
REQUEST: dict[str, Any] = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}


@pytest.fixture
def world(made_once: MadeOnce) -> Warehouse:
    return made_once(populated).warehouse


def erase_and_purge(warehouse: Warehouse) -> None:
    erase(warehouse, PERSON)
    purge(warehouse, PERSON)


KILLED = [
    Point("before", "perennial.erase.remove:finish_pending_loads"),
    Point("before", "perennial.moves.rewrite:upload_files"),
    Point("before", "perennial.erase.remove:_replace"),
    # In turn: interactions, archived_files and interactions_archive, and the others.
    *(Point("before", "commit:erase", number) for number in (1, 2, 3, 4)),
    Point("after", "commit:erase", 6),
    Point("before", "perennial.erase.purge_history:expire_snapshots", 2),
    Point("before", "perennial.erase.purge_history:_delete"),
    Point("after", "perennial.storage.local:LocalStorage.delete", 5),
    Point("before", "perennial.erase.purge_history:drop_digests"),
]


@pytest.mark.long(but="before-erase-3")
@pytest.mark.parametrize("point", KILLED, ids=str)
def test_a_killed_erasure_is_finished_by_the_next(world: Warehouse, point: Point) -> None:
    before = contents(world)

    run_and_kill(world.settings, point, erase_and_purge)
    wreck = contents(world)
    assert without(wreck, PERSON) == without(before, PERSON)

    erase_and_purge(world)
    assert contents(world) == without(before, PERSON)
    assert_gone(world, PERSON)
    assert find_lost_sources(world) == []


@pytest.mark.long(but="restore-3")
@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize(
    ("direction", "sources"), [(EXPIRE, ["busy", "running"]), (RESTORE, ["a", "b"])], ids=["expiry", "restore"]
)
def test_a_move_under_way_does_not_bring_the_person_back(
    world: Warehouse, direction: Direction, sources: list[str], done: int
) -> None:
    before = contents(world)
    move = Move(world, direction, sources)
    for step in move.steps[:done]:
        step()

    removed = erase(world, PERSON)
    # What only a purge at the wrong moment could take away: the move has to know what became of its files.
    purged = purge(world, PERSON)
    assert purged.under_way
    for step in move.steps[done:]:
        step()

    assert without(contents(world), PERSON).keys() == before.keys()
    assert facts(without(contents(world), PERSON)) == facts(without(before, PERSON))
    if direction is EXPIRE and done < 3:
        # Its copies were of files that are gone, so they never entered the archive.
        assert removed.is_complete
        assert not locate_rows(world, [PERSON]).files
    erase_and_purge(world)
    assert facts(contents(world)) == facts(without(before, PERSON))
    assert_gone(world, PERSON)
    assert contents(world)[direction.destination].total() > contents(world)[direction.origin].total()


@pytest.mark.long
@pytest.mark.parametrize("point", [Point("after", "commit:add"), Point("after", "commit:record")], ids=str)
@pytest.mark.parametrize("kind", ["expiry", "restore"])
def test_a_dead_move_is_finished_after_an_erasure_and_then_the_rest_is_erased(
    world: Warehouse, kind: str, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_hot(world, [interaction(source, number) for source in ("a", "b") for number in range(300, 330)])
    before = contents(world)
    work, argument = (expire_sources, LATER) if kind == "expiry" else (restore, LATER)
    run_and_kill(world.settings, point, work, argument)
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)

    erase_and_purge(world)
    assert set(facts(without(contents(world), PERSON))) == set(facts(without(before, PERSON)))
    expire_sources(world, Run("tomorrow", NOW + timedelta(days=2)))

    assert facts(without(contents(world), PERSON)) == facts(without(before, PERSON))
    erase_and_purge(world)
    assert facts(contents(world)) == facts(without(before, PERSON))
    assert_gone(world, PERSON)


def restore(warehouse: Warehouse, run: Run) -> None:
    restore_sources(warehouse, REQUEST, run)


def test_a_finished_move_whose_last_task_is_repeated_adds_nothing_again(world: Warehouse) -> None:
    before = contents(world)
    with world.table(INTERACTIONS_ARCHIVE.name).transaction() as transaction:
        # So its history says for ever what the restore has removed from it.
        transaction.set_properties({"gc.enabled": "false"})
    move = Move(world, RESTORE, ["a", "b"])
    move.run()
    erase(world, PERSON)
    move.remove()
    append_hot(world, [interaction("running", 500, user_id="other")])
    purged = purge(world, PERSON)
    assert {one.table for one in purged.remaining} == {INTERACTIONS_ARCHIVE.name}
    assert ["gc.enabled" in text for text in purged.kept] == [True]

    # Nothing shows any more that the erasure has taken what the restore had added.
    with pytest.raises(TerminalDataError, match=r"is over.*Nothing was changed"):
        move.remove()

    rest = facts(contents(world)) - facts(without(before, PERSON))
    assert rest.total() == 1
    assert "running#500" in min(rest)


@pytest.mark.long
@pytest.mark.parametrize("first", ["compaction", "erasure"])
def test_compaction_and_erasure_of_the_same_files(
    world: Warehouse, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_loads(world, ["busy"], loads=5, first=100)
    before = contents(world)
    slow, other = (remove, lambda: compact_table(world, INTERACTIONS.name)) if first == "compaction" else (
        compaction, lambda: erase(world, PERSON)
    )  # fmt: skip
    rewrite = slow.rewrite_files

    def rewrite_late(*arguments: Any) -> Any:
        rewritten = rewrite(*arguments)
        monkeypatch.undo()
        other()
        return rewritten

    monkeypatch.setattr(slow, "rewrite_files", rewrite_late)
    if first == "compaction":
        assert erase(world, PERSON).is_complete
    else:
        compact_table(world, INTERACTIONS.name)

    assert contents(world) == without(before, PERSON)
    purge(world, PERSON)
    assert_gone(world, PERSON)


@pytest.mark.long(but="^decided$")
@pytest.mark.parametrize("is_decided", [False, True], ids=["undecided", "decided"])
def test_a_load_that_began_before_brings_no_row_of_the_person(world: Warehouse, is_decided: bool) -> None:
    before = contents(world)
    land_json(world.settings, OPEN, [event(n, user_id=user) for n, user in enumerate([PERSON, "other"] * 3)])
    # Both are recorded; only of one does the ledger know.
    point = Point("after", "perennial.currents.commit:_commit_ledger") if is_decided else Point(
        "after", "perennial.currents.load:record_load"
    )  # fmt: skip
    run_and_kill(world.settings, point, load_interactions, LOADED_AT)

    erase_and_purge(world)

    after = contents(world)
    assert facts(after).total() == facts(without(before, PERSON)).total() + 3 * is_decided
    assert facts(without(before, PERSON)) <= facts(after)
    assert_gone(world, PERSON)


@pytest.mark.long
def test_r22_erasures_beside_loads_moves_and_maintenance_lose_nobody_elses_row(local_warehouse: Warehouse) -> None:
    append_loads(local_warehouse, SOURCES, loads=5)

    counts = run_beside_each_other(local_warehouse, "load", "move", "maintain", "erase")

    assert min(counts.values()) > 0, counts
    while not remove_rows(local_warehouse, [PERSON]).is_complete:
        Move(local_warehouse, EXPIRE, SOURCES).run()
    purge_history(local_warehouse, [PERSON])
    assert verify_tables(local_warehouse, [PERSON]) == []
    numbers = [*range(10), *range(2000, 2000 + 2 * counts["load"])]
    loaded = [interaction(source, number) for source in SOURCES for number in numbers]
    expected = {row["event_id"] for row in loaded if row["user_id"] != PERSON}
    rows = [
        row for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name) for row in local_warehouse.read(name).to_pylist()
    ]
    assert sorted(row["event_id"] for row in rows) == sorted(expected)
    assert hot_and_archive(local_warehouse).total() == len(expected)
