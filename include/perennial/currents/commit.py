"""Commits a load once and completely, even if processes are killed or others load at the same time.

The ledger goes first, as a compare-and-swap on the snapshot the load was prepared against: at most one of the loads
prepared against it wins. From then on the load is decided, and whoever finds its pending record finishes it: every
further commit is made once, by its operation id. A load that lost is dropped and prepared again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perennial.currents.prepare import LOADED_TABLES, PreparedLoad
from perennial.errors import TerminalDataError
from perennial.operations import (
    OperationRecord,
    OperationStore,
    new_record,
    pending_records,
    remove_pending,
    write_pending,
)
from perennial.storage import storage_for
from perennial.tables import LOADED_EVENTS
from perennial.warehouse import FileChange, Warehouse
from perennial.warehouse.commits import commit_change
from perennial.warehouse.files import read_file_list, write_file_list
from perennial.warehouse.lineage import was_undone

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

KIND = "load"


class _SupersededError(Exception):
    """Somebody else changed the ledger after the load was prepared."""


def record_load(warehouse: Warehouse, prepared: PreparedLoad) -> None:
    """Record a prepared load, its pending record last: from then on any run can finish it."""
    uri = _load_uri(warehouse, prepared.load_id)
    lists = {}
    for name, data_files in prepared.data_files.items():
        if data_files:
            lists[name] = f"{uri}/{name}.avro"
            write_file_list(warehouse.table(name), lists[name], data_files)
    plan = {"load_id": prepared.load_id, "ledger_snapshot_id": prepared.ledger_snapshot_id, "tables": lists}
    OperationStore.write(f"{uri}/load.json", plan)
    record = new_record(KIND, prepared.load_id, plan_uri=f"{uri}/load.json", file_lists=lists.values())
    write_pending(warehouse, record)


def commit_load(warehouse: Warehouse, prepared: PreparedLoad) -> bool:
    """Commit a recorded load, or the rest of it, and remove its record.

    Returns:
        Whether it is committed; False when somebody else changed the ledger first, and nothing of it was committed.

    Raises:
        TransientConflictError: Other writers kept committing first; the next run finishes the load.
        TerminalDataError: It is no longer known whether the load was committed.
    """
    operation = f"{KIND}:{prepared.load_id}"
    try:
        _commit_ledger(warehouse, prepared, operation)
    except _SupersededError:
        log.info("load %s: another run committed first; preparing again", prepared.load_id)
        _forget(warehouse, prepared)
        return False
    for name in LOADED_TABLES[1:]:
        warehouse.append_files(name, prepared.data_files.get(name, []), operation)
    _forget(warehouse, prepared)
    return True


def finish_pending_loads(warehouse: Warehouse) -> int:
    """Complete every recorded load: finish those that are decided or can still win, drop the others.

    Maintenance calls this before it expires snapshots, because their summaries show which steps are finished.

    Returns:
        How many loads were finished.
    """
    finished = 0
    for record in pending_records(warehouse, KIND):
        prepared = _read_recorded(warehouse, record)
        if prepared is not None and commit_load(warehouse, prepared):
            log.info("load %s: finished what an earlier run had begun", record.id)
            finished += 1
    return finished


def has_pending_loads(warehouse: Warehouse) -> bool:
    """Whether a recorded load is not known to be finished."""
    return any(True for _ in pending_records(warehouse, KIND))


def _commit_ledger(warehouse: Warehouse, prepared: PreparedLoad, operation: str) -> None:
    def change(table: Table) -> FileChange:
        snapshot = table.current_snapshot()
        if (snapshot.snapshot_id if snapshot else None) != prepared.ledger_snapshot_id:
            _refuse_unknown_history(table, prepared)
            raise _SupersededError
        # Forced: a load with only duplicates and rejected records takes part in the swap as well.
        return FileChange(add=prepared.data_files.get(LOADED_EVENTS.name, []), forced=True)

    commit_change(warehouse, LOADED_EVENTS.name, change, operation)


def _refuse_unknown_history(table: Table, prepared: PreparedLoad) -> None:
    """Refuse to treat a load as lost if the snapshot that would show its commit may have been expired."""
    retained = {snapshot.snapshot_id: snapshot for snapshot in table.metadata.snapshots}
    snapshot = table.current_snapshot()
    while snapshot is not None and snapshot.snapshot_id != prepared.ledger_snapshot_id:
        # The very first snapshot still exists: after an expiry the oldest one has no parent either, but is a later one.
        if prepared.ledger_snapshot_id is None and snapshot.sequence_number == 1:
            return
        snapshot = retained.get(snapshot.parent_snapshot_id or -1)
    if snapshot is None and not was_undone(table, prepared.ledger_snapshot_id):
        raise TerminalDataError(
            f"Load {prepared.load_id} was interrupted so long ago that the history of {LOADED_EVENTS.name} no longer "
            "shows whether it was committed. Compare its event ids (its pending record names its file lists) with "
            f"{LOADED_EVENTS.name}: with all of them there, append its other file lists; with none, delete the record."
        )


def _read_recorded(warehouse: Warehouse, record: OperationRecord) -> PreparedLoad | None:
    """Read a recorded load; None when another run has just finished it."""
    try:
        plan = OperationStore.get(record.plan_uri)
        data_files = {name: list(read_file_list(warehouse.table(name), uri)) for name, uri in plan["tables"].items()}
    except FileNotFoundError as error:
        if any(still.id == record.id for still in pending_records(warehouse, KIND)):
            raise TerminalDataError(
                f"Load {record.id} is recorded as pending but its plan {record.plan_uri} is incomplete ({error}); "
                "restore the operations directory from its backup."
            ) from error
        return None
    return PreparedLoad(plan["load_id"], plan["ledger_snapshot_id"], data_files)


def _forget(warehouse: Warehouse, prepared: PreparedLoad) -> None:
    # The record first: what it refers to must exist as long as it does.
    remove_pending(warehouse, KIND, prepared.load_id)
    uri = _load_uri(warehouse, prepared.load_id)
    for name in (*(f"{name}.avro" for name in prepared.data_files), "load.json"):
        storage_for(uri).delete(f"{uri}/{name}")


def _load_uri(warehouse: Warehouse, load_id: str) -> str:
    return f"{warehouse.operations_uri()}/loads/{load_id}"
