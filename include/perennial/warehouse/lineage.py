"""The history of a table's main branch, and the mark of the newest state known to have been in it.

Whoever may write a table may also set it back to an earlier snapshot, and a catalog may be restored from a backup. That
undoes commits that other tables rely on. Two things reveal it. Our tag, set by each commit of ours, names the newest
known state: setting `main` back does not move it, and no expiry of snapshots, whoever runs it, drops a tagged snapshot.
A record in storage (`heads`) says the same for a catalog that has forgotten it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

from pyiceberg.serializers import FromInputFile
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import SetSnapshotRefUpdate

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata

OPERATION_KEY = "perennial.operation-id"
# Operations that an operator has given up with `perennial repair --accept`, one per line.
GIVEN_UP_KEY = "perennial.given-up-operations"
# Property of a table: its snapshots that were thinned out, one per line, and which ones they were the parents of.
THINNED_KEY = "perennial.thinned-snapshots"
TAG = "perennial"
# These put the same rows into other files, or the same files into other manifests: undoing them loses no row.
_NEUTRAL = ("compact", "divide", "order-manifests")


@dataclass(frozen=True)
class Mark:
    """A snapshot that was once known to be in a table's history.

    Attributes:
        snapshot_id: The snapshot.
        sequence_number: Its sequence number.
        operation: Our operation that made it; empty if another program did.
    """

    snapshot_id: int
    sequence_number: int
    operation: str


@dataclass(frozen=True)
class Head(Mark):
    """The newest state of a table that is recorded in storage.

    Attributes:
        table_uuid: The table as Iceberg numbers it.
        metadata_location: Its metadata file at that time.
    """

    table_uuid: str
    metadata_location: str


@dataclass(frozen=True)
class History:
    """The retained snapshots of a loaded table.

    Attributes:
        metadata: The table's.
    """

    metadata: TableMetadata

    @cached_property
    def snapshots(self) -> dict[int, Snapshot]:
        """All snapshots by id, also those that were thinned out: these have no manifest list."""
        thinned, parents = _read_thinned(self.metadata.properties.get(THINNED_KEY, ""))
        found = {**thinned, **{snapshot.snapshot_id: snapshot for snapshot in self.metadata.snapshots}}
        for snapshot_id in parents.keys() & found.keys():
            # Who removes a snapshot may also remove what says that it was a parent.
            if found[snapshot_id].parent_snapshot_id is None:
                known = {"parent_snapshot_id": parents[snapshot_id]}
                found[snapshot_id] = found[snapshot_id].model_copy(update=known)
        return found

    @cached_property
    def lineage(self) -> dict[int, Snapshot]:
        """The current snapshot and its ancestors, the newest first, as far as they are known without a gap."""
        found: dict[int, Snapshot] = {}
        snapshot = self.snapshots.get(self.metadata.current_snapshot_id or -1)
        while snapshot is not None:
            found[snapshot.snapshot_id] = snapshot
            snapshot = self.snapshots.get(snapshot.parent_snapshot_id or -1)
        return found

    @cached_property
    def oldest(self) -> int:
        """The sequence number from which on the lineage is complete."""
        return min((number_of(snapshot) for snapshot in self.lineage.values()), default=0)

    @cached_property
    def tag(self) -> Mark | None:
        """The snapshot of our tag; None if the table has no tag yet, or somebody has dropped it."""
        ref = self.metadata.refs.get(TAG)
        snapshot = self.snapshots.get(ref.snapshot_id) if ref is not None else None
        return _mark_of(snapshot) if snapshot is not None else None

    @cached_property
    def _given_up(self) -> set[str]:
        given_up = (_noted(snapshot).get(GIVEN_UP_KEY, "") for snapshot in self.lineage.values())
        return {operation for operations in given_up for operation in operations.split("\n")}

    @cached_property
    def missing(self) -> list[Snapshot]:
        """Our retained snapshots that were undone, the oldest first, except those that were repeated."""
        # Commits of other programs have no operation, and do not count as missing.
        done = {operation_of(snapshot) for snapshot in self.lineage.values()} | self._given_up | {""}
        undone = [
            snapshot
            for snapshot in self.snapshots.values()
            if snapshot.snapshot_id not in self.lineage and number_of(snapshot) >= self.oldest
        ]
        lost = [one for one in undone if operation_of(one) not in done and not is_neutral(operation_of(one))]
        return sorted(lost, key=number_of)

    def knows(self, mark: Mark) -> bool | None:
        """Whether a mark is in the history, or nothing is missing without it; None if the past is unknown."""
        if mark.snapshot_id in self.lineage:
            return True
        if mark.sequence_number < self.oldest:
            return None
        return self._leads_back(mark.snapshot_id)

    def _leads_back(self, snapshot_id: int) -> bool:
        """Whether every snapshot between one and the lineage is retained, so that `missing` is complete."""
        snapshot = self.snapshots.get(snapshot_id)
        while snapshot is not None and snapshot.snapshot_id not in self.lineage:
            if snapshot.parent_snapshot_id is None:
                return not self.lineage
            snapshot = self.snapshots.get(snapshot.parent_snapshot_id)
        return snapshot is not None


def is_thinned(snapshot: Snapshot) -> bool:
    """Whether a snapshot was thinned out, so that only its place in the history is known."""
    return not snapshot.manifest_list


def thinned_property(history: History, removed: Collection[int], thinned: Collection[int]) -> str:
    """Write what has to stay known of the snapshots that are thinned out, and of those that were before.

    Args:
        history: Before they are removed.
        removed: All snapshots that are removed. What came before one that is not thinned out is no longer known.
        thinned: Those of them that are thinned out.
    """

    def is_known(one: Snapshot) -> bool:
        return one.snapshot_id in thinned or one.snapshot_id not in removed

    known = list(takewhile(is_known, history.lineage.values()))
    kept = [one for one in known if not is_thinned(one) and one.snapshot_id not in thinned]
    oldest = min(map(number_of, kept), default=0)
    gone = {
        one.snapshot_id: one
        for one in known
        if number_of(one) > oldest and (is_thinned(one) or one.snapshot_id in thinned)
    }
    lines = [
        f"{one.snapshot_id} {one.parent_snapshot_id} {number_of(one)} {one.timestamp_ms} {operation_of(one)}"
        for one in gone.values()
    ]
    lines += [f"{one.snapshot_id} {one.parent_snapshot_id}" for one in kept if one.parent_snapshot_id in gone]
    return "\n".join(lines)


@lru_cache(32)
def _read_thinned(text: str) -> tuple[dict[int, Snapshot], dict[int, int]]:
    """Read the property: the snapshots by id, and the parents of others that may no longer name them."""
    snapshots: dict[int, Snapshot] = {}
    parents: dict[int, int] = {}
    for line in text.splitlines():
        snapshot_id, parent_id, *rest = line.split(" ", 4)
        if not rest:
            parents[int(snapshot_id)] = int(parent_id)
            continue
        number, timestamp, operation = rest
        snapshots[int(snapshot_id)] = Snapshot.model_construct(
            snapshot_id=int(snapshot_id),
            parent_snapshot_id=int(parent_id),
            sequence_number=int(number),
            timestamp_ms=int(timestamp),
            manifest_list="",
            summary=Summary(Operation.APPEND, **{OPERATION_KEY: operation}),
        )
    return snapshots, parents


def operation_of(snapshot: Snapshot) -> str:
    """Our operation that made a snapshot; empty if another program did."""
    return _noted(snapshot).get(OPERATION_KEY, "")


def _noted(snapshot: Snapshot) -> dict[str, str]:
    """The summary of a snapshot; not through its property, which takes pydantic 5 µs, a third of a whole commit."""
    private = snapshot.summary.__pydantic_private__ if snapshot.summary is not None else None
    return private["_additional_properties"] if private is not None else {}


def is_neutral(operation: str) -> bool:
    """Whether an operation of ours leaves the table's rows as they are."""
    return operation.partition(":")[0] in _NEUTRAL


