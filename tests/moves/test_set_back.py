"""Tables that somebody sets back, and catalogs that come back from a backup: found, refused, repaired row for row."""

from __future__ import annotations

import re
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of
from typer.testing import CliRunner

from perennial.cli import app
from perennial.drills.check import plan_check
from perennial.errors import TerminalDataError
from perennial.maintenance import compact_tables, expire_old_snapshots, purge_files
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.move_plan import EXPIRE, RESTORE
from perennial.settings import Settings
from perennial.tables import (
    ADOPTED_DELETIONS,
    ARCHIVE_CHECKS,
    COUNTED,
    ERASURES,
    HOLDS,
    INTERACTIONS,
    INTERACTIONS_ARCHIVE,
    LOADED_EVENTS,
    NOTICES,
    VANISHED_SOURCES,
)
from perennial.warehouse import FileChange, Warehouse, catalog_file
from perennial.warehouse.commits import commit_change
from perennial.warehouse.heads import find_losses
from perennial.warehouse.lineage import TAG
from perennial.warehouse.repair import repair_table
from tests.currents.landing import event, land_json, load
from tests.kill import Point, run_and_kill
from tests.maintenance.steps import Move
from tests.rows import append_hot, interaction, multiset, shown
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["a"], "notify": ["ann@example.com"]}
Rows = dict[str, Counter[str]]


def build(settings: Settings) -> Warehouse:
    """A workspace in which every table that counts has been written to twice and more, one source having come back."""
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("c", stopped_at=NOW - timedelta(days=80))
    workspace.source("running", "active")
    workspace.sync()
    work(warehouse, 0)
    expire_sources(warehouse, Run("r1", NOW))
    restore_sources(warehouse, REQUEST, Run("r2", NOW + timedelta(days=1)))
    work(warehouse, 1)
    expire_sources(warehouse, Run("r3", NOW + timedelta(days=30)))
    return warehouse


def work(warehouse: Warehouse, number: int) -> None:
    """Load a file with rows of every source and one that cannot be read, and adopt a deletion."""
    events = [
        event(1000 * number + at, campaign_id=source, id=f"{source}-{number}-{at}")
        for source in ("a", "c", "running")
        for at in range(5)
    ]
    land_json(warehouse.settings, "users.messages.email.Open", [*events, "{"], f"part-{number}.json")
    load(warehouse)
    adopted = {"source_id": f"s{number}", "reason": "test", "adopted_at": NOW}
    warehouse.append_rows(ADOPTED_DELETIONS.name, [adopted], f"adopt:{number}")
    missed = {"source_id": f"v{number}", "tags": [], "missed_at": NOW, "run_id": f"r{number}"}
    warehouse.append_rows(VANISHED_SOURCES.name, [missed], f"missed:{number}")
    checked = {"file_uri": f"f{number}", "source_id": "a", "checked_at": NOW, "outcome": "sound", "run_id": "c"}
    warehouse.append_rows(ARCHIVE_CHECKS.name, [checked], f"check:{number}")
    hold = {"hold_id": f"h{number}", "tag": "nobody's", "held_by": "ann", "reason": "test", "held_at": NOW}
    warehouse.append_rows(HOLDS.name, [{**hold, "event": "placed"}], f"hold:{number}")
    notice = {"source_id": "a", "ends_at": NOW, "recipient": "ann", "noticed_at": NOW, "run_id": f"n{number}"}
    warehouse.append_rows(NOTICES.name, [notice], f"notice:{number}")
    asked = {
        "request_id": f"e{number}",
        "user_id_hash": "0",
        "event": "requested",
        "at": NOW,
        "due_at": NOW,
        "detail": "{}",
    }
    warehouse.append_rows(ERASURES.name, [asked], f"erasure:e{number}")


def contents(warehouse: Warehouse) -> Rows:
    """Every row of every table that counts."""
    with shown(warehouse, *COUNTED) as session:
        return {
            name: Counter(text for (text,) in session.execute(f"SELECT to_json(r) FROM {name} AS r").fetchall())
            for name in COUNTED
        }


def first_snapshot(table: Table) -> int:
    return [snapshot.snapshot_id for snapshot in ancestors_of(table.current_snapshot(), table.metadata)][-1]


