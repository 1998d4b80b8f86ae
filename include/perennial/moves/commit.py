"""Steps 4 and 5: one commit adds the copies to the destination, one removes exactly the planned files from the origin.

Destination first (M4): between the two a row is in both tables, never in none.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from perennial.errors import TerminalCancelledError, TerminalDataError, TransientError
from perennial.moves.cancellation import find_cancellation
from perennial.moves.copy import read_copies, read_results
from perennial.moves.move_plan import CopyStep, MovePlan, file_name, operation_step, removed_by
from perennial.moves.verify import whole_sources
from perennial.operations import OperationStore, heartbeat
from perennial.storage import list_together, storage_for
from perennial.text import pluralize
from perennial.warehouse import FileChange, LiveFile, Warehouse
from perennial.warehouse.commits import commit_change, operations, removed_since
from perennial.warehouse.files import data_file_count
from perennial.warehouse.foreign import refuse_unwritable
from perennial.warehouse.lineage import History

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# The step of the commit that keeps a cancelled restore out of the hot table.
_CANCEL = "cancel"


def commit_destination(warehouse: Warehouse, plan: MovePlan) -> int:
    """Step 4: add the copies of all undamaged sources in one commit (M5), except those already listed (M2).

    Returns:
        Files added by this call.

    Raises:
        TerminalCancelledError: It is a restore that was cancelled before this commit (R23).
    """
    refuse_cancelled(warehouse, plan)
    heartbeat(warehouse, plan.record)
    chosen = set(whole_sources(plan))
    steps = {file_name(step.copy_uri): step for step in plan.steps if step.source_id in chosen}
    copies = read_copies(warehouse, plan, chosen)
    _refuse_missing(warehouse.table(plan.direction.destination), copies)

    def change(destination: Table) -> FileChange:
        if plan.operation(_CANCEL) in operations(destination):
            raise TerminalCancelledError("The restore was cancelled before its data was in the hot table.")
        listed = _listed(warehouse, destination, chosen)
        there = _still_there(warehouse, plan, chosen)
        # If an original is gone, another run has moved it, or its rows are in another file now.
        fresh = [
            copy
            for copy in copies
            if (name := file_name(copy.file_path)) not in listed and there.issuperset(steps[name].originals)
        ]
        if fresh and attempted:
            _refuse_unknown(plan, destination, chosen)
        return FileChange(add=fresh)

    attempted = storage_for(plan.uri).stat(_attempt_uri(plan)) is not None
    # A catalog that has forgotten the commit must not be taken for one that never had it.
    OperationStore.write(_attempt_uri(plan), [])
    committed = commit_change(warehouse, plan.direction.destination, change, plan.operation("add")) or FileChange()
    log.info("%s: %s added", plan.operation("add"), pluralize(len(committed.add), "file"))
    return len(committed.add)


def _still_there(warehouse: Warehouse, plan: MovePlan, source_ids: set[str]) -> set[str]:
    """Addresses of the originals that the origin lists; no manifest is read if the table has not changed."""
    origin = warehouse.table(plan.direction.origin)
    # Rows that can never leave it would stay in both tables.
    refuse_unwritable(origin)
    if (snapshot := origin.current_snapshot()) is not None and snapshot.snapshot_id == plan.origin_snapshot_id:
        return {uri for step in plan.steps for uri in step.originals}
    return {live.uri for live in warehouse.live_files(origin, source_ids)}


def _refuse_missing(destination: Table, copies: list[DataFile]) -> None:
    """Refuse copies that are gone: those of a move that continues days later may have been purged."""
    found = _sizes(destination, [copy.file_path for copy in copies])
    for copy in copies:
        if found.get(copy.file_path) != copy.file_size_in_bytes:
            raise TransientError(
                f"{copy.file_path} is not what was verified; nothing was committed. Run the copy tasks again."
            )


def _sizes(destination: Table, uris: list[str]) -> dict[str, int]:
    """Return the sizes of files: from listings if that takes fewer requests, otherwise with one request per file."""
    if not uris:
        return {}
    storage, found = storage_for(uris[0]), list_together(uris, data_file_count(destination))
    with ThreadPoolExecutor(storage.in_flight) as pool:
        looked_at = pool.map(storage.stat, [uri for uri in uris if uri not in found])
        return {stored.uri: stored.file_bytes for stored in (*found.values(), *looked_at) if stored is not None}


def forestall(warehouse: Warehouse, plan: MovePlan) -> bool:
    """Keep the copies of a move from ever entering the destination, unless they have.

    A check alone would leave a process that is about to commit the time to do so. This commits nothing to the same
    table, so that of the two commits one is the first, and the second process sees it.

    Returns:
        Whether they never enter it.
    """

    def change(destination: Table) -> FileChange:
        return FileChange(forced=not _has_entered(warehouse, plan, destination))

    commit_change(warehouse, plan.direction.destination, change, plan.operation(_CANCEL))
    return not is_in_destination(warehouse, plan)


def refuse_cancelled(warehouse: Warehouse, plan: MovePlan) -> None:
    """Refuse to go on with a move whose run was cancelled before its copies were in the destination.

    A move that continues an earlier one is never refused: half of what it brings back is in the destination.

    Raises:
        TerminalCancelledError: The run was cancelled or rejected.
    """
    if not plan.run_id or plan.earlier or (found := find_cancellation(warehouse, plan.run_id)) is None:
        return
    if not is_in_destination(warehouse, plan):
        raise TerminalCancelledError(str(found))


def is_in_destination(warehouse: Warehouse, plan: MovePlan) -> bool:
    """Whether the destination lists, or has listed, a copy of this move."""
    return _has_entered(warehouse, plan, warehouse.table(plan.direction.destination))


def _has_entered(warehouse: Warehouse, plan: MovePlan, destination: Table) -> bool:
    if plan.operation("add") in operations(destination):
        return True
    listed = _listed(warehouse, destination, set(plan.source_ids))
    if any(file_name(step.copy_uri) in listed for step in plan.steps):
        return True
    if storage_for(plan.uri).stat(_attempt_uri(plan)) is not None:
        _refuse_unknown(plan, destination, plan.source_ids)
    return False


def commit_origin(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> list[CopyStep]:
    """Step 5: remove exactly the planned files of some sources (M3) in one commit, if their copies have arrived.

    If another writer has replaced the originals of a step, its rows are still in the origin. Such a step is withdrawn:
    its copy is removed from the destination.

    Returns:
        The withdrawn steps: plan their sources again.

    Raises:
        TerminalDataError: Files are gone and no retained snapshot says who removed them.
    """
    chosen = set(source_ids)
    steps = [step for step in plan.steps if step.source_id in chosen]
    empty = {result.copy_uri for result in read_results(plan) if not result.damage and not result.copied_bytes}

    def change(origin: Table) -> FileChange:
        live = {file.uri: file for file in warehouse.live_files(origin, chosen)}
        destination = warehouse.table(plan.direction.destination)
        arrived = _arrived(warehouse, plan, destination, chosen)
        unchanged = [step for step in steps if _is_unchanged(step, live)]
        done = [step for step in unchanged if file_name(step.copy_uri) in arrived or step.copy_uri in empty]
        if len(done) < len(unchanged):
            _refuse_unknown(plan, destination, {step.source_id for step in unchanged if step not in done})
        return FileChange(remove=[live[uri].data_file for step in done for uri in step.originals])

    operation = plan.repeatable_operation("remove")
    committed = commit_change(warehouse, plan.direction.origin, change, operation) or FileChange()
    removed = {data_file.file_path for data_file in committed.remove}
    unremoved = [step for step in steps if not removed.issuperset(step.originals)]
    return _align_destination(warehouse, plan, steps, unremoved)


def withdraw_kept(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> None:
    """Remove the copies of sources that stay in the origin after all from the destination (R7)."""
    chosen = set(source_ids)
    steps = [step for step in plan.steps if step.source_id in chosen]
    _align_destination(warehouse, plan, steps, steps)


def _align_destination(
    warehouse: Warehouse, plan: MovePlan, steps: list[CopyStep], unremoved: list[CopyStep]
) -> list[CopyStep]:
    """Make the destination match what was removed from the origin; returns the steps whose rows are still there.

    No commit spans two tables, so everything is checked again after each commit. Runs that do this at the same time may
    undo each other's commits; the one that checks last corrects them.
    """
    left = _left_behind(warehouse, plan, unremoved)
    _withdraw(warehouse, plan, left)
    left = _left_behind(warehouse, plan, left)
    remaining = {step.copy_uri for step in left}
    _add_withdrawn(warehouse, plan, [step for step in steps if step.copy_uri not in remaining])
    return left


def _withdraw(warehouse: Warehouse, plan: MovePlan, steps: Collection[CopyStep]) -> None:
    """Remove copies from the destination if it lists them, because the origin still has their rows."""
    names = {file_name(step.copy_uri) for step in steps}
    sources = {step.source_id for step in steps}
    if not names:
        return

    def change(destination: Table) -> FileChange:
        listed = warehouse.live_files(destination, sources)
        return FileChange(remove=[live.data_file for live in listed if file_name(live.uri) in names])

    operation = plan.repeatable_operation("withdraw")
    if commit_change(warehouse, plan.direction.destination, change, operation):
        log.info("%s: %s at most", operation, pluralize(len(names), "file"))


def _add_withdrawn(warehouse: Warehouse, plan: MovePlan, done: list[CopyStep]) -> None:
    """Add copies again that one run withdrew while another one removed their originals."""
    sources = {step.source_id for step in done}
    names = {file_name(step.copy_uri) for step in done}
    if names <= _arrived(warehouse, plan, warehouse.table(plan.direction.destination), sources):
        return
    copies = [copy for copy in read_copies(warehouse, plan, sources) if file_name(copy.file_path) in names]

    def change(destination: Table) -> FileChange:
        _refuse_forgotten(plan, destination)
        arrived = _arrived(warehouse, plan, destination, sources)
        return FileChange(add=[copy for copy in copies if file_name(copy.file_path) not in arrived])

    operation = plan.repeatable_operation("add-withdrawn")
    commit_change(warehouse, plan.direction.destination, change, operation)


def _refuse_forgotten(plan: MovePlan, destination: Table) -> None:
    """Refuse to add a copy again whose removal the destination may have forgotten: an erasure expires snapshots early.

    A move that is under way keeps them, so this is one that is over.
    """
    if not _remembers(plan, destination):
        raise TerminalDataError(
            f"{plan.uri} is over: snapshots of {plan.direction.destination} since then have expired. Nothing was "
            "changed. Do not repeat this task; trigger a new run."
        )


def _refuse_unknown(plan: MovePlan, destination: Table, source_ids: Collection[str]) -> None:
    """Refuse to go on where another program has expired the snapshots that would show what became of copies.

    They may never have arrived, or their rows may be in files that another engine has made of them (M6): to move them
    again would double these rows, and to remove their originals could lose them.
    """
    if not _remembers(plan, destination):
        name = plan.direction.destination
        raise TerminalDataError(
            f"Another program has expired snapshots of {name} while {plan.uri} was under way, so it is unknown whether "
            f"the rows of {', '.join(sorted(source_ids))} have arrived there. Nothing was removed. See "
            "docs/runbooks/failed-expiry.md, section 6."
        )


def _remembers(plan: MovePlan, destination: Table) -> bool:
    """Whether the destination's retained snapshots show all that has happened to it since the plan was made."""
    history = History(destination.metadata)
    if plan.destination_snapshot_id is None:
        return history.oldest <= 1
    return plan.destination_snapshot_id in history.lineage


