"""Step 1: from one pinned snapshot of the table it leaves, list the files of the chosen sources."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from perennial.engines.write_files import written_name
from perennial.errors import TransientConflictError
from perennial.moves.divide import divide_mixed_files
from perennial.operations import OperationRecord, pending_records, remove_pending, write_pending
from perennial.storage import storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.commits import order_manifests, removed_since
from perennial.warehouse.files import data_file_count
from perennial.warehouse.foreign import refuse_unreadable
from perennial.warehouse.schemas import refuse_unlike

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# One copy task's share, and the most tasks a move is spread over whatever its size.
CHUNK_BYTES = 1 << 30
MAX_CHUNKS = 64
# What one move lists, plans and commits at once; memory grows with it, to about half a gigabyte.
MOVE_FILES = 25_000
# M7: from so many files of a source, those below this size leave as one: cold classes charge per object.
MERGE_FROM_FILES = 8
MERGE_BELOW_BYTES = 1 << 20


@dataclass(frozen=True)
class Direction:
    """Which way a move goes."""

    name: str
    origin: str
    destination: str


EXPIRE = Direction("expire", INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
RESTORE = Direction("restore", INTERACTIONS_ARCHIVE.name, INTERACTIONS.name)
# What a move of either direction commits to.
WRITTEN_TABLES = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name, LIFECYCLE_EVENTS.name, ARCHIVED_FILES.name)
DIRECTIONS = {direction.name: direction for direction in (EXPIRE, RESTORE)}


@dataclass(frozen=True)
class CopyStep:
    """One file that will enter the destination.

    Attributes:
        source_id: Its source.
        copy_uri: Where it will lie; its name is a hash of what it is made of (M1).
        originals: Addresses of the files it is made of.
        deletes: Delete files of other engines that applied to them when the plan was made.
        rewritten: Whether rows are read and written (M7) instead of bytes copied.
        chunk: The copy task it belongs to.
        row_count: Rows the manifests give for the originals, deleted ones included.
        file_bytes: Size of the originals.
        expected_checksums: Checksums noted when originals entered the archive, by address, where there are any.
    """

    source_id: str
    copy_uri: str
    originals: tuple[str, ...]
    deletes: tuple[str, ...]
    rewritten: bool
    chunk: int
    row_count: int
    file_bytes: int
    expected_checksums: dict[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Start of the copy's name where it is rewritten."""
        return file_name(self.copy_uri).removesuffix(written_name("", 0))


@dataclass(frozen=True)
class MovePlan:
    """What one move will do. Lies in storage at `uri`; tasks pass the address on, never the plan."""

    move_id: str
    direction: Direction
    origin_snapshot_id: int | None
    destination_snapshot_id: int | None
    planned_at: str
    uri: str
    chunk_count: int
    steps: tuple[CopyStep, ...]

    @cached_property
    def source_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.source_id for step in self.steps))

    def operation(self, step: str) -> str:
        """Name a commit of this move that is made at most once."""
        return f"{self.direction.name}:{self.move_id}:{step}"

    def repeatable_operation(self, step: str) -> str:
        """Name a commit that may be made again: it looks for itself at what is left to do."""
        return f"{self.operation(step)}:{uuid.uuid4().hex}"