def number_of(snapshot: Snapshot) -> int:
    """The sequence number of a snapshot."""
    return snapshot.sequence_number or 0


def _mark_of(snapshot: Snapshot) -> Mark:
    """Describe a snapshot."""
    return Mark(snapshot.snapshot_id, number_of(snapshot), operation_of(snapshot))


def known_since(table: Table) -> datetime:
    """The time since which the retained snapshots show everything that happened to a table."""
    lineage = History(table.metadata).lineage.values()
    oldest = min(lineage, key=number_of, default=None)
    if oldest is None or number_of(oldest) <= 1:
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromtimestamp(oldest.timestamp_ms / 1000, UTC)


def was_undone(table: Table, snapshot_id: int | None) -> bool:
    """Whether a snapshot was once current but is not in the history: the table was set back, and repaired since."""
    history = History(table.metadata)
    snapshot = history.snapshots.get(snapshot_id or -1)
    return snapshot is not None and snapshot_id not in history.lineage and number_of(snapshot) >= history.oldest


def tagged(snapshot_id: int) -> SetSnapshotRefUpdate:
    """The update that sets our tag to a snapshot."""
    return SetSnapshotRefUpdate(ref_name=TAG, type=SnapshotRefType.TAG, snapshot_id=snapshot_id)  # type: ignore[call-arg]  # pyiceberg's own alias


def earlier_metadata(table: Table) -> Iterator[TableMetadata]:
    """Read the earlier metadata files of a table, the newest first, as far as they exist."""
    for entry in reversed(table.metadata.metadata_log):
        try:
            yield FromInputFile.table_metadata(table.io.new_input(entry.metadata_file))
        except (OSError, ValueError):
            return
