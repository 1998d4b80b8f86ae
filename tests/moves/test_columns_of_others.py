"""Somebody changes the columns of our tables: it works with every value, or it is refused before anything moves."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.types import DoubleType, FixedType, LongType, NestedField, StringType, StructType, TimeType

from perennial.errors import TerminalSettingError
from perennial.maintenance.compaction import compact_table
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.operations import pending_records
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse, align
from perennial.warehouse.name_mappings import NAME_MAPPING
from perennial.warehouse.schemas import same_columns
from tests.kill import Point, run_and_kill
from tests.maintenance.deletes import delete_rows
from tests.moves.places import everywhere
from tests.moves.steps import add_copies, copy_files, finish_move, verify_copies
from tests.other_writers import add_columns, append, as_others_read, load, values
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
HOT, ARCHIVE = INTERACTIONS.name, INTERACTIONS_ARCHIVE.name


def expire(warehouse: Warehouse) -> set[str]:
    return {source.source_id for source in expire_sources(warehouse, Run(uuid.uuid4().hex, NOW, "ann")).sources}


def restore(warehouse: Warehouse, *sources: str) -> None:
    params = {"source_ids": list(sources), "notify": ["ann@example.com"]}
    # So long ago that what came back is due again.
    restore_sources(warehouse, params, Run(uuid.uuid4().hex, datetime(2026, 2, 1, tzinfo=UTC), "ann"))


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    for source in ("copied", "merged", "deleted"):
        workspace.source(source)
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    return workspace


@pytest.mark.long
def test_values_in_columns_of_any_type_and_name_survive_moves_and_merging(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    add_columns(warehouse, HOT)
    for number in range(9):
        sources = ["merged", "running"] if number else ["copied", "merged", "deleted", "running"]
        append(warehouse, [{**interaction(one, 10 + number), **values(number)} for one in sources])
    delete_rows(warehouse, HOT, "deleted", [0])
    ours, theirs = multiset(warehouse, HOT), as_others_read(warehouse)

    assert expire(warehouse) == {"copied", "merged", "deleted"}
    assert multiset(warehouse, ARCHIVE).total() == 3 + 12 + 4 - 1 + 1
    assert (hot_and_archive(warehouse), as_others_read(warehouse)) == (ours, theirs)
    restore(warehouse, "copied", "merged", "deleted")
    assert (multiset(warehouse, HOT), as_others_read(warehouse, HOT)) == (ours, theirs)
    compact_table(warehouse, HOT)
    assert (multiset(warehouse, HOT), as_others_read(warehouse, HOT)) == (ours, theirs)
    assert sum("🦄" in row for row in theirs) > 10


def columns(warehouse: Warehouse, table: str) -> dict[str, int]:
    return {field.name: field.field_id for field in warehouse.table(table).schema().fields}


def update(warehouse: Warehouse, table: str, *changes: Callable[[Any], Any]) -> None:
    """Change a table's columns as another program does: it asks nobody whether that breaks anything."""
    with load(warehouse, table).update_schema(allow_incompatible_changes=True) as changing:
        for change in changes:
            change(changing)


def there_and_back(workspace: Workspace) -> None:
    """Expire and restore everything that is due; no row and no value may change."""
    warehouse = workspace.warehouse
    warehouse.align_facts()
    ours, theirs = hot_and_archive(warehouse), as_others_read(warehouse)
    expire(warehouse)
    assert multiset(warehouse, HOT, ["copied", "merged", "deleted"]).total() == 0
    assert as_others_read(warehouse) == theirs
    restore(warehouse, "copied", "merged", "deleted")
    assert multiset(warehouse, ARCHIVE).total() == 0
    assert as_others_read(warehouse, HOT) == theirs
    assert multiset(warehouse, HOT) == ours
    assert same_columns(warehouse.table(HOT).schema(), warehouse.table(ARCHIVE).schema())