def batched_sources(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> list[list[str]]:
    """Spread sources over moves of so many files at most; a source is never divided (M5).

    In order of source, and the origin's manifests likewise: each move reads and writes its own part of them.
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
    move_id: str,
    wall_clock: datetime,
    max_chunks: int = MAX_CHUNKS,
) -> MovePlan | None:
    """List the files of some sources and write down how each will be moved.

    A file that is itself the copy of one still listed in the destination is left out: another move is under way.

    Returns:
        The plan as written to storage; None when there is nothing to move.

    Raises:
        TerminalDataError: A file is of a kind that cannot be moved.
        TerminalSettingError: The two tables have columns that contradict each other, or one cannot be written.
        TransientConflictError: Somebody changes columns meanwhile, or adds files that no move can take.
    """
    warehouse.refuse_unwritable(WRITTEN_TABLES)
    warehouse.align_facts()
    _refuse_unusable_storage(warehouse, direction)
    divide_mixed_files(warehouse, direction.origin)
    uri = f"{warehouse.operations_uri()}/moves/{direction.name}-{move_id}"
    stamp = wall_clock.isoformat()
    record = OperationRecord(direction.name, move_id, stamp, stamp, source_ids=tuple(sorted(source_ids)), plan_uri=uri)
    # Before the snapshot is pinned: whoever does not see this record has finished before (see lifecycle.expire).
    write_pending(warehouse, record)
    try:
        plan = _planned(warehouse, direction, source_ids, record, min(max_chunks, MAX_CHUNKS))
    except Exception:
        remove_pending(warehouse, direction.name, move_id)
        raise
    if plan is None:
        remove_pending(warehouse, direction.name, move_id)
    return plan


def _refuse_unusable_storage(warehouse: Warehouse, direction: Direction) -> None:
    """Try what a move needs: that there is a destination, and the rights that it needs at its end only."""
    place = warehouse.table(direction.destination).location_provider().new_data_location
    any(storage_for(place("rights")).list_files(place("rights")))
    uri = f"{warehouse.operations_uri()}/rights/{uuid.uuid4().hex}"
    storage_for(uri).write(uri, b"")
    storage_for(uri).delete(uri)


def _planned(
    warehouse: Warehouse, direction: Direction, source_ids: Collection[str], record: OperationRecord, max_chunks: int
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
    )
    _write_plan(plan)
    planned = pluralize(len(files), "file"), pluralize(len(plan.source_ids), "source")
    log.info("%s: planned %s of %s", plan.operation("plan"), *planned)
    return plan


def touch_move(warehouse: Warehouse, plan: MovePlan, wall_clock: datetime) -> None:
    """Give a sign of life: write a move's record again, also where the move had been given up and goes on after all."""
    stamp = wall_clock.isoformat()
    write_pending(
        warehouse,
        OperationRecord(
            plan.direction.name,
            plan.move_id,
            plan.planned_at,
            stamp,
            source_ids=plan.source_ids,
            plan_uri=plan.uri,
        ),
    )


def read_plan(uri: str) -> MovePlan:
    """Read a plan from storage."""
    written = json.loads(storage_for(uri).read(f"{uri}/plan.json"))
    written["direction"] = DIRECTIONS[written["direction"]]
    written["steps"] = tuple(
        CopyStep(**{**step, "originals": tuple(step["originals"]), "deletes": tuple(step["deletes"])})
        for step in written["steps"]
    )
    return MovePlan(**written)


def find_plan(uri: str) -> MovePlan | None:
    """Read a plan from storage, if it had been written before its move died."""
    try:
        return read_plan(uri)
    except FileNotFoundError:
        return None


def planned_files(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> dict[str, LiveFile]:
    """List the planned files of some sources as the pinned snapshot has them, by address."""
    origin = warehouse.table(plan.direction.origin)
    return {live.uri: live for live in warehouse.live_files(origin, source_ids, plan.origin_snapshot_id)}


def copy_name(original: str) -> str:
    """Name the copy of a file: repeatable, and never used for anything else (M1)."""
    return f"{_hash([original])}.parquet"


def copy_names(files: Iterable[LiveFile]) -> set[str]:
    """Names that plain copies of some files have, whichever move makes them."""
    return {copy_name(live.uri) for live in files}


def _rewritten_stem(move_id: str, originals: Iterable[str], deletes: Iterable[str]) -> str:
    """Start of the name of a file made of the rows of others: one that no other move uses.

    A plain copy is the same whoever makes it. Of two rewritten files of the same rows one has to go again, and it must
    be clear which.
    """
    return _hash([move_id, *originals, *deletes])


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


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
    in_transit = _in_transit(warehouse, direction, source_ids)
    return [live for live in files if file_name(live.uri) not in in_transit]


def _in_transit(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> set[str]:
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


def removed_by(plan: MovePlan, step: CopyStep, removers: Mapping[str, str]) -> bool:
    """Whether it was this move that took a step's originals out of its origin."""
    return all(removers.get(uri, "").startswith(plan.operation("remove")) for uri in step.originals)


def operation_step(operation: str) -> str:
    """Which step of a move a commit was; empty for a commit that was none."""
    parts = operation.split(":")
    return parts[2] if len(parts) > 2 and parts[0] in DIRECTIONS else ""


def file_name(uri: str) -> str:
    """The last part of an address: what tells copies apart, wherever the archive has been moved to."""
    return uri.rpartition("/")[2]


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
    # In the order of the manifests, so that a copy task reads its own part of them.
    for source_id, group in sorted(by_source.items()):
        for members in _grouped(group, merge=direction is EXPIRE):
            uris = tuple(sorted(live.uri for live in members))
            deletes = tuple(sorted({uri for live in members for uri in live.delete_uris}))
            rewritten = len(members) > 1 or bool(deletes)
            name = written_name(_rewritten_stem(move_id, uris, deletes), 0) if rewritten else copy_name(uris[0])
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
    """Decide what is copied as it is, and what is rewritten: tiny files together, files with deletes each (M7).

    Only on their way out: two restores that merge different sets would both show their rows for a while.
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
    # The latest note of a file stands: a repeated move may have written it again.
    frame = warehouse.read(ARCHIVED_FILES.name).sort_by("archived_at")
    # Version 0.1 noted SHA-256 without saying so.
    checksums = [noted if ":" in noted else f"sha256:{noted}" for noted in frame["checksum"].to_pylist()]
    noted = dict(zip(frame["file_uri"].to_pylist(), checksums, strict=True))
    return tuple(
        replace(step, expected_checksums={uri: noted[uri] for uri in step.originals if uri in noted}) for step in steps
    )


def _snapshot_id(table: Table) -> int | None:
    snapshot = table.current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _write_plan(plan: MovePlan) -> None:
    # Not asdict: it copies every text of a hundred thousand steps.
    written = {declared.name: getattr(plan, declared.name) for declared in fields(plan)}
    written |= {"direction": plan.direction.name, "steps": [vars(step) for step in plan.steps]}
    storage_for(plan.uri).write(f"{plan.uri}/plan.json", json.dumps(written, ensure_ascii=False).encode())
