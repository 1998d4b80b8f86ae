"""Step 1: list the files of the chosen sources from one pinned snapshot of the origin."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perennial.engines.duckdb import open_session
from perennial.engines.write_files import written_name
from perennial.errors import TransientConflictError
from perennial.moves.divide import divide_mixed_files
from perennial.moves.move_plan import (
    EXPIRE,
    RESTORE,
    WRITTEN_TABLES,
    CopyStep,
    Direction,
    MovePlan,
    copy_name,
    file_name,
    find_plan,
    removed_by,
    rewritten_stem,
    write_plan,
)
from perennial.operations import OperationRecord, new_record, pending_records, remove_pending, write_pending
from perennial.statements import statement
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.commits import order_manifests, removed_since
from perennial.warehouse.files import data_file_count
from perennial.warehouse.foreign import refuse_unreadable
from perennial.warehouse.schemas import refuse_unlike

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# How much one copy task copies, and the maximum number of copy tasks of a move of any size.
CHUNK_BYTES = 1 << 30
MAX_CHUNKS = 64
# Airflow maps a task over 1,024 items at most. This is how many copy tasks a run has for one direction; the daily run
# has both.
RUN_CHUNKS = 500
# How many files one move lists, plans and commits at once; memory grows with it, to about half a gigabyte.
MOVE_FILES = 25_000
# M7: if a source has this many files below this size, they leave as one: cold classes charge per object.
MERGE_FROM_FILES = 8
MERGE_BELOW_BYTES = 1 << 20


def plan_sources(
    warehouse: Warehouse, direction: Direction, source_ids: Collection[str], run_id: str = ""
) -> dict[str, tuple[str, ...]]:
    """Plan the move of some sources, divided into moves of limited size.

    Args:
        warehouse: Where.
        direction: Which way.
        source_ids: The sources.
        run_id: As `MovePlan.run_id`.

    Returns:
        The sources of each plan by its address; empty if there is nothing to move.
    """
    batches = batched_sources(warehouse, direction, source_ids)
    plans = (
        plan_move(warehouse, direction, batch, max_chunks=RUN_CHUNKS // len(batches), run_id=run_id)
        for batch in batches
    )
    return {plan.uri: plan.source_ids for plan in plans if plan}


def batched_sources(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> list[list[str]]:
    """Divide sources among moves with a maximum number of files; a source is never divided (M5).

    Sources and the origin's manifests are in the same order, so each move reads and writes its own part of them.
    """
    if not source_ids:
        return []
    listed = data_file_count(warehouse.table(direction.origin))
    if listed is not None and listed <= MOVE_FILES:
        return [list(source_ids)]
    batches: list[list[str]] = []
    room = 0
    order_manifests(warehouse, direction.origin)
    totals = warehouse.source_totals(direction.origin, source_ids)
    for total in (totals[source_id] for source_id in sorted(totals)):
        if total.file_count > room:
            batches.append([])
            room = MOVE_FILES
        batches[-1].append(total.source_id)
        room -= total.file_count
    return batches


def plan_move(
    warehouse: Warehouse,
    direction: Direction,
    source_ids: Collection[str],
    move_id: str = "",
    max_chunks: int = MAX_CHUNKS,
    earlier: tuple[str, ...] = (),
    run_id: str = "",
) -> MovePlan | None:
    """List the files of some sources and record how each will be moved.

    A file that is a copy of one still listed in the destination is left out, because another move is under way.

    Args:
        warehouse: Where.
        direction: Which way.
        source_ids: The sources.
        move_id: Id of the move; None for a new one.
        max_chunks: The maximum number of copy tasks.
        earlier: The moves that this one continues, as `MovePlan.earlier`.
        run_id: As `MovePlan.run_id`.

    Returns:
        The plan as written to storage; None if there is nothing to move.

    Raises:
        TerminalDataError: A file is of a kind that cannot be moved.
        TerminalSettingError: The two tables have columns that contradict each other, or one cannot be written.
        TransientConflictError: Somebody changed columns meanwhile, or added files that cannot be moved.
    """
    warehouse.refuse_unwritable(WRITTEN_TABLES)
    warehouse.align_facts()
    _refuse_unusable_storage(warehouse, direction)
    divide_mixed_files(warehouse, direction.origin)
    move_id = move_id or uuid.uuid4().hex
    uri = f"{warehouse.operations_uri()}/moves/{direction.name}-{move_id}"
    record = new_record(direction.name, move_id, sorted(source_ids), uri, run_id=run_id)
    # Before the snapshot is pinned: an expiry that does not see this record has made its last check before.
    write_pending(warehouse, record)
    try:
        plan = _planned(warehouse, direction, source_ids, record, min(max_chunks, MAX_CHUNKS), earlier)
    except Exception:
        remove_pending(warehouse, direction.name, move_id)
        raise
    if plan is None:
        remove_pending(warehouse, direction.name, move_id)
    return plan


def _refuse_unusable_storage(warehouse: Warehouse, direction: Direction) -> None:
    """Check what a move needs: the destination, and the rights that it uses only at its end."""
    place = warehouse.table(direction.destination).location_provider().new_data_location
    any(storage_for(place("rights")).list_files(place("rights")))
    uri = f"{warehouse.operations_uri()}/rights/{uuid.uuid4().hex}"
    storage_for(uri).write(uri, b"")
    storage_for(uri).delete(uri)


def _planned(
    warehouse: Warehouse,
    direction: Direction,
    source_ids: Collection[str],
    record: OperationRecord,
    max_chunks: int,
    earlier: tuple[str, ...],
) -> MovePlan | None:
    destination, origin = warehouse.table(direction.destination), warehouse.table(direction.origin)
    refuse_unlike(origin, destination)
    files = _files_to_move(warehouse, origin, direction, source_ids)
    if not files:
        return None
    steps = _with_checksums(warehouse, direction, _steps(files, direction, destination, record.id, max_chunks))
    plan = MovePlan(
        move_id=record.id,
        direction=direction,
        origin_snapshot_id=_snapshot_id(origin),
        destination_snapshot_id=_snapshot_id(destination),
        planned_at=record.created_at,
        uri=record.plan_uri,
        chunk_count=steps[-1].chunk + 1,
        steps=steps,
        earlier=earlier,
        run_id=record.run_id,
    )
    write_plan(plan)
    planned = pluralize(len(files), "file"), pluralize(len(plan.source_ids), "source")
    log.info("%s: planned %s of %s", plan.operation("plan"), *planned)
    return plan


def sources_left(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> list[str]:
    """Return the sources of a plan whose origin has rows now that a new plan would move."""
    files = list(warehouse.live_files(warehouse.table(plan.direction.origin), source_ids))
    if not files:
        return []
    if any(live.is_mixed for live in files):
        # The sources of such a file are known only after it has been divided, which a new plan does first.
        return list(source_ids)
    in_transit = names_in_transit(warehouse, plan.direction, source_ids)
    left = {live.source_id for live in files if file_name(live.uri) not in in_transit}
    return [source_id for source_id in source_ids if source_id in left]


def _files_to_move(
    warehouse: Warehouse, origin: Table, direction: Direction, source_ids: Collection[str]
) -> list[LiveFile]:
    files = list(warehouse.live_files(origin, source_ids))
    refuse_unreadable(origin, files)
    if any(live.is_mixed for live in files):
        raise TransientConflictError(
            f"Another writer has added files to {direction.origin} that are not partitioned by source_id, while a move "
            "was planned; nothing was moved. Run it again, so that they are divided by source first."
        )
    in_transit = names_in_transit(warehouse, direction, source_ids)
    return [live for live in files if file_name(live.uri) not in in_transit]


def names_in_transit(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> set[str]:
    """Names of origin files that a move the other way has added and that are not its last word.

    Those whose rows the destination still lists; and rewritten ones whose originals another move has taken away, so
    that theirs are in its copies, and these will be withdrawn. Called after the origin was pinned, so that a file whose
    original has left meanwhile is moved, not passed over.
    """
    destination = warehouse.table(direction.destination)
    there = {live.uri for live in warehouse.live_files(destination, source_ids)}
    names = {copy_name(uri) for uri in there}
    opposite = RESTORE if direction is EXPIRE else EXPIRE
    for record in pending_records(warehouse, opposite.name):
        if not set(record.source_ids).isdisjoint(source_ids) and (plan := find_plan(record.plan_uri)) is not None:
            removers = removed_since(destination, plan.origin_snapshot_id)
            names |= {
                file_name(step.copy_uri)
                for step in plan.steps
                if not there.isdisjoint(step.originals) or (step.rewritten and not removed_by(plan, step, removers))
            }
    return names


def _steps(
    files: Sequence[LiveFile], direction: Direction, destination: Table, move_id: str, max_chunks: int
) -> list[CopyStep]:
    by_source: dict[str, list[LiveFile]] = {}
    for live in files:
        by_source.setdefault(live.source_id, []).append(live)
    place = destination.location_provider().new_data_location
    total_bytes = sum(live.file_bytes for live in files)
    chunk_bytes = max(CHUNK_BYTES, math.ceil(total_bytes / max(max_chunks, 1)))
    steps: list[CopyStep] = []
    planned = 0
    # In the order of the manifests, so that each copy task reads only its own part of them.
    for source_id, group in sorted(by_source.items()):
        for members in _grouped(group, merge=direction is EXPIRE):
            uris = tuple(sorted(live.uri for live in members))
            deletes = tuple(sorted({uri for live in members for uri in live.delete_uris}))
            rewritten = len(members) > 1 or bool(deletes)
            name = written_name(rewritten_stem(move_id, uris, deletes), 0) if rewritten else copy_name(uris[0])
            steps.append(
                CopyStep(
                    source_id=source_id,
                    copy_uri=place(name),
                    originals=uris,
                    deletes=deletes,
                    rewritten=rewritten,
                    chunk=planned // chunk_bytes,
                    row_count=sum(live.row_count for live in members),
                    file_bytes=sum(live.file_bytes for live in members),
                )
            )
            planned += steps[-1].file_bytes
    return steps


def _grouped(files: list[LiveFile], merge: bool) -> Iterable[list[LiveFile]]:
    """Decide which files are copied as they are, and which are rewritten: tiny files together, those with deletes (M7).

    Only an expiry merges tiny files: two restores that merge different sets would both show their rows for a while.
    """
    tiny = [live for live in files if merge and not live.deletes and live.file_bytes < MERGE_BELOW_BYTES]
    if len(tiny) < MERGE_FROM_FILES:
        tiny = []
    merged = {live.uri for live in tiny}
    yield from ([live] for live in files if live.uri not in merged)
    if tiny:
        yield tiny


def _with_checksums(warehouse: Warehouse, direction: Direction, steps: list[CopyStep]) -> tuple[CopyStep, ...]:
    if direction is not RESTORE:
        return tuple(steps)
    binds = {"source_ids": sorted({step.source_id for step in steps})}
    with open_session(warehouse, [ARCHIVED_FILES.name]) as session:
        known = dict(session.execute(statement("moves/select_checksums"), binds).fetchall())
    return tuple(
        replace(step, expected_checksums={uri: known[uri] for uri in step.originals if uri in known}) for step in steps
    )


def _snapshot_id(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None
