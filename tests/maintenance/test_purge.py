"""Physical deletion (M8): what survives, file by file."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyiceberg.table import Table

from perennial.errors import TerminalDataError
from perennial.maintenance import PurgeOutcome, expire_old_snapshots, purge, purge_files
from perennial.maintenance.compaction import compact_table
from perennial.moves.finish import _record_checksums
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction, copy_name
from perennial.operations import OperationRecord, remove_pending, write_pending
from perennial.settings import Settings
from perennial.storage import StoredFile, storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.files import relocated, write_file_list
from tests.maintenance.deletes import delete_rows
from tests.maintenance.maintain import maintain_warehouse
from tests.maintenance.steps import TABLE_NAMES, Move, append_loads, data_files, data_path, open_again, stored
from tests.rows import hot_and_archive, multiset

MONTHS = timedelta(days=100)
HEX = "0123456789abcdef" * 4


def later() -> datetime:
    return datetime.now(UTC) + MONTHS


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def reached_metadata(table: Table) -> set[str]:
    """What pyiceberg itself says about which metadata files a table needs."""
    reached = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    for snapshot in table.metadata.snapshots:
        reached |= {snapshot.manifest_list, *(manifest.manifest_path for manifest in snapshot.manifests(table.io))}
    return {uri.rpartition("/")[2] for uri in reached}


def test_orphans_go_and_exactly_what_tables_reach_stays(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a", "b", "c"], loads=3)
    Move(warehouse, EXPIRE, ["a", "b"]).run()
    Move(warehouse, RESTORE, ["b"]).run()
    deletes = delete_rows(warehouse, "interactions", "c", positions=[0]).rpartition("/")[2]
    compact_table(warehouse, "interactions")
    hot = data_path(warehouse, "interactions")
    put(hot / f"{uuid.uuid4().hex}-0.parquet")
    put(hot / f".{uuid.uuid4().hex}")
    put(hot / f".{uuid.uuid4().hex}" / "partition_number=1" / f"part-{uuid.uuid4()}.parquet")
    put(hot / f"00000-0-{uuid.uuid4()}.parquet")
    put(hot / "notes of a colleague.txt")
    before = hot_and_archive(warehouse)

    outcome = maintain_warehouse(warehouse, later()).purged

    assert stored(hot) == data_files(warehouse, "interactions") | {"notes of a colleague.txt", deletes}
    assert stored(data_path(warehouse, "interactions_archive")) >= data_files(warehouse, "interactions_archive")
    for name in TABLE_NAMES:
        table = warehouse.table(name)
        assert stored(table.location() + "/metadata") == reached_metadata(table), name
    assert hot_and_archive(warehouse) == before
    assert outcome.file_count > 0
    assert purge_files(warehouse, later()).file_count == 0, "a second run finds nothing"


def test_young_orphans_stay(warehouse: Warehouse) -> None:
    orphan = put(data_path(warehouse, "interactions") / f"{uuid.uuid4().hex}-0.parquet")
    os.utime(orphan, (0, 0))

    assert purge_files(warehouse, datetime.now(UTC), 1) == PurgeOutcome(0, 0, 0)

    assert orphan.exists(), "its name is young, however old its content claims to be"


def test_a_file_that_only_an_old_snapshot_lists_stays_as_long_as_the_snapshot(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    small = data_files(warehouse, "interactions")
    compact_table(warehouse, "interactions")
    directory = data_path(warehouse, "interactions")

    purge_files(warehouse, later())
    assert stored(directory) == small | data_files(warehouse, "interactions")

    expire_old_snapshots(warehouse, later())
    purge_files(warehouse, later())
    assert stored(directory) == data_files(warehouse, "interactions")


@pytest.mark.long(but="^(expire-copied)$")
@pytest.mark.parametrize("loads", [2, 9], ids=["copied", "rewritten"])
@pytest.mark.parametrize("direction", [EXPIRE, RESTORE], ids=lambda direction: direction.name)
def test_a_half_done_move_survives_and_can_be_finished_by_the_next_run(
    warehouse: Warehouse, direction: Direction, loads: int
) -> None:
    append_loads(warehouse, ["a"], loads)
    if direction is RESTORE:
        list_in_archive(warehouse)
    before = hot_and_archive(warehouse)
    move = Move(warehouse, direction, ["a"])
    move.plan()
    move.copy()
    assert move.made is not None
    copies = {step.copy_uri.rpartition("/")[2] for step in move.made.steps}
    destination = data_path(warehouse, direction.destination)

    maintain_warehouse(warehouse, later())
    assert copies <= stored(destination), "its pending record names them"

    remove_pending(warehouse, direction.name, move.made.move_id)
    purge_files(warehouse, later())
    if direction is RESTORE or loads == 2:
        assert copies <= stored(destination), "the next move of the same files uses the same names"
    else:
        assert not copies & stored(destination), "no other move makes a rewritten file of the same name"

    Move(warehouse, direction, ["a"]).run()
    assert multiset(warehouse, direction.destination) == before
    assert multiset(warehouse, direction.origin) == {}


def list_in_archive(warehouse: Warehouse) -> None:
    """Let the archive have the files of hot as they are, and hot nothing."""
    place = warehouse.table("interactions_archive").location_provider().new_data_location
    listed = []
    for live in warehouse.live_files(warehouse.table("interactions")):
        listed.append(relocated(live.data_file, place(live.uri.rpartition("/")[2])))
        storage_for(live.uri).copy(live.uri, listed[-1].file_path)
    warehouse.append_files("interactions_archive", listed, "test:list")
    warehouse.replace_files("interactions", [], "test:empty")


def test_a_leftover_copy_goes_when_its_original_has_gone(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=4)
    move = Move(warehouse, EXPIRE, ["a"])
    move.plan()
    move.copy()
    assert move.made is not None
    remove_pending(warehouse, "expire", move.made.move_id)
    archive = data_path(warehouse, "interactions_archive")
    leftovers = stored(archive)
    assert leftovers == {copy_name(step.originals[0]) for step in move.made.steps}

    purge_files(warehouse, later())
    assert stored(archive) == leftovers
    assert Path(move.made.uri.removeprefix("file://"), "plan.json").exists(), "it says whose they are"

    compact_table(warehouse, "interactions")
    purge_files(warehouse, later())
    assert stored(archive) == set()
    assert stored(Path(move.made.uri.removeprefix("file://")).parent) == set()


def test_a_copy_made_anew_while_the_purge_looks_around_stays(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = put(data_path(warehouse, "interactions") / f"{HEX}.parquet")
    delete_old, asked = purge._delete_old, []

    def touched_first(found: StoredFile, cutoff: datetime) -> StoredFile | None:
        asked.append(found.uri)
        return delete_old(found, datetime.now(UTC) - timedelta(days=1))

    monkeypatch.setattr(purge, "_delete_old", touched_first)

    assert purge_files(warehouse, later()).file_count == 0
    assert asked == [f"file://{orphan}"]
    assert orphan.exists()


@pytest.mark.long(but="^(checksum noted)$")
@pytest.mark.parametrize("noted", [True, False], ids=["checksum noted", "nothing noted"])
def test_archived_files_stay_while_referenced_and_go_later_if_the_workspace_wrote_them(
    warehouse: Warehouse, noted: bool
) -> None:
    append_loads(warehouse, ["a"], loads=2)
    move = Move(warehouse, EXPIRE, ["a"])
    move.run()
    assert move.made is not None
    if noted:
        _record_checksums(warehouse, move.made, ["a"])
    shutil.rmtree(move.made.uri.removeprefix("file://"))
    archive = data_path(warehouse, "interactions_archive")
    archived = stored(archive)

    maintain_warehouse(warehouse, later())
    assert stored(archive) == archived == data_files(warehouse, "interactions_archive")

    Move(warehouse, RESTORE, ["a"]).run()
    outcome = maintain_warehouse(warehouse, later())
    assert stored(archive) == (set() if noted else archived)
    assert outcome.purged.foreign_count == (0 if noted else 2)


def test_another_workspace_in_the_same_archive_loses_nothing(settings: Settings, warehouse: Warehouse) -> None:
    neighbour = Warehouse(replace(settings, namespace="neighbour"))
    neighbour.create_tables()
    for one in (warehouse, neighbour):
        append_loads(one, ["a"], loads=2)
        Move(one, EXPIRE, ["a"]).run()
    assert data_path(warehouse, "interactions_archive") == data_path(neighbour, "interactions_archive")
    theirs = hot_and_archive(neighbour)
    foreign = put(data_path(warehouse, "interactions_archive") / f"{HEX}.parquet")

    Move(warehouse, RESTORE, ["a"]).run()
    maintain_warehouse(warehouse, later())

    assert hot_and_archive(neighbour) == theirs
    assert foreign.exists()
    assert stored(foreign.parent) == data_files(neighbour, "interactions_archive") | {foreign.name}


def test_a_catalog_that_was_set_up_anew_stops_the_purge_before_it_deletes_everything(settings: Settings) -> None:
    first = open_again(settings.home)
    first.create_tables()
    append_loads(first, ["a"], loads=2)
    first.catalog.close()
    (settings.home / "catalog.db").unlink()
    again = open_again(settings.home)
    again.create_tables()
    before = stored(settings.home / "warehouse")

    with pytest.raises(TerminalDataError, match="belongs to another table"):
        purge_files(again, later())

    assert stored(settings.home / "warehouse") == before


def test_a_catalog_restored_from_an_old_backup_stops_the_purge_too(settings: Settings) -> None:
    first = open_again(settings.home)
    first.create_tables()
    append_loads(first, ["a"], loads=1)
    backup = settings.home / "backup.db"
    shutil.copy(settings.home / "catalog.db", backup)
    append_loads(first, ["a"], loads=2, first=1)
    first.catalog.close()
    shutil.move(backup, settings.home / "catalog.db")
    before = stored(settings.home / "warehouse")

    with pytest.raises(TerminalDataError, match="is newer"):
        purge_files(open_again(settings.home), later())

    assert stored(settings.home / "warehouse") == before


def test_plans_and_notes_of_finished_operations_go_those_under_way_stay(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a", "b"], loads=2)
    over, under_way = Move(warehouse, EXPIRE, ["a"]), Move(warehouse, EXPIRE, ["b"])
    over.run()
    under_way.plan()
    assert over.made is not None
    assert under_way.made is not None
    root = Path(warehouse.operations_uri().removeprefix("file://"))
    note = put(root / "decided" / f"{uuid.uuid4().hex}.json", b"{}")
    error = put(root / "errors" / f"{hashlib.sha256(b'x').hexdigest()}.txt")
    other = put(root / "handwritten" / "note.txt")

    purge_files(warehouse, datetime.now(UTC))
    assert note.exists(), "young"

    purge_files(warehouse, later())
    assert not note.exists()
    assert not error.exists()
    assert other.exists()
    assert stored(over.made.uri) == set()
    assert {"plan.json"} <= stored(under_way.made.uri)
    assert len(stored(root / "pending")) == 1
    under_way.copy()
    under_way.add()
    under_way.remove()
    assert multiset(warehouse, "interactions") == {}


def test_the_files_of_a_recorded_load_stay_until_it_is_committed(warehouse: Warehouse) -> None:
    append_loads(warehouse, ["a"], loads=1)
    table = warehouse.table("interactions")
    written = [live.data_file for live in warehouse.live_files(table)]
    listed = f"{warehouse.operations_uri()}/loads/l1/interactions.avro"
    write_file_list(table, listed, written)
    stamp = datetime.now(UTC).isoformat()
    write_pending(warehouse, OperationRecord("load", "l1", stamp, stamp, (listed,)))
    before = multiset(warehouse, "interactions")
    warehouse.replace_files("interactions", [], "test:empty")
    remove_pending(warehouse, "load", "l1")
    expire_old_snapshots(warehouse, later())
    write_pending(warehouse, OperationRecord("load", "l1", stamp, stamp, (listed,)))

    purge_files(warehouse, later())
    warehouse.append_files("interactions", written, "load:l1")
    assert multiset(warehouse, "interactions") == before
    assert storage_for(listed).stat(listed) is not None

    remove_pending(warehouse, "load", "l1")
    purge_files(warehouse, later())
    assert multiset(warehouse, "interactions") == before
    assert storage_for(listed).stat(listed) is None
