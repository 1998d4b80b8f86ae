"""Merging small files: fewer files, the same rows, and hands off what a move is working on."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from perennial.engines.duckdb import open_session
from perennial.errors import TerminalDataError
from perennial.maintenance import compact_tables, compaction
from perennial.maintenance.compaction import COMPACTED_TABLES, compact_table
from perennial.moves.move_plan import EXPIRE, RESTORE
from perennial.moves.rewrite import RewrittenFiles
from perennial.operations import OperationRecord, remove_pending, write_pending
from perennial.warehouse import Warehouse
from tests.maintenance.deletes import delete_rows
from tests.maintenance.steps import Move, append_loads, data_files
from tests.rows import append_hot, hot_and_archive, interaction, multiset

HOSTILE = ["plain", 'it\'s "quoted"', "a/b/../c", "🦄" * 20, "x" * 500, ""]


def filler(kind: pa.DataType, number: int) -> Any:
    """A value of a column's type that tells rows apart."""
    if pa.types.is_large_string(kind) or pa.types.is_string(kind):
        return f'it\'s "{number}" 🦄'
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return [f"part {number}", "x"] if number % 3 else []
    if pa.types.is_integer(kind):
        return number
    if pa.types.is_date(kind):
        return date(2026, 1, 1 + number % 20)
    assert pa.types.is_timestamp(kind), kind
    return datetime(2026, 1, 1, 0, number % 60, tzinfo=UTC)


def fill(warehouse: Warehouse, table: str, loads: int) -> None:
    schema = warehouse.arrow_schema(table)
    for load in range(loads):
        rows = [{field.name: filler(field.type, load * 3 + n) for field in schema} for n in range(3)]
        warehouse.append_table(table, pa.Table.from_pylist(rows, schema=schema), f"test:{uuid.uuid4().hex}")


def counted(rows: pa.Table) -> Counter[str]:
    return Counter(repr(row) for row in rows.to_pylist())


def test_every_row_of_every_id_is_kept_and_each_source_has_one_file(warehouse: Warehouse) -> None:
    append_loads(warehouse, HOSTILE, loads=5)
    append_hot(warehouse, [interaction("few", number) for number in range(3)])
    before = multiset(warehouse, "interactions")

    outcome = compact_table(warehouse, "interactions")

    assert (outcome.files_before, outcome.files_after, outcome.row_count) == (30, 6, 60)
    assert multiset(warehouse, "interactions") == before
    assert {total.file_count for total in warehouse.source_totals("interactions").values()} == {1}
    assert compact_table(warehouse, "interactions").files_before == 0, "nothing is left to save"


@pytest.mark.long(but="user_message|loaded_events|archived")
@pytest.mark.parametrize("table", [name for name in COMPACTED_TABLES if name != "interactions"])
def test_the_rows_of_every_append_only_table_survive_for_both_readers(warehouse: Warehouse, table: str) -> None:
    fill(warehouse, table, loads=4)
    before = warehouse.read(table)

    compact_table(warehouse, table)

    after = warehouse.read(table)
    assert len(data_files(warehouse, table)) == 1
    assert counted(after) == counted(before)
    with open_session(warehouse, [table]) as session:
        assert counted(session.table(table).to_arrow_table()) == counted(before)


def test_the_archive_and_the_synced_tables_are_left_alone(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=5)
    Move(warehouse, EXPIRE, ["a"]).run()
    archived = data_files(warehouse, "interactions_archive")

    compact_tables(warehouse)

    assert len(archived) == 5
    assert data_files(warehouse, "interactions_archive") == archived


def test_files_with_other_engines_deletes_are_rewritten_without_the_deleted_rows(warehouse: Warehouse) -> None:
    append_hot(warehouse, [interaction("a", number) for number in range(10)])
    append_hot(warehouse, [interaction("b", number) for number in range(10)])
    delete_rows(warehouse, "interactions", "a", positions=[0, 3])
    delete_rows(warehouse, "interactions", "b", positions=list(range(10)))
    before = multiset(warehouse, "interactions")

    compact_table(warehouse, "interactions")

    assert before.total() == 8
    assert multiset(warehouse, "interactions") == before
    assert not any(live.deletes for live in warehouse.live_files(warehouse.table("interactions")))
    assert warehouse.source_totals("interactions").keys() == {"a"}