@pytest.mark.long
def test_comments_order_wider_types_and_optional_columns_are_no_obstacle(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    update(
        warehouse,
        HOT,
        lambda change: change.update_column("channel", doc="What dbt says of it."),
        lambda change: change.move_first("send_id"),
        lambda change: change.update_column("conversion_index", LongType()),
        lambda change: change.make_column_optional("user_id"),
    )
    append(warehouse, [{**interaction("copied", 10), "conversion_index": 2**40, "user_id": None}])
    append_hot(warehouse, [interaction("merged", 11, conversion_index=2**41)])

    there_and_back(workspace)

    assert warehouse.table(ARCHIVE).schema().find_type("conversion_index") == LongType()
    assert warehouse.create_tables() == []


@pytest.mark.long
@everywhere
def test_columns_that_either_table_has_are_given_to_the_other_under_the_same_id(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    add_columns(warehouse, HOT, ["note", "point"])
    append(warehouse, [{**interaction("copied", 10), **values(0, ["note", "point"])}])
    expire(warehouse)
    # By now both have these two. Others are added in either table, so that their ids collide.
    add_columns(warehouse, HOT, ["a.b"])
    add_columns(warehouse, ARCHIVE, ["number", "select"])
    append(warehouse, [{**interaction("copied", 11), **values(0, ["number", "select"])}], ARCHIVE)
    update(warehouse, HOT, lambda change: change.rename_column("note", 'a "remark"'))
    restore(warehouse, "copied", "merged", "deleted")
    # What lies inside a column may grow in one of the two as well.
    update(warehouse, HOT, lambda change: change.add_column(("point", "z"), StringType()))
    point = {"x y": 7, "Größe": "groß", "z": "deep"}
    for number in range(8):
        append(warehouse, [{**interaction("merged", 12 + number), 'a "remark"': "r", "point": point}])

    there_and_back(workspace)

    assert columns(warehouse, HOT) == columns(warehouse, ARCHIVE)
    assert columns(warehouse, HOT).keys() >= {'a "remark"', "point", "a.b", "number", "select"}
    # Dropped in one of the two only, a column comes back with its values: they may be what somebody needs.
    before = as_others_read(warehouse)
    update(warehouse, HOT, lambda change: change.delete_column('a "remark"'))
    expire(warehouse)
    assert as_others_read(warehouse) == before


def test_what_lies_in_a_struct_may_be_replaced_by_something_else(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    add_columns(warehouse, HOT, ["point"])
    for number in range(3):
        append(warehouse, [{**interaction("copied", 10 + number), **values(number, ["point"])}])
    delete_rows(warehouse, HOT, "copied", [0])
    update(warehouse, HOT, lambda change: change.add_column(("point", "z"), StringType()))
    dropped(warehouse, HOT, "point.x y", "point.Größe")
    points = {row["event_id"]: row["point"] for row in map(json.loads, multiset(warehouse, HOT).elements())}
    assert [points.get(f"copied#{10 + number}") for number in range(3)] == [{"z": None}, {"z": None}, None]
    there_and_back(workspace)


def renamed(warehouse: Warehouse, table: str, old: str, new: str) -> None:
    update(warehouse, table, lambda change: change.rename_column(old, new))


def dropped(warehouse: Warehouse, table: str, *names: str) -> None:
    update(warehouse, table, *(lambda change, name=name: change.delete_column(name) for name in names))  # type: ignore[misc]


def added(warehouse: Warehouse, table: str, name: str, kind: Any, required: bool = False) -> None:
    update(warehouse, table, lambda change: change.add_column(name, kind, required=required))


def required(table: str) -> tuple[Any, str, Any]:
    return (
        lambda warehouse: added(warehouse, table, "theirs", StringType(), required=True),
        f"Table {table} has column 'theirs', id .*, required string",
        lambda warehouse: update(warehouse, table, lambda change: change.make_column_optional("theirs")),
    )


def same_id_for_other_things(warehouse: Warehouse) -> None:
    for table, name, kind, value in ((HOT, "note", StringType(), "n"), (ARCHIVE, "score", DoubleType(), 1.5)):
        added(warehouse, table, name, kind)
        append(warehouse, [{**interaction("copied", 20), name: value}], table)


def copied_to_another_column(warehouse: Warehouse) -> None:
    """What the text says: a new column, the values copied to it, the old one dropped, the files rewritten."""
    added(warehouse, ARCHIVE, "points", DoubleType())
    table = load(warehouse, ARCHIVE)
    rows = [{**row, "points": row["score"], "score": None} for row in table.scan().to_arrow().to_pylist()]
    dropped(warehouse, ARCHIVE, "score")
    table.refresh().overwrite(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))


def same_name_for_other_ids(warehouse: Warehouse) -> None:
    added(warehouse, HOT, "passing", StringType())
    dropped(warehouse, HOT, "passing")
    for table in (HOT, ARCHIVE):
        added(warehouse, table, "note", StringType())
        append(warehouse, [{**interaction("copied", 20), "note": table}], table)


def made_again(warehouse: Warehouse, kind: Any) -> None:
    expire(warehouse)
    dropped(warehouse, HOT, "send_id")
    added(warehouse, HOT, "send_id", kind)
    value = "s" if kind == StringType() else 0.5
    append(warehouse, [{**interaction("copied", 30), "send_id": value}])


def made_way(warehouse: Warehouse) -> None:
    renamed(warehouse, HOT, "send_id", "their_send_id")
    warehouse.create_tables()


def contradicting_names(warehouse: Warehouse) -> None:
    names = {HOT: [{"field-id": 1, "names": ["event_id", "id"]}], ARCHIVE: [{"field-id": 2, "names": ["id"]}]}
    for table, mapping in names.items():
        with warehouse.table(table).transaction() as transaction:
            transaction.set_properties({NAME_MAPPING: json.dumps(mapping)})


def without_mapping(warehouse: Warehouse) -> None:
    with warehouse.table(ARCHIVE).transaction() as transaction:
        transaction.remove_properties(NAME_MAPPING)


def held(warehouse: Warehouse) -> dict[str, tuple[int | None, int]]:
    """The newest snapshot of both tables, and how many rows their manifests give."""
    tables = {name: load(warehouse, name) for name in (HOT, ARCHIVE)}
    return {
        name: (table.metadata.current_snapshot_id, sum(live.row_count for live in warehouse.live_files(table)))
        for name, table in tables.items()
    }


REFUSED: dict[str, tuple[Any, str, Any]] = {
    "required": required(HOT),
    "required-in-the-archive": required(ARCHIVE),
    "required-in-the-trail": required("lifecycle_events"),
    "required-in-the-checksums": required("archived_files"),
    "required-where-the-contract-is-not": (
        lambda warehouse: update(warehouse, HOT, lambda change: change.update_column("send_id", required=True)),
        "Table interactions has column 'send_id', id 17, required string",
        lambda warehouse: update(warehouse, HOT, lambda change: change.make_column_optional("send_id")),
    ),
    "nearly-the-same-name": (
        lambda warehouse: added(warehouse, HOT, "Channel", StringType()),
        "Table interactions has columns 'channel' and 'Channel'",
        lambda warehouse: renamed(warehouse, HOT, "Channel", "their_channel"),
    ),
    "renamed": (
        lambda warehouse: renamed(warehouse, HOT, "channel", "via"),
        "Table interactions has no column 'channel': it was renamed to 'via'",
        lambda warehouse: renamed(warehouse, HOT, "via", "channel"),
    ),
    "renamed-in-the-archive": (
        lambda warehouse: renamed(warehouse, ARCHIVE, "channel", "via"),
        "Table interactions_archive has no column 'channel': it was renamed to 'via'",
        lambda warehouse: renamed(warehouse, ARCHIVE, "via", "channel"),
    ),
    "dropped": (
        lambda warehouse: dropped(warehouse, HOT, "channel"),
        "Table interactions has no column 'channel'; run `perennial init`",
        lambda warehouse: warehouse.create_tables(),
    ),
    "dropped-from-sources": (
        lambda warehouse: dropped(warehouse, "sources", "stopped_at"),
        "Table sources has no column 'stopped_at'; run `perennial init`",
        lambda warehouse: warehouse.create_tables(),
    ),
    "made-again-as-another-type": (
        lambda warehouse: made_again(warehouse, DoubleType()),
        "Table interactions has column 'send_id', id 19, optional double, where the contract has 'send_id', string",
        made_way,
    ),
    "made-again": (
        lambda warehouse: made_again(warehouse, StringType()),
        "interactions has 'send_id', id 19, .* interactions_archive has 'send_id', id 17, .* data files hold both",
        made_way,
    ),
    "same-id-for-other-things": (
        same_id_for_other_things,
        "interactions has 'note', id 19, optional string; interactions_archive has 'score', id 19, optional double",
        copied_to_another_column,
    ),
    "same-name-for-other-ids": (
        same_name_for_other_ids,
        "interactions has 'note', id 20, optional string; interactions_archive has 'note', id 19, optional string",
        lambda warehouse: (renamed(warehouse, HOT, "note", "hot_note"), warehouse.create_tables()),
    ),
    "fixed": (
        lambda warehouse: added(warehouse, HOT, "code", StructType(NestedField(1, "raw", FixedType(4)))),
        "Table interactions has column 'code', .* bytes of a fixed length",
        lambda warehouse: dropped(warehouse, HOT, "code"),
    ),
    "names-that-contradict": (contradicting_names, "a column that files call 'id'", without_mapping),
}


@pytest.mark.long(but="^renamed$")
@pytest.mark.parametrize(("change", "said", "remedy"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_before_anything_moves_and_the_remedy_works(
    workspace: Workspace, change: Any, said: str, remedy: Any
) -> None:
    warehouse = workspace.warehouse
    change(warehouse)
    before = held(warehouse)

    with pytest.raises(TerminalSettingError, match=said):
        expire(warehouse)

    assert held(warehouse) == before
    assert not list(pending_records(warehouse))
    remedy(warehouse)
    expected = as_others_read(warehouse)
    expire(warehouse)
    assert as_others_read(warehouse) == expected
    assert multiset(warehouse, HOT, ["copied", "merged", "deleted"]).total() == 0
    assert sum(expected.values()) == sum(rows for _, rows in before.values())


def test_killed_between_the_two_tables_the_next_run_gives_the_columns_to_the_other(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    for table, name in ((HOT, "note"), (ARCHIVE, "number")):
        add_columns(warehouse, table, [name])
        append(warehouse, [{**interaction("copied", 10), **values(0, [name])}], table)
    add_columns(warehouse, HOT, ["select"])
    before = as_others_read(warehouse)
    # Both claim id 19 and hold values, so one of them makes way first.
    with pytest.raises(TerminalSettingError, match="id 19"):
        warehouse.align_facts()
    added(warehouse, ARCHIVE, "hour", TimeType())
    table = load(warehouse, ARCHIVE)
    rows = [{**row, "hour": row["number"]} for row in table.scan().to_arrow().to_pylist()]
    dropped(warehouse, ARCHIVE, "number")
    table.refresh().overwrite(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))

    run_and_kill(warehouse.settings, Point("after", "perennial.warehouse.align:set_columns"), _align)

    assert "hour" in columns(warehouse, HOT)
    assert "note" not in columns(warehouse, ARCHIVE)
    expire(warehouse)
    assert columns(warehouse, HOT) == columns(warehouse, ARCHIVE)
    assert sum(as_others_read(warehouse).values()) == sum(before.values())
    assert {"hour", "note", "select"} <= columns(warehouse, ARCHIVE).keys()


def _align(warehouse: Warehouse) -> None:
    warehouse.align_facts()


@pytest.mark.long
@pytest.mark.parametrize("step", ["plan", "verify", "add"])
def test_columns_may_change_between_two_steps_of_a_move(workspace: Workspace, step: str) -> None:
    warehouse = workspace.warehouse
    add_columns(warehouse, HOT, ["note"])
    for number in range(9):
        append(warehouse, [{**interaction("merged", 10 + number), **values(number, ["note"])}])
    run = Run("r1", NOW, "ann")
    (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, run).uri, run)

    def change() -> None:
        update(warehouse, HOT, lambda change: change.rename_column("note", "remark"))
        add_columns(warehouse, HOT, ["point"])
        append(warehouse, [{**interaction("copied", 30), **values(0, ["point"]), "remark": "late"}])

    for name, work in (
        ("plan", lambda: copy_files(warehouse, plan_uri, 0)),
        ("verify", lambda: verify_copies(warehouse, plan_uri)),
        ("add", lambda: add_copies(warehouse, plan_uri)),
        ("", lambda: finish_move(warehouse, plan_uri, run)),
    ):
        work()
        if name == step:
            change()
    expire(warehouse)
    assert multiset(warehouse, HOT, ["copied", "merged", "deleted"]).total() == 0
    restore(warehouse, "copied", "merged", "deleted")
    rows = {json.loads(row)["event_id"]: json.loads(row) for row in multiset(warehouse, HOT).elements()}
    assert len(rows) == 12 + 9 + 1
    assert {rows[f"merged#{10 + load}"]["remark"] for load in range(9) if load % 3 != 2} == {
        values(0, ["note"])["note"]
    }
    assert rows["copied#30"]["point"] == {"x y": 1, "Größe": None}


def test_a_column_that_is_added_while_both_tables_get_the_same_is_seen(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, original = workspace.warehouse, align.set_columns
    late = iter(["select", "note"])

    def racing(table: Any, *others: Any) -> list[str]:
        if (name := next(late, None)) is not None:
            add_columns(warehouse, table.name()[-1], [name])
        return original(table, *others)

    monkeypatch.setattr(align, "set_columns", racing)
    add_columns(warehouse, HOT, ["number"])
    warehouse.align_facts()

    assert columns(warehouse, HOT) == columns(warehouse, ARCHIVE)
    assert columns(warehouse, HOT).keys() >= {"number", "select", "note"}
