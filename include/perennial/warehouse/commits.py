"""Commits as compare-and-swap: look at the table as it is now, decide, commit only if it still is like that.

pyiceberg's own retry repeats a commit without asking again whether it is still wanted, which would list a file twice
when two runs do the same thing. So its retry is switched off here and the whole question is asked again instead (M2).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import DataFile, ManifestEntry, ManifestEntryStatus
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from perennial.errors import TransientConflictError

log = logging.getLogger(__name__)


def _hash_by_address(entry: ManifestEntry) -> int:
    return hash(entry.data_file.file_path)


# pyiceberg 0.12 puts the entries of a manifest that it rewrites into sets, and hashes one by printing all of it.
ManifestEntry.__hash__ = _hash_by_address  # type: ignore[method-assign, assignment]

OPERATION_KEY = "perennial.operation-id"
ATTEMPTS = 20


@dataclass(frozen=True)
class FileChange:
    """Data files that enter and leave a table in one commit (M3: always named, never a predicate).

    A forced change makes a snapshot even where nothing enters or leaves: it shows when the table was last looked after.
    """

    add: list[DataFile] = field(default_factory=list)
    remove: list[DataFile] = field(default_factory=list)
    forced: bool = False

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.forced)


def commit_change(load: Callable[[], Table], change: Callable[[Table], FileChange], operation: str) -> bool:
    """Commit once what `change` says about the current table.

    Args:
        load: Loads the table's current metadata.
        change: Decides from the table; called again after each lost race. An empty change commits nothing.
        operation: Recorded in the snapshot's summary; a table that has it already is left alone.

    Returns:
        Whether this call made the commit.

    Raises:
        TransientConflictError: Other writers won every race.
    """
    for attempt in range(ATTEMPTS):
        table = load()
        if operation in operations(table):
            return False
        delta = change(table)
        if not delta:
            return False
        try:
            _commit(table, delta, operation)
        except (CommitFailedException, ValidationException) as error:
            log.info("%s: lost a race for %s (%s), looking again", operation, table.name()[-1], error)
            time.sleep(min(0.05 * 2**attempt, 2.0) * (0.5 + random.random()))
            continue
        return True
    raise TransientConflictError(
        f"{operation}: other writers changed {table.name()[-1]} during each of {ATTEMPTS} attempts; run it again."
    )


def _commit(table: Table, delta: FileChange, operation: str) -> None:
    # Only this copy of the metadata: the property is not among the updates that are sent.
    table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties={OPERATION_KEY: operation})
    producer = update.overwrite() if delta.remove else update.merge_append()
    for data_file in delta.remove:
        producer.delete_data_file(data_file)
    for data_file in delta.add:
        producer.append_data_file(data_file)
    producer.commit()
    transaction.commit_transaction()


def operations(table: Table) -> set[str]:
    """Return the operations that the current snapshot and its ancestors were committed by, as far as retained.

    What has been rolled back does not count: it has to be done again.
    """
    return {_operation(snapshot) for snapshot in ancestors_of(table.current_snapshot(), table.metadata)} - {""}


def removed_since(table: Table, snapshot_id: int | None) -> dict[str, str]:
    """Return the data files that left the table after a snapshot, each with the operation that removed it last.

    The operation is empty where another program made the commit.
    """
    removers: dict[str, str] = {}
    # The newest first: a file that was withdrawn, added again and then moved on has been moved.
    for uri, operation in _removals(table, snapshot_id):
        removers.setdefault(uri, operation)
    return removers


def _removals(table: Table, snapshot_id: int | None) -> Iterator[tuple[str, str]]:
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if snapshot.snapshot_id == snapshot_id:
            return
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id or not manifest.deleted_files_count:
                continue
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.status == ManifestEntryStatus.DELETED:
                    yield entry.data_file.file_path, _operation(snapshot)


def _operation(snapshot: Snapshot) -> str:
    summary = snapshot.summary
    return summary.additional_properties.get(OPERATION_KEY, "") if summary is not None else ""