def test_a_row_deleted_while_its_file_is_merged_stays_deleted(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_loads(warehouse, ["a", "b"], loads=4)
    rewrite = compaction.rewrite_files

    def rewrite_then_delete(*arguments: Any) -> RewrittenFiles:
        rewritten = rewrite(*arguments)
        delete_rows(warehouse, "interactions", "a", positions=[1])
        return rewritten

    monkeypatch.setattr(compaction, "rewrite_files", rewrite_then_delete)

    outcome = compact_table(warehouse, "interactions")

    assert outcome.files_before == 4, "only b"
    assert multiset(warehouse, "interactions", ["a"]).total() == 7
    assert multiset(warehouse, "interactions", ["b"]).total() == 8


def test_rows_that_come_out_different_are_never_committed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_loads(warehouse, ["a"], loads=4)
    files = data_files(warehouse, "interactions")
    rewrite = compaction.rewrite_files

    def rewrite_wrongly(*arguments: Any) -> RewrittenFiles:
        rewritten = rewrite(*arguments)
        return RewrittenFiles(rewritten.data_files, rewritten.read_rows, rewritten.read_hash, "another")

    monkeypatch.setattr(compaction, "rewrite_files", rewrite_wrongly)

    with pytest.raises(TerminalDataError, match="nothing was replaced"):
        compact_table(warehouse, "interactions")

    assert data_files(warehouse, "interactions") == files


def test_a_source_that_any_pending_record_names_is_left_alone(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["moving", "resting"], loads=4)
    stamp = datetime.now(UTC).isoformat()
    write_pending(warehouse, OperationRecord("restore", "r1", stamp, stamp, source_ids=("moving",)))

    compact_table(warehouse, "interactions")

    counts = {key: total.file_count for key, total in warehouse.source_totals("interactions").items()}
    assert counts == {"moving": 4, "resting": 1}
    remove_pending(warehouse, "restore", "r1")
    assert compact_table(warehouse, "interactions").files_before == 4


def test_appends_during_a_compaction_survive(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    append_loads(warehouse, ["a"], loads=4)
    before = multiset(warehouse, "interactions")
    rewrite = compaction.rewrite_files

    def rewrite_beside_a_load(*arguments: Any) -> RewrittenFiles:
        append_loads(warehouse, ["a"], loads=1, first=100)
        return rewrite(*arguments)

    monkeypatch.setattr(compaction, "rewrite_files", rewrite_beside_a_load)

    outcome = compact_table(warehouse, "interactions")

    assert outcome.files_before == 4
    after = multiset(warehouse, "interactions")
    assert after.total() == 10
    assert before < after


def test_a_restore_that_was_given_up_and_then_run_again_is_left_alone_too(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    before = hot_and_archive(warehouse)
    Move(warehouse, EXPIRE, ["a"]).run()
    restore = Move(warehouse, RESTORE, ["a"])
    restore.plan()
    restore.copy()
    assert restore.made is not None
    remove_pending(warehouse, "restore", restore.made.move_id)
    restore.add()

    assert compact_table(warehouse, "interactions").files_before == 0

    restore.remove()
    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}


# A compaction has two halves, pin and rewrite, then commit; a move has four steps. Every way to interleave them.
MOMENTS = list(itertools.combinations_with_replacement(range(5), 2))


def interleave(warehouse: Warehouse, move: Move, source: str, pin_before: int, commit_before: int) -> None:
    table_groups: list[compaction.FileGroup] = []
    for moment, step in enumerate([*move.steps, lambda: None]):
        if moment == pin_before:
            table = warehouse.table("interactions")
            held = compaction._moving_sources(warehouse)
            groups = [group for group in compaction.plan_groups(warehouse, table) if group.source_id == source]
            groups = [group for group in groups if group.source_id not in held]
            table_groups = compaction._rewrite(table, groups) if groups else []
        if moment == commit_before and table_groups:
            compaction._replace(warehouse, "interactions", table_groups)
        step()


@pytest.mark.long
def test_an_expiry_and_a_compaction_interleaved_in_every_order_keep_every_row_once(warehouse: Warehouse) -> None:
    sources = [f"s{pin}{commit}" for pin, commit in MOMENTS]
    append_loads(warehouse, sources, loads=4)
    before = hot_and_archive(warehouse)

    for source, (pin, commit) in zip(sources, MOMENTS, strict=True):
        interleave(warehouse, Move(warehouse, EXPIRE, [source]), source, pin, commit)

    assert multiset(warehouse, "interactions_archive") == before
    assert multiset(warehouse, "interactions") == {}


@pytest.mark.long
def test_a_restore_and_a_compaction_interleaved_in_every_order_keep_every_row_once(warehouse: Warehouse) -> None:
    sources = [f"s{pin}{commit}" for pin, commit in MOMENTS]
    append_loads(warehouse, sources, loads=4)
    Move(warehouse, EXPIRE, sources).run()
    append_loads(warehouse, sources, loads=4, first=50)
    before = hot_and_archive(warehouse)

    for source, (pin, commit) in zip(sources, MOMENTS, strict=True):
        interleave(warehouse, Move(warehouse, RESTORE, [source]), source, pin, commit)

    assert multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}
