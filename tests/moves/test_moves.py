"""The steps of a move, one by one, on real tables and files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from perennial.errors import TerminalDataError
from perennial.moves.commit import commit_destination, commit_origin
from perennial.moves.copy import copy_chunk
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction, MovePlan
from perennial.moves.plan import MERGE_FROM_FILES, plan_move
from perennial.moves.verify import verify_move
from perennial.operations import pending_records
from perennial.settings import Settings
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.files import read_file_list, write_file_list
from tests.rows import append_hot, hot_and_archive, interaction, multiset

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOSTILE = ["plain", 'it\'s "quoted"', "a/b/../c", "špace and\ttab", "🦄" * 20, "x" * 500, "", "%2F{}$;--"]


def move(warehouse: Warehouse, direction: Direction, sources: list[str], move_id: str = "m1") -> MovePlan:
    plan = plan_move(warehouse, direction, sources, move_id)
    assert plan is not None
    for chunk in range(plan.chunk_count):
        copy_chunk(warehouse, plan, chunk)
    verify_move(warehouse, plan)
    commit_destination(warehouse, plan)
    assert not commit_origin(warehouse, plan, plan.source_ids)
    return plan


def test_a_move_there_and_back_keeps_every_row_of_every_id(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction(source, number) for source in HOSTILE for number in range(50)])
    append_hot(warehouse, [interaction(source, number) for source in HOSTILE for number in range(50, 60)])
    before = multiset(warehouse, "interactions")

    move(warehouse, EXPIRE, HOSTILE[:-1])

    assert multiset(warehouse, "interactions", HOSTILE[:-1]) == {}
    assert multiset(warehouse, "interactions", HOSTILE[-1:]) == {row: n for row, n in before.items() if "%2F" in row}
    assert hot_and_archive(warehouse) == before

    move(warehouse, RESTORE, HOSTILE[:-1], "m2")

    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}


def test_many_tiny_files_leave_as_one_and_keep_their_rows(warehouse: Warehouse) -> None:
    for load in range(9):
        append_hot(warehouse, [interaction("busy", load * 10 + number) for number in range(10)])
    before = multiset(warehouse, "interactions")

    plan = move(warehouse, EXPIRE, ["busy"])

    assert [step.rewritten for step in plan.steps] == [True]
    assert multiset(warehouse, "interactions_archive") == before
    assert multiset(warehouse, "interactions") == {}
    move(warehouse, RESTORE, ["busy"], "m2")
    assert multiset(warehouse, "interactions") == before


def test_an_expiry_of_a_damaged_file_stops_before_anything_is_removed(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction("a", 1), interaction("b", 1)])
    plan = plan_move(warehouse, EXPIRE, ["a", "b"], "m1")
    assert plan is not None
    victim = plan.steps[0].originals[0]
    storage_for(victim).delete(victim)
    copy_chunk(warehouse, plan, 0)

    with pytest.raises(TerminalDataError, match="is missing") as error:
        verify_move(warehouse, plan)

    assert victim in str(error.value)
    assert warehouse.source_totals("interactions").keys() == {"a", "b"}
    assert not warehouse.source_totals("interactions_archive")


def test_a_list_of_copies_that_is_not_what_the_copy_tasks_made_is_refused(warehouse: Warehouse) -> None:
    append_hot(warehouse, *([interaction("a", number)] for number in range(MERGE_FROM_FILES)))
    plan = plan_move(warehouse, EXPIRE, ["a"], "m1")
    assert plan is not None
    copy_chunk(warehouse, plan, 0)
    verify_move(warehouse, plan)
    archive = warehouse.table("interactions_archive")
    uri = f"{plan.uri}/rewritten-0.avro"
    write_file_list(archive, uri, [*read_file_list(archive, uri)] * 2)

    with pytest.raises(TerminalDataError, match="nothing was committed"):
        commit_destination(warehouse, plan)
    assert not warehouse.source_totals("interactions_archive")


def test_workspaces_that_share_a_place_for_operations_leave_each_others_alone(tmp_path: Path) -> None:
    shared = {"PERENNIAL_OPERATIONS_URI": str(tmp_path / "operations")}
    mine, theirs = (
        Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path / home), **shared})) for home in "ab"
    )
    for each in (mine, theirs):
        each.create_tables()
        append_hot(each, [interaction("a", 1)])

    plan = plan_move(mine, EXPIRE, ["a"], "m1")

    assert plan is not None
    assert [record.id for record in pending_records(mine)] == ["m1"]
    assert not list(pending_records(theirs))