def set_back(warehouse: Warehouse, name: str, snapshot_id: int | None = None) -> None:
    """What Spark's rollback_to_snapshot does."""
    table = warehouse.table(name)
    target = first_snapshot(table) if snapshot_id is None else snapshot_id
    table.manage_snapshots().rollback_to_snapshot(target).commit()


def lost(warehouse: Warehouse) -> dict[str, tuple[str, ...]]:
    return {loss.table: loss.operations for loss in find_losses(warehouse)}


def append_elsewhere(warehouse: Warehouse, name: str) -> None:
    """Another writer appends the rows that the table has first, under other ids where rows have any."""
    table = warehouse.table(name)
    rows = table.scan(limit=1).to_arrow()
    first = rows.schema.field(0)
    rows = rows.set_column(0, first, pa.array([f"other {first.name}"], first.type))
    table.append(rows)


def data_files(warehouse: Warehouse) -> set[Path]:
    return {path for path in warehouse.settings.home.rglob("*.parquet") if "expiry_decisions" not in str(path)}


RUNS: dict[str, Callable[[Warehouse], object]] = {
    "expiry": lambda warehouse: expire_sources(warehouse, Run("x", NOW)),
    "restore": lambda warehouse: restore_sources(warehouse, {**REQUEST, "source_ids": ["c"]}, Run("x", NOW)),
    "load": load,
    "check of the archive": lambda warehouse: plan_check(warehouse, 100),
    "compaction": compact_tables,
    "expiry of snapshots": lambda warehouse: expire_old_snapshots(warehouse, datetime.now(UTC) + timedelta(days=9)),
    "purge": lambda warehouse: purge_files(warehouse, datetime.now(UTC) + timedelta(days=9)),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """One workspace for the module: a test sets tables back and repairs them, so the next finds everything in place."""
    home = tmp_path_factory.mktemp("world") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(home))
        patch.setenv("PERENNIAL_LANDING_SETTLE_SECONDS", "0")
        yield build(Settings.from_environment())


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.mark.long(but="^interactions$")
@pytest.mark.parametrize("name", COUNTED)
def test_a_table_set_back_alone_is_named_every_run_refuses_and_the_repair_brings_every_row_back(
    world: Warehouse, name: str
) -> None:
    before, head = contents(world), world.table(name).metadata.current_snapshot_id
    set_back(world, name)
    found = lost(world)
    assert list(found) == [name]
    assert found[name]
    stored = data_files(world)

    said = run("check", exit_code=1)
    assert f"Table {name} was set back" in said
    assert found[name][0] in said
    for refused in RUNS.values():
        with pytest.raises(
            TerminalDataError, match=rf"{name} was set back.*{re.escape(found[name][0])}.*perennial repair"
        ):
            refused(world)
    assert data_files(world) == stored, "nothing was copied, written or deleted"

    assert "Nothing was changed" in run("repair", exit_code=1)
    assert list(lost(world)) == [name], "it was only said"
    assert "Nobody has committed since" in run("repair", "--yes")
    assert contents(world) == before
    assert world.table(name).metadata.current_snapshot_id == head
    assert "set back" not in run("check")


def test_repairing_a_whole_workspace_changes_nothing(world: Warehouse) -> None:
    before = [world.table(name).metadata_location for name in COUNTED]
    assert "Nothing is missing" in run("repair", "--yes")
    assert [world.table(name).metadata_location for name in COUNTED] == before


@pytest.mark.long(but="^lifecycle_events-orphans retained$")
@pytest.mark.parametrize("expired", [False, True], ids=["orphans retained", "orphans expired by another engine"])
@pytest.mark.parametrize("name", [INTERACTIONS.name, INTERACTIONS_ARCHIVE.name, LOADED_EVENTS.name, "lifecycle_events"])
def test_what_others_committed_after_a_table_was_set_back_stays_beside_what_the_repair_brings_back(
    world: Warehouse, name: str, expired: bool
) -> None:
    before, head = contents(world), world.table(name).metadata.current_snapshot_id
    set_back(world, name)
    append_elsewhere(world, name)
    if expired:
        expire_all_but_heads(world, name)
    theirs = others_rows(world, name)
    assert theirs

    assert list(lost(world)) == [name]
    with pytest.raises(TerminalDataError, match=f"Table {name} was set back"):
        load(world)
    assert "made again on the table as it is now" in run("repair", "--yes")

    assert contents(world) == {**before, name: before[name] + theirs}
    assert world.table(name).metadata.current_snapshot_id != head
    assert "Nothing is missing" in run("repair")
    column = world.table(name).schema().fields[0].name
    world.table(name).delete(EqualTo(column, f"other {column}"))
    assert contents(world) == before
    assert not lost(world), "a delete of another writer"


