"""R17, R8: one source goes the whole way of a restore and back, and nobody sees it, whatever dies meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.drills import rehearsal
from perennial.drills.rehearsal import rehearse_restore
from perennial.engines.duckdb import open_status_session
from perennial.maintenance.purge import purge_files
from perennial.moves import Run, restore_sources
from perennial.moves.move_plan import EXPIRE, RESTORE, MovePlan
from perennial.operations import pending_records
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import find_losses
from tests.conftest import MadeOnce
from tests.drills.archives import NOW, archived, flip_a_bit, three
from tests.kill import Point, run_and_kill
from tests.moves.places import everywhere
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible

REQUEST = {"source_ids": ["a"], "notify": ["ann@example.com"]}
RUN = Run("c1", NOW)


def scratch_files(warehouse: Warehouse) -> list[str]:
    place = f"{warehouse.operations_uri()}/drills"
    return [stored.uri for stored in storage_for(place).list_files(place)]


def shown(warehouse: Warehouse) -> dict[str, Any]:
    """All that somebody could see of a drill: rows, states, tables, operations under way, what is missing."""
    namespaces = warehouse.catalog.list_namespaces()
    with open_status_session(warehouse) as session:
        states = session.execute("SELECT * FROM source_availability ORDER BY source_id").fetchall()
    return {
        "rows": visible(warehouse),
        "hot": multiset(warehouse, "interactions"),
        "archive": multiset(warehouse, "interactions_archive"),
        "states": states,
        "events": warehouse.read("lifecycle_events").to_pylist(),
        "tables": sorted(name for space in namespaces for name in warehouse.catalog.list_tables(space)),
        "under way": [record.kind for record in pending_records(warehouse)],
        "losses": list(find_losses(warehouse)),
    }


@pytest.mark.long
@everywhere
def test_every_row_comes_back_and_nobody_sees_the_scratch_tables(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(warehouse)
    # A second file of the same source, which another program has put there: nothing is recorded of it.
    append_hot(warehouse, [interaction("a", number) for number in range(100, 140)], table="interactions_archive")
    before, moments = shown(warehouse), {}
    prepare = rehearsal.prepare_move

    def looked(scratch: Warehouse, plan: MovePlan) -> None:
        prepare(scratch, plan)
        assert len(multiset(scratch, plan.direction.destination)) == 70
        moments[plan.direction] = shown(warehouse)
        assert scratch_files(warehouse)

    monkeypatch.setattr(rehearsal, "prepare_move", looked)

    drill = rehearse_restore(warehouse, RUN, "a")

    assert drill is not None
    assert (drill.error, drill.row_count, drill.file_count) == ("", 70, 2)
    assert moments == {RESTORE: before, EXPIRE: before}
    assert shown(warehouse) == before
    assert not scratch_files(warehouse)


POINTS = [
    Point("before", "perennial.drills.rehearsal:scratch_warehouse"),
    Point("before", "perennial.moves.copy:_write_results"),
    Point("after", "commit:add"),
    Point("after", "commit:remove"),
    Point("after", "commit:record"),
    # On the way back.
    Point("after", "commit:add", 2),
    Point("after", "commit:remove", 2),
    Point("after", "perennial.drills.rehearsal:_remove"),
]


@pytest.mark.long(but="^after-add$")
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_drill_that_is_killed_changes_nothing_and_its_next_try_cleans_up(made_once: MadeOnce, point: Point) -> None:
    warehouse = made_once(three).warehouse
    before = multiset(warehouse, "interactions"), multiset(warehouse, "interactions_archive")

    run_and_kill(warehouse.settings, point, rehearse_restore, RUN, "a")

    left = scratch_files(warehouse)
    assert rehearsal.clean_up(warehouse, RUN) == len(left)
    assert bool(left) is (point is not POINTS[-1])
    assert not scratch_files(warehouse)
    assert (multiset(warehouse, "interactions"), multiset(warehouse, "interactions_archive")) == before


@pytest.mark.long
@everywhere
def test_cleaning_up_that_is_killed_halfway_is_finished_by_another_run(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(warehouse)
    before = hot_and_archive(warehouse)
    storage = (
        "local:LocalStorage" if warehouse.settings.home and "file:" in warehouse.operations_uri() else "s3:S3Storage"
    )
    # The first file that is deleted is one of a record that ends with its move.
    run_and_kill(
        warehouse.settings, Point("after", f"perennial.storage.{storage}.delete", 4), rehearse_restore, RUN, "a"
    )
    assert scratch_files(warehouse)

    # Another run does not touch what may be alive, nor does a purge.
    another = Run("c2", NOW)
    assert rehearsal.clean_up(warehouse, another) == 0
    monkeypatch.setattr(rehearsal, "ABANDONED_SECONDS", 0)
    assert rehearsal.clean_up(warehouse, another) > 0

    assert not scratch_files(warehouse)
    assert hot_and_archive(warehouse) == before


def test_a_purge_forgets_what_a_dead_drill_has_left_and_keeps_what_it_was_made_of(made_once: MadeOnce) -> None:
    warehouse = made_once(three).warehouse
    before = hot_and_archive(warehouse)
    run_and_kill(warehouse.settings, Point("after", "commit:add"), rehearse_restore, RUN, "a")

    purge_files(warehouse, datetime.now(UTC) + timedelta(days=9))

    assert not scratch_files(warehouse)
    assert hot_and_archive(warehouse) == before


@pytest.mark.long(but="^(files still there)$")
@pytest.mark.parametrize("kept", [True, False], ids=["files still there", "files purged"])
def test_a_restore_beside_a_drill_of_the_same_source_brings_every_row_back(
    made_once: MadeOnce, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    warehouse = made_once(three).warehouse
    before = hot_and_archive(warehouse)
    prepare, victim = rehearsal.prepare_move, archived(warehouse, "a")

    def meanwhile(scratch: Warehouse, plan: MovePlan) -> None:
        if plan.direction is RESTORE:
            assert restore_sources(warehouse, REQUEST, Run("back", NOW)).state == "finished"
            if not kept:
                storage_for(victim.uri).delete(victim.uri)
        prepare(scratch, plan)

    monkeypatch.setattr(rehearsal, "prepare_move", meanwhile)

    drill = rehearse_restore(warehouse, RUN, "a")

    # Where the files are still there the drill proves what it was to prove.
    assert (drill is not None and not drill.error) if kept else drill is None
    assert hot_and_archive(warehouse) == before
    assert {row for row in visible(warehouse) if '"source_id":"a"' in row}
    assert not scratch_files(warehouse)


def test_a_drill_names_a_damaged_file(made_once: MadeOnce) -> None:
    warehouse = made_once(three).warehouse
    flip_a_bit(warehouse, archived(warehouse, "a"))

    drill = rehearse_restore(warehouse, RUN, "a")

    assert drill is not None
    assert f"{archived(warehouse, 'a').uri} is corrupted" in drill.error
    assert not scratch_files(warehouse)


@pytest.mark.parametrize("way", ["restore", "way back"])
def test_a_drill_that_gives_other_rows_fails(made_once: MadeOnce, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    warehouse = made_once(three).warehouse
    difference = rehearsal._difference

    def doubled(scratch: Warehouse, name: str, *others: Any) -> str:
        if (name == "interactions") == (way == "restore"):
            append_hot(scratch, [interaction("a", 7)], table=name)
        return difference(scratch, name, *others)

    monkeypatch.setattr(rehearsal, "_difference", doubled)

    drill = rehearse_restore(warehouse, RUN, "a")

    assert drill is not None
    assert drill.error == f"after the {way} it had other rows than before: 31 rows of 30."
    assert not scratch_files(warehouse)
