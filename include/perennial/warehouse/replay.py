"""Repeats our operations on a table that others have changed since: the same files, the same operation ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestContent, ManifestEntryStatus

from perennial.storage import storage_for
from perennial.text import pluralize
from perennial.warehouse.commits import set_tag
from perennial.warehouse.entries import entries_of
from perennial.warehouse.files import LiveFile, files_of
from perennial.warehouse.lineage import OPERATION_KEY, History, is_neutral, is_thinned, operation_of
from perennial.warehouse.manifests import SnapshotProducer
from perennial.warehouse.undone import Undone, UnrepairableError

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


@dataclass(frozen=True)
class Step:
    """One operation that is repeated.

    Attributes:
        operation: Its id; empty for another writer's compaction, which later operations may build on.
        add: Files that enter the table.
        remove: Files that leave it.
    """

    operation: str
    add: list[DataFile]
    remove: list[DataFile]


def is_rewrite(snapshot: Snapshot) -> bool:
    """Whether a commit of another writer put the same rows into other files, as a compaction does."""
    return snapshot.summary is not None and snapshot.summary.operation.value == "replace"


def plan_replay(table: Table, undone: Undone) -> list[Step]:
    """Determine what each undone operation of ours adds to and removes from the table as it is now.

    Commits of other writers stay undone, except for compactions.

    Raises:
        UnrepairableError: Other writers have changed the same files since, or files are missing in storage.
    """
    try:
        replaying = _Replaying(_listed(table, undone.base), _listed(table, table.current_snapshot()))
        done = {operation_of(snapshot) for snapshot in History(table.metadata).lineage.values()}
        for number, snapshot in enumerate(undone.chain):
            added, removed = _changes(table, snapshot, undone.chain[number:])
            operation = operation_of(snapshot)
            if operation not in done if operation else is_rewrite(snapshot):
                replaying.repeat(operation, added, removed)
            else:
                replaying.leave_out(added, removed)
    except FileNotFoundError as error:
        raise UnrepairableError(f"Metadata of the snapshots is no longer there ({error}).") from error
    _refuse_missing_files(replaying.steps)
    return replaying.steps


def replay(table: Table, steps: Iterable[Step]) -> None:
    """Repeat operations, each in its own snapshot, all in one commit."""
    transaction = table.transaction()
    for step in steps:
        named = {OPERATION_KEY: step.operation} if step.operation else {}
        SnapshotProducer(transaction, table.io, step.add, step.remove, properties=named).commit()
    set_tag(transaction)
    transaction.commit_transaction()


@dataclass
class _Replaying:
    """What the table lists after the steps so far.

    Attributes:
        base: What it listed before the undone commits.
        live: What it lists now.
        steps: The steps so far.
        made: Files that the steps have added.
        rewritten: Files that hold rows of other files and do not come back; removing one would leave those rows.
    """

    base: dict[str, LiveFile]
    live: dict[str, LiveFile]
    steps: list[Step] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    rewritten: set[str] = field(default_factory=set)

    def repeat(self, operation: str, added: list[DataFile], removed: list[DataFile]) -> None:
        """Repeat an operation; one that only rewrites files is left out if these have changed since."""
        changed = [file.file_path for file in removed if self._has_changed(file.file_path)]
        if not operation or is_neutral(operation):
            if changed or not all(file.file_path in self.live for file in removed):
                self.leave_out(added, removed)
                return
        elif changed:
            raise UnrepairableError(
                f"Another writer has since removed or changed {changed[0]}, which {operation} removes."
            )
        add = [file for file in added if file.file_path not in self.live]
        remove = [self.live.pop(file.file_path).data_file for file in removed if file.file_path in self.live]
        self.live |= {file.file_path: LiveFile(file) for file in add}
        self.made |= {file.file_path for file in add}
        self.steps.append(Step(operation, add, remove))

    def leave_out(self, added: list[DataFile], removed: list[DataFile]) -> None:
        """Leave a commit undone."""
        if removed:
            self.rewritten |= {file.file_path for file in added}

    def _has_changed(self, uri: str) -> bool:
        """Whether a file differs from what the undone operation removed: gone, with other deletes, or not back."""
        if uri in self.rewritten:
            return True
        if uri in self.live:
            return uri in self.base and self.live[uri].delete_uris != self.base[uri].delete_uris
        return uri in self.base or uri in self.made


def _listed(table: Table, snapshot: Snapshot | None) -> dict[str, LiveFile]:
    return {live.uri: live for live in files_of(table, snapshot, None)} if snapshot is not None else {}


def _changes(table: Table, snapshot: Snapshot, later: Sequence[Snapshot]) -> tuple[list[DataFile], list[DataFile]]:
    """The data files that a commit added and removed.

    What a thinned one added is still listed by the next one that is not, as added by it.
    """
    source = next((one for one in later if not is_thinned(one)), None)
    if source is None:
        raise UnrepairableError(f"Snapshot {snapshot.snapshot_id} was thinned out, and those after it have expired.")
    entries = [
        entry
        for manifest in source.manifests(table.io)
        if manifest.content == ManifestContent.DATA
        and (source is not snapshot or manifest.added_snapshot_id == snapshot.snapshot_id)
        for entry in entries_of(manifest, table.io, discard_deleted=False)
        if source is snapshot or entry.snapshot_id == snapshot.snapshot_id
    ]
    added = ManifestEntryStatus.ADDED if source is snapshot else ManifestEntryStatus.EXISTING
    return (
        [entry.data_file for entry in entries if entry.status in (ManifestEntryStatus.ADDED, added)],
        [entry.data_file for entry in entries if entry.status == ManifestEntryStatus.DELETED],
    )


def _refuse_missing_files(steps: list[Step]) -> None:
    """Refuse to list files that do not exist."""
    uris = {file.file_path for step in steps for file in step.add}
    uris -= {file.file_path for step in steps for file in step.remove}
    if not uris:
        return
    storage = storage_for(min(uris))
    with ThreadPoolExecutor(storage.in_flight) as pool:
        missing = [uri for uri, found in zip(uris, pool.map(storage.stat, uris), strict=True) if found is None]
    if missing:
        raise UnrepairableError(
            f"{pluralize(len(missing), 'data file')} of these operations "
            f"{'is' if len(missing) == 1 else 'are'} missing in storage, {min(missing)} among them: bring "
            f"{'it' if len(missing) == 1 else 'them'} back from a version of the bucket or a backup first."
        )