def others_rows(warehouse: Warehouse, name: str) -> Counter[str]:
    """The rows of `append_elsewhere`."""
    return Counter({text: count for text, count in contents(warehouse)[name].items() if '"other ' in text})


def ours(rows: Rows) -> Rows:
    """Without those: setting a table back undoes appends and deletes of others, and they stay undone."""
    return {
        name: Counter({text: n for text, n in found.items() if '"other ' not in text}) for name, found in rows.items()
    }


def expire_all_but_heads(warehouse: Warehouse, name: str) -> None:
    warehouse.table(name).maintenance.expire_snapshots().older_than(datetime.now(UTC) + timedelta(days=1)).commit()


@pytest.mark.long(but="^(as it was)$")
@pytest.mark.parametrize("others", [False, True], ids=["as it was", "others have committed since"])
def test_it_is_the_same_on_s3_with_a_rest_catalog(lake_warehouse: Warehouse, others: bool) -> None:
    for number in range(3):
        append_hot(lake_warehouse, [interaction("a", number), interaction("b", number)])
    before = multiset(lake_warehouse, INTERACTIONS.name)
    set_back(lake_warehouse, INTERACTIONS.name)
    if others:
        append_elsewhere(lake_warehouse, INTERACTIONS.name)
        expire_all_but_heads(lake_warehouse, INTERACTIONS.name)
    with pytest.raises(TerminalDataError, match="Table interactions was set back"):
        append_hot(lake_warehouse, [interaction("a", 9)])

    repair_all(lake_warehouse)

    theirs = multiset(lake_warehouse, INTERACTIONS.name, ["a", "b"]) - before
    assert multiset(lake_warehouse, INTERACTIONS.name) == before + theirs
    assert theirs.total() == others
    assert not lost(lake_warehouse)


def test_others_commits_that_were_undone_stay_undone(world: Warehouse) -> None:
    start = world.table(INTERACTIONS.name).metadata.current_snapshot_id
    append_elsewhere(world, INTERACTIONS.name)
    work(world, 2)
    after, theirs = contents(world), others_rows(world, INTERACTIONS.name)
    set_back(world, INTERACTIONS.name, start)

    assert "Commits of other writers stay undone" in run("repair", "--yes")

    assert contents(world) == {**after, INTERACTIONS.name: after[INTERACTIONS.name] - theirs}
    assert theirs.total() == 1


@pytest.mark.long
def test_a_repair_that_is_killed_between_two_tables_is_finished_by_the_next(world: Warehouse) -> None:
    before = contents(world)
    names = [INTERACTIONS.name, INTERACTIONS_ARCHIVE.name, "lifecycle_events", LOADED_EVENTS.name]
    for name in names:
        set_back(world, name)
    append_elsewhere(world, INTERACTIONS_ARCHIVE.name)
    theirs = others_rows(world, INTERACTIONS_ARCHIVE.name)

    run_and_kill(world.settings, Point("before", "perennial.warehouse.repair:_commit", 2), repair_all)
    assert list(lost(world)) == names[1:]
    run_and_kill(world.settings, Point("after", "perennial.warehouse.repair:_commit", 2), repair_all)
    assert list(lost(world)) == names[3:]
    repair_all(world)

    assert ours(contents(world)) == ours(before)
    assert others_rows(world, INTERACTIONS_ARCHIVE.name) == theirs
    assert not lost(world)


def repair_all(warehouse: Warehouse) -> None:
    for name in COUNTED:
        repair_table(warehouse, name, dry_run=False)


