"""Finds commits that are missing in a table's history, and refuses to continue while there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.errors import TerminalDataError
from perennial.text import pluralize
from perennial.warehouse.lineage import Head, History, Mark, earlier_metadata, number_of, operation_of

if TYPE_CHECKING:
    from pyiceberg.table import Table


@dataclass(frozen=True)
class Loss:
    """What is missing in a table's history.

    Attributes:
        table: The table.
        found: What was found, as a sentence.
        operations: Operations that were committed to the table and are not in its history, as far as known.
    """

    table: str
    found: str
    operations: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.operations[:5]) + (", ..." if len(self.operations) > 5 else "")
        missing = pluralize(len(self.operations), "operation")
        return f"{self.found} Missing: {missing}" + (f" ({shown})." if self.operations else ".")


def refuse_loss(table: Table, head: Head | None) -> None:
    """Refuse to build on a loaded table that was set back.

    Raises:
        TerminalDataError: Operations are missing in its history.
    """
    if (loss := find_loss(table, head)) is not None:
        raise TerminalDataError(refusal([loss]))


def refusal(losses: list[Loss]) -> str:
    """The error text of a run that refuses to continue."""
    return (
        f"{' '.join(map(str, losses))} Nothing is moved, loaded or deleted until this is repaired. `perennial repair` "
        "reports what can be repaired, and `perennial repair --yes` repairs it; see docs/runbooks/table-set-back.md."
    )


def find_loss(table: Table, head: Head | None) -> Loss | None:
    """Check whether operations of ours are missing in a loaded table's history; None if none is missing.

    It reads only the loaded metadata, unless its history does not reach back to the tagged snapshot.

    Args:
        table: As loaded.
        head: Its newest state as recorded in storage.
    """
    name, metadata = table.name()[-1], table.metadata
    if head is not None and head.table_uuid != str(metadata.table_uuid):
        return Loss(
            name,
            f"The catalog was set up anew: {head.metadata_location} belongs to another table than the {name} that it "
            f"has ({head.table_uuid}, not {metadata.table_uuid}).",
            (head.operation,) if head.operation else (),
        )
    history, number = History(metadata), getattr(metadata, "last_sequence_number", 0)
    missing = tuple(operation_of(snapshot) for snapshot in history.missing)
    if head is not None and head.sequence_number > number:
        found = (
            f"The catalog was restored from an older backup: {head.metadata_location} of {name} is newer (sequence "
            f"number {head.sequence_number}) than what it has ({number})."
        )
        return Loss(name, found, (*missing, *([head.operation] if head.operation else [])))
    if missing or not _is_whole(table, history, head):
        lost = [mark.operation for mark in (history.tag, head) if mark and mark.snapshot_id not in history.lineage]
        shown = missing or tuple(dict.fromkeys(operation for operation in lost if operation))
        return Loss(name, f"Table {name} was set back to an earlier state.", shown)
    return None


def _is_whole(table: Table, history: History, head: Head | None) -> bool:
    """Whether the tagged snapshot is in the history, or without a tag, the one recorded in storage."""
    tag = history.tag
    in_history = _knows(table, history, head) if head is not None else None
    if head is not None and head.operation and in_history is False:
        return False
    if tag is None:
        return head is None or in_history is True or (in_history is None and _is_listed(table, head))
    known = _knows(table, history, tag)
    if known is not None:
        return known
    # The record in storage was compared with the tag when it was written.
    later = head is not None and head.sequence_number > tag.sequence_number and in_history is True
    return later or _is_listed(table, tag)


def _knows(table: Table, history: History, mark: Mark) -> bool | None:
    known = history.knows(mark)
    return _is_linked(table, history, mark) if known is None else known


def _is_linked(table: Table, history: History, mark: Mark) -> bool | None:
    """Look for a mark before the retained history, in earlier metadata files as far as they exist."""
    links = {one.snapshot_id: (one.parent_snapshot_id, number_of(one)) for one in history.lineage.values()}
    for earlier in earlier_metadata(table):
        for snapshot in earlier.snapshots:
            if links.get(snapshot.snapshot_id, (None, 0))[0] is None:
                links[snapshot.snapshot_id] = snapshot.parent_snapshot_id, number_of(snapshot)
    parent = history.metadata.current_snapshot_id
    while parent is not None and parent in links:
        if parent == mark.snapshot_id:
            return True
        if links[parent][1] < mark.sequence_number:
            return False
        parent = links[parent][0]
    return True if parent == mark.snapshot_id else None


def _is_listed(table: Table, mark: Mark) -> bool:
    """Whether the table still lists a file that a snapshot added, so that the snapshot is in its history."""
    snapshot = table.current_snapshot()
    return snapshot is not None and any(
        entry.snapshot_id == mark.snapshot_id
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
    )