def _attempt_uri(plan: MovePlan) -> str:
    """What is written before the copies are added: without it, none has ever been in the destination."""
    return f"{plan.uri}/adding.json"


def _is_unchanged(step: CopyStep, live: dict[str, LiveFile]) -> bool:
    """Whether the origin still lists a step's originals with the same deletes as when the copy was planned."""
    if not all(uri in live for uri in step.originals):
        return False
    return set(step.deletes) == {deletes for uri in step.originals for deletes in live[uri].delete_uris}


def _listed(warehouse: Warehouse, destination: Table, source_ids: set[str]) -> set[str]:
    return {file_name(live.uri) for live in warehouse.live_files(destination, source_ids)}


def _arrived(warehouse: Warehouse, plan: MovePlan, destination: Table, source_ids: set[str]) -> set[str]:
    """Names of copies that the destination lists, or whose rows are there in a file that another writer has made."""
    replaced = {
        file_name(uri)
        for uri, operation in removed_since(destination, plan.destination_snapshot_id).items()
        if operation_step(operation) != "withdraw"
    }
    return replaced | _listed(warehouse, destination, source_ids)


def _left_behind(warehouse: Warehouse, plan: MovePlan, unremoved: list[CopyStep]) -> list[CopyStep]:
    """Return the steps that are not done yet: their rows are still in the origin."""
    if not unremoved:
        return []
    origin = warehouse.table(plan.direction.origin)
    live = {file.uri for file in warehouse.live_files(origin, {step.source_id for step in unremoved})}
    removers = removed_since(origin, plan.origin_snapshot_id)
    return [step for step in unremoved if not _is_done(plan, step, live, removers)]


def _is_done(plan: MovePlan, step: CopyStep, live: set[str], removers: dict[str, str]) -> bool:
    gone = [uri for uri in step.originals if uri not in live]
    if unknown := [uri for uri in gone if uri not in removers]:
        raise TerminalDataError(
            f"{', '.join(unknown)} left {plan.direction.origin} and the snapshot that removed it has expired, so it "
            f"is unknown whether its rows were moved. Nothing more was removed; the copy is {step.copy_uri}. "
            "See docs/runbooks/failed-expiry.md."
        )
    if len(gone) < len(step.originals):
        return False
    if step.rewritten:
        # No other move makes a file with this name (M1), so rows that another move has taken are in another file.
        return removed_by(plan, step, removers)
    # A plain copy has the same name, whichever move makes it.
    return all(
        removers[uri].startswith(f"{plan.direction.name}:") and operation_step(removers[uri]) == "remove"
        for uri in gone
    )
