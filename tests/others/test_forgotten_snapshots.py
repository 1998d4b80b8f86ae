"""Another program expires snapshots while a move is under way: what is unknown then is refused, and nothing is doubled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from perennial.errors import TerminalDataError
from perennial.moves import Run, expire_sources, recovery, restore_sources
from perennial.moves.restore import check_request, plan_restore
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from perennial.warehouse.lineage import History
from tests.moves.steps import add_copies, copy_files, finish_move, verify_copies
from tests.others.writer import NOW, append, snapshot_ids, table_of_others
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

HOT, ARCHIVE = INTERACTIONS.name, "interactions_archive"
REQUEST = {"source_ids": ["old"], "notify": ["ann@example.com"]}
RESTORE, AGAIN = (Run(run_id, NOW + timedelta(days=1), "ann") for run_id in ("restore", "again"))
ROWS = [interaction("old", number) for number in range(5)]


@pytest.fixture
def warehouse(local_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    workspace = Workspace(local_warehouse)
    workspace.source("old")
    workspace.source("running", "active")
    workspace.sync()
    append_hot(local_warehouse, ROWS, [interaction("running", 0)])
    expire_sources(local_warehouse, Run("expiry", NOW))
    return local_warehouse


def replace_files(warehouse: Warehouse, name: str) -> None:
    """Put a source's rows into another file, as rewrite_data_files does; in two commits, in which no row is missing."""
    listed = [live.data_file for live in warehouse.live_files(warehouse.table(name), ["old"])]
    append(warehouse, ROWS, name)
    table = table_of_others(warehouse, name)
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as producer:
        for data_file in listed:
            producer.delete_data_file(data_file)


def forget(warehouse: Warehouse, name: str) -> None:
    """Append twice, and expire every snapshot but the newest, as expire_snapshots with retain_last => 1 does."""
    for number in (1, 2):
        append(warehouse, [interaction("running", number)], name)
    metadata = table_of_others(warehouse, name).metadata
    kept = {metadata.current_snapshot_id, *(ref.snapshot_id for ref in metadata.refs.values())}
    gone = [snapshot.snapshot_id for snapshot in metadata.snapshots if snapshot.snapshot_id not in kept]
    table_of_others(warehouse, name).maintenance.expire_snapshots().by_ids(gone).commit()
    assert len(History(table_of_others(warehouse, name).metadata).lineage) == 1


def planned(warehouse: Warehouse) -> str:
    (plan_uri,) = plan_restore(warehouse, check_request(warehouse, REQUEST), RESTORE)
    copy_files(warehouse, plan_uri, 0)
    verify_copies(warehouse, plan_uri)
    return plan_uri


def test_copies_of_which_nobody_knows_whether_they_arrived_are_not_added_again(warehouse: Warehouse) -> None:
    plan_uri = planned(warehouse)
    add_copies(warehouse, plan_uri)
    replace_files(warehouse, HOT)
    forget(warehouse, HOT)

    stand, rows = snapshot_ids(warehouse, (HOT, ARCHIVE)), hot_and_archive(warehouse)
    for work in (
        lambda: add_copies(warehouse, plan_uri),
        lambda: finish_move(warehouse, plan_uri, RESTORE),
        lambda: restore_sources(warehouse, REQUEST, AGAIN),
        lambda: expire_sources(warehouse, AGAIN),
    ):
        with pytest.raises(TerminalDataError, match=r"expired snapshots of interactions .* unknown whether .* old "):
            work()
    assert snapshot_ids(warehouse, (HOT, ARCHIVE)) == stand
    assert hot_and_archive(warehouse) == rows
    assert not [row for row in visible(warehouse) if '"source_id":"old"' in row], "the source is still expired"

    # What the runbook says: the origin is whole, so what the destination has of it can go.
    expected = visible(warehouse) + multiset(warehouse, ARCHIVE)
    table_of_others(warehouse, HOT).delete("source_id == 'old'")
    storage_for(plan_uri).delete(f"{plan_uri}/adding.json")
    restore_sources(warehouse, REQUEST, AGAIN)
    assert hot_and_archive(warehouse) == visible(warehouse) == expected


def test_copies_that_were_never_added_are_known_not_to_have_arrived(warehouse: Warehouse) -> None:
    planned(warehouse)
    forget(warehouse, HOT)
    rows = hot_and_archive(warehouse)
    restore_sources(warehouse, REQUEST, AGAIN)
    assert hot_and_archive(warehouse) == visible(warehouse) == rows