@pytest.mark.long(but="^(as it was)$")
@pytest.mark.parametrize("committed", [False, True], ids=["as it was", "others have committed since"])
def test_a_catalog_from_an_older_backup_gets_back_what_it_has_forgotten(world: Warehouse, committed: bool) -> None:
    catalog, backup = world.settings.home / "catalog.db", world.settings.home / "backup.db"
    shutil.copy(catalog, backup)
    work(world, 3 + committed)
    before = contents(world)
    world.catalog.close()
    shutil.copy(backup, catalog)
    foreign: Counter[str] = Counter()
    if committed:
        append_elsewhere(world, INTERACTIONS.name)
        foreign = others_rows(world, INTERACTIONS.name) - before[INTERACTIONS.name]

    assert "older backup" in run("check", exit_code=1)
    for refused in RUNS.values():
        with pytest.raises(TerminalDataError, match="perennial repair"):
            refused(world)
    run("repair", "--yes")

    assert contents(world) == {**before, INTERACTIONS.name: before[INTERACTIONS.name] + foreign}
    assert not lost(world)
    work(world, 5 + committed)


def test_a_catalog_so_old_that_its_metadata_file_is_gone_says_which_and_is_repaired_with_the_backups(
    local_warehouse: Warehouse,
) -> None:
    append_hot(local_warehouse, [interaction("a", 0)])
    named = Path(local_warehouse.table(INTERACTIONS.name).metadata_location.removeprefix("file://"))
    catalog, metadata = catalog_file(local_warehouse.settings), named.read_bytes()
    backup = shutil.copy(catalog, catalog.with_name("backup.db"))
    append_hot(local_warehouse, [interaction("a", 1)])
    before = multiset(local_warehouse, INTERACTIONS.name)
    local_warehouse.catalog.close()
    shutil.copy(backup, catalog)
    # As twenty more commits do.
    named.unlink()
    opened = Warehouse(local_warehouse.settings)

    with pytest.raises(TerminalDataError, match=re.escape(named.name)):
        list(find_losses(opened))
    named.write_bytes(metadata)
    assert list(lost(opened)) == [INTERACTIONS.name]
    repair_all(opened)

    assert multiset(opened, INTERACTIONS.name) == before
    assert not lost(opened)


def test_a_table_set_back_before_there_were_tags_and_notes_is_found_by_what_was_undone(world: Warehouse) -> None:
    for name in COUNTED:
        world.table(name).manage_snapshots().remove_tag(TAG).commit()
    shutil.rmtree(Path(world.operations_uri().removeprefix("file://"), "heads"))
    before = contents(world)
    assert not lost(world)
    assert len([*Path(world.operations_uri().removeprefix("file://"), "heads").iterdir()]) == len(COUNTED)
    shutil.rmtree(Path(world.operations_uri().removeprefix("file://"), "heads"))

    set_back(world, INTERACTIONS.name)
    assert list(lost(world)) == [INTERACTIONS.name]
    run("repair", "--yes")
    assert ours(contents(world)) == ours(before)
    assert TAG in world.table(INTERACTIONS.name).refs()


def test_where_nothing_is_left_to_repair_from_the_operator_can_take_the_table_as_it_is(world: Warehouse) -> None:
    set_back(world, "rejected_events")
    world.table("rejected_events").manage_snapshots().remove_tag(TAG).commit()
    expire_all_but_heads(world, "rejected_events")
    current = world.table("rejected_events").metadata_location
    for path in Path(current.removeprefix("file://")).parent.glob("*.metadata.json"):
        if not current.endswith(path.name):
            path.unlink()
    (operation,) = lost(world)["rejected_events"]

    said = run("repair", "--yes", exit_code=1)
    assert "perennial repair --accept rejected_events" in said
    assert operation in run("repair", "--accept", "rejected_events")

    assert not lost(world)
    work(world, 7)
    assert "nothing to accept" in run("repair", "--accept", "rejected_events", exit_code=1)


def test_a_run_under_way_commits_nothing_to_a_table_that_was_set_back(world: Warehouse) -> None:
    before = contents(world)
    append = {"source_id": "s9", "reason": "test", "adopted_at": NOW}
    set_back(world, ADOPTED_DELETIONS.name)
    with pytest.raises(TerminalDataError, match="Table adopted_deletions was set back"):
        world.append_rows(ADOPTED_DELETIONS.name, [append], "adopt:9")
    repair_all(world)
    assert contents(world) == before


