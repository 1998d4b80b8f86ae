"""The snapshots that were undone when a table was set back, in order, wherever they can still be found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyiceberg.serializers import FromInputFile

from perennial.storage import storage_for
from perennial.warehouse.lineage import Head, History, earlier_metadata, number_of, operation_of

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

_METADATA_FILE = re.compile(r".*(?:\.metadata\.json(?:\.gz)?|\.gz\.metadata\.json)")


class UnrepairableError(Exception):
    """Only a person can recover what is missing; the text says why."""


@dataclass(frozen=True)
class Undone:
    """What a table has lost.

    Attributes:
        chain: The snapshots, the oldest first.
        base: The snapshot in the table's history that they were built on; None if they were its first.
        forgotten: Whether some of them are known from metadata files only, because the catalog came from a backup.
    """

    chain: tuple[Snapshot, ...]
    base: Snapshot | None
    forgotten: bool

    @property
    def target(self) -> Snapshot:
        """The newest state that the table is known to have had."""
        return self.chain[-1]


def find_undone(table: Table, head: Head | None) -> Undone:
    """Find the snapshots that led from a table's history to the newest state that it is known to have had.

    Raises:
        UnrepairableError: Some or all of them are no longer there.
    """
    history = History(table.metadata)
    beyond = _forgotten_metadata(table, head) if head is not None and _is_forgotten(history, head) else None
    known = _known_snapshots(table, beyond)
    # With its original parent, which it loses when that one expires.
    target = known[_target(history, beyond).snapshot_id]
    lineage = _ancestors(table.metadata.current_snapshot_id, known)
    chain = [target]
    while (parent := chain[-1].parent_snapshot_id) is not None and parent not in lineage:
        if parent not in known:
            raise UnrepairableError(f"The snapshots before {chain[-1].snapshot_id} have been expired.")
        chain.append(known[parent])
    if parent is None and (lineage or number_of(chain[-1]) > 1):
        raise UnrepairableError(f"The parent of snapshot {chain[-1].snapshot_id} is no longer known.")
    forgotten = any(snapshot.snapshot_id not in history.snapshots for snapshot in chain)
    return Undone(tuple(reversed(chain)), known[parent] if parent is not None else None, forgotten)


def _is_forgotten(history: History, head: Head) -> bool:
    return head.snapshot_id not in history.snapshots and head.sequence_number >= history.oldest


def _target(history: History, beyond: TableMetadata | None) -> Snapshot:
    newest = beyond.current_snapshot() if beyond is not None else None
    tag = history.snapshots.get(history.tag.snapshot_id) if history.tag is not None else None
    found = [one for one in (newest, tag, *history.missing) if one and one.snapshot_id not in history.lineage]
    if not found:
        raise UnrepairableError("The snapshots of these operations are no longer there.")
    return max(found, key=number_of)


def _ancestors(snapshot_id: int | None, known: Mapping[int, Snapshot]) -> set[int]:
    found: set[int] = set()
    while snapshot_id is not None and snapshot_id in known:
        found.add(snapshot_id)
        snapshot_id = known[snapshot_id].parent_snapshot_id
    return found


def _known_snapshots(table: Table, beyond: TableMetadata | None) -> dict[int, Snapshot]:
    """Every snapshot that can be found, by id, with the parent that it had before that was expired."""
    known: dict[int, Snapshot] = {}
    for metadata in (table.metadata, *([beyond] if beyond is not None else []), *earlier_metadata(table)):
        for snapshot in History(metadata).snapshots.values():
            if snapshot.snapshot_id not in known or known[snapshot.snapshot_id].parent_snapshot_id is None:
                known[snapshot.snapshot_id] = snapshot
    return known


def _forgotten_metadata(table: Table, head: Head) -> TableMetadata | None:
    """Read the newest metadata file of a table that its catalog has forgotten; None if it is no longer there.

    Writers that lost a race or were killed have left metadata files too. Among equally new ones, the one recorded in
    storage comes first, then one that no operation of ours has made, because that would be recorded.
    """
    directory = table.location_provider().metadata_path
    found: list[tuple[tuple[int, bool, bool], TableMetadata]] = []
    for stored in storage_for(directory).list_files(directory):
        if not _METADATA_FILE.fullmatch(stored.uri):
            continue
        try:
            metadata = FromInputFile.table_metadata(table.io.new_input(stored.uri))
        except (OSError, ValueError):
            continue
        number, current = getattr(metadata, "last_sequence_number", 0), metadata.current_snapshot()
        if metadata.table_uuid == table.metadata.table_uuid and current and number >= head.sequence_number:
            found.append(((number, stored.uri == head.metadata_location, not operation_of(current)), metadata))
    return max(found, key=lambda one: one[0])[1] if found else None
