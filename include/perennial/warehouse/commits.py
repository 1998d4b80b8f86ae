"""Commits as compare-and-swap: read the current table, decide, and commit only if it is still the same.

pyiceberg's own retry repeats a commit without checking again whether it is still wanted, which would list a file twice
when two runs do the same thing. So its retry is switched off here, and the whole decision is repeated instead (M2).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyiceberg.manifest import DataFile, ManifestEntryStatus
from pyiceberg.table import Table, TableProperties, Transaction

from perennial.tables import COUNTED
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.entries import entries_of
from perennial.warehouse.foreign import refuse_unwritable
from perennial.warehouse.heads import note_head, read_head
from perennial.warehouse.lineage import OPERATION_KEY, History, is_thinned, operation_of, tagged
from perennial.warehouse.losses import refuse_loss
from perennial.warehouse.manifests import SnapshotProducer, overlap
from perennial.warehouse.races import repeat_lost_races

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableUpdate

    from perennial.warehouse.catalog import Warehouse

log = logging.getLogger(__name__)

# How many manifests a query about one source may have to read; every load adds one.
MAX_MANIFESTS_OF_A_SOURCE = 8


@dataclass(frozen=True)
class FileChange:
    """Data files that enter and leave a table in one commit (M3: always named, never a predicate).

    A forced change makes a snapshot even if no file enters or leaves: it shows when the table was last up to date.
    A clustered one reorders the manifests by source instead.
    """

    add: list[DataFile] = field(default_factory=list)
    remove: list[DataFile] = field(default_factory=list)
    forced: bool = False
    clustered: bool = False

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.forced or self.clustered)


def commit_change(
    warehouse: Warehouse, name: str, change: Callable[[Table], FileChange], operation: str
) -> FileChange | None:
    """Commit once what `change` says about the current table.

    Args:
        warehouse: The tables.
        name: The table.
        change: Decides from the table; called again after each lost race. An empty change commits nothing.
        operation: Recorded in the snapshot's summary; a table that has it already is not changed.

    Returns:
        The change that this call committed; None where it committed nothing.

    Raises:
        TerminalDataError: The table was set back: operations that others rely on are missing in its history.
        TransientConflictError: Other writers kept committing first.
        TransientError: The catalog did not answer; a repetition checks whether the commit was made.
    """

    def attempt() -> FileChange | None:
        table = load_whole_table(warehouse, name)
        if operation in operations(table):
            return None
        delta = change(table)
        if not delta:
            return None
        refuse_unwritable(table)
        with catalog_errors(table.catalog.name, commit=name):
            _commit(table, delta, operation)
        if name in COUNTED:
            note_head(warehouse, table)
        return delta

    return repeat_lost_races(name, operation, attempt)


def load_whole_table(warehouse: Warehouse, name: str) -> Table:
    """Load a table that is about to be changed.

    Raises:
        TerminalDataError: The table was set back.
    """
    # The record first: if the table is loaded before it, the record may be ahead.
    head = read_head(warehouse, name) if name in COUNTED else None
    table = warehouse.table(name)
    if name in COUNTED:
        refuse_loss(table, head)
    return table


class _OneCommit(Transaction):
    """A transaction that works out its metadata once for each update.

    pyiceberg applies every update to a deep copy of the metadata whenever a part of it is asked for, which is two dozen
    times in one commit; a copy takes as long as the table's history is.
    """

    _known: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        if self._known is None or self._known[0] is not self._updates:
            self._known = self._updates, super().table_metadata
        return self._known[1]


def _commit(table: Table, delta: FileChange, operation: str) -> None:
    # Only this copy of the metadata: the property is not among the updates that are sent.
    table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
    transaction = _OneCommit(table)
    named = {OPERATION_KEY: operation}
    SnapshotProducer(transaction, table.io, delta.add, delta.remove, delta.clustered, named).commit()
    if table.name()[-1] in COUNTED:
        set_tag(transaction)
    transaction.commit_transaction()


def set_tag(transaction: Transaction) -> None:
    """Set our tag to the snapshot that a transaction makes current: setting the table back does not move the tag."""
    current = transaction.table_metadata.current_snapshot_id
    assert current is not None
    transaction._apply((tagged(current),))


def order_manifests(warehouse: Warehouse, name: str) -> bool:
    """Rewrite a table's manifests in order of source, if too many of them are about the same source.

    Returns:
        Whether it was needed.
    """

    def change(table: Table) -> FileChange:
        return FileChange(clustered=overlap(table) > MAX_MANIFESTS_OF_A_SOURCE)

    return commit_change(warehouse, name, change, f"order-manifests:{uuid.uuid4().hex}") is not None


def operations(table: Table) -> set[str]:
    """Return the operations that committed the current snapshot and its retained ancestors.

    Operations that were undone by setting the table back do not count: they are missing until `perennial repair` has
    repeated them, and until then nothing else is committed.
    """
    return {operation_of(snapshot) for snapshot in History(table.metadata).lineage.values()} - {""}


def removed_since(table: Table, snapshot_id: int | None) -> dict[str, str]:
    """Return the data files that left the table after a snapshot, each with the operation that removed it last.

    The operation is empty where another program made the commit.
    """
    removers: dict[str, str] = {}
    # The newest first: a file that was withdrawn, added again and then moved on has been moved.
    for data_file, operation in _removals(table, snapshot_id):
        removers.setdefault(data_file.file_path, operation)
    return removers


def sources_removed_otherwise(table: Table, known: tuple[str, ...]) -> set[str]:
    """Sources from which a retained commit removed files, except commits of some operations, given by prefix."""
    return {
        str(data_file.partition[0])
        for data_file, operation in _removals(table, None)
        if not operation.startswith(known) and len(data_file.partition)
    }


def _removals(table: Table, snapshot_id: int | None) -> Iterator[tuple[DataFile, str]]:
    for snapshot in History(table.metadata).lineage.values():
        if snapshot.snapshot_id == snapshot_id:
            return
        # What was thinned out has removed nothing.
        for manifest in () if is_thinned(snapshot) else snapshot.manifests(table.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id or not manifest.deleted_files_count:
                continue
            for entry in entries_of(manifest, table.io, discard_deleted=False):
                if entry.status == ManifestEntryStatus.DELETED:
                    yield entry.data_file, operation_of(snapshot)