def test_a_move_whose_destination_is_set_back_on_the_way_removes_nothing_and_goes_on_after_the_repair(
    world: Warehouse,
) -> None:
    before, start = contents(world), world.table(INTERACTIONS_ARCHIVE.name).metadata.current_snapshot_id
    move = Move(world, EXPIRE, ["running"])
    move.plan()
    move.copy()
    move.add()
    set_back(world, INTERACTIONS_ARCHIVE.name, start)

    with pytest.raises(TerminalDataError, match="Table interactions_archive was set back"):
        move.remove()
    assert contents(world)[INTERACTIONS.name] == before[INTERACTIONS.name]

    repair_all(world)
    move.remove()
    Move(world, RESTORE, ["running"]).run()
    assert contents(world) == before


def branch_and_tag(warehouse: Warehouse) -> None:
    for name in (INTERACTIONS.name, LOADED_EVENTS.name):
        table = warehouse.table(name)
        old = first_snapshot(table)
        table.manage_snapshots().create_tag(old, "audit").create_branch(old, "trial").commit()
        expire_all_but_heads(warehouse, name)


def undo_own_append(warehouse: Warehouse) -> None:
    own = warehouse.table(INTERACTIONS.name).metadata.current_snapshot_id
    append_elsewhere(warehouse, INTERACTIONS.name)
    set_back(warehouse, INTERACTIONS.name, own)


def append_and_expire(warehouse: Warehouse) -> None:
    for _ in range(3):
        append_elsewhere(warehouse, INTERACTIONS.name)
    expire_all_but_heads(warehouse, INTERACTIONS.name)


def expire_everywhere(warehouse: Warehouse) -> None:
    for name in COUNTED:
        expire_all_but_heads(warehouse, name)


def erase(warehouse: Warehouse) -> None:
    """Of source c everything, which is all in the archive."""

    def change(table: Table) -> FileChange:
        return FileChange(remove=[live.data_file for live in warehouse.live_files(table, ["c"])])

    for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
        commit_change(warehouse, name, change, f"erase:{name}")


def compact_and_undo(warehouse: Warehouse) -> None:
    schema = warehouse.arrow_schema("rejected_events")
    row = {"file_uri": "x", "line": 1, "reason": "test", "payload": "", "rejected_at": NOW}
    for number in range(4):
        warehouse.append_table("rejected_events", pa.Table.from_pylist([row], schema), f"test:{number}:{uuid.uuid4()}")
    before = warehouse.table("rejected_events").metadata.current_snapshot_id
    assert compact_tables(warehouse)["rejected_events"].files_before
    set_back(warehouse, "rejected_events", before)


ORDINARY: dict[str, Callable[[Warehouse], object]] = {
    "our compaction undone": compact_and_undo,
    "our compaction": compact_tables,
    "an append": lambda warehouse: append_elsewhere(warehouse, INTERACTIONS.name),
    "an append undone by its writer": undo_own_append,
    "a delete": lambda warehouse: warehouse.table(INTERACTIONS.name).delete(EqualTo("source_id", "running")),
    "a delete of some rows": lambda warehouse: warehouse.table(INTERACTIONS_ARCHIVE.name).delete(
        EqualTo("event_id", "c-0-0")
    ),
    "an overwrite": lambda warehouse: warehouse.table("rejected_events").overwrite(
        warehouse.table("rejected_events").scan().to_arrow()
    ),
    "appends, then another engine's expiry": append_and_expire,
    "our expiry, one day retained": lambda warehouse: expire_old_snapshots(
        warehouse, datetime.now(UTC) + timedelta(days=2), retain_days=1
    ),
    "another engine's expiry, the last retained": expire_everywhere,
    "rows removed by an operation of ours, as an erasure will be": erase,
    "the same, and the snapshots that show it expired": expire_everywhere,
    "a branch and a tag of others, then an expiry": branch_and_tag,
}


@pytest.mark.long(but="last retained|a branch and a tag")
@pytest.mark.parametrize("done", ORDINARY.values(), ids=ORDINARY)
def test_what_others_may_do_is_no_loss(world: Warehouse, done: Callable[[Warehouse], object]) -> None:
    done(world)
    assert not lost(world)
    assert "set back" not in run("check")
    work(world, 10 + [*ORDINARY.values()].index(done))
    assert not lost(world)
