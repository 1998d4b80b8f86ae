"""What one move will do: a document in storage for every task of the move, and for the run that has to finish it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from perennial.engines.write_files import written_name
from perennial.operations import OperationRecord, OperationStore
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS
from perennial.warehouse import LiveFile, Warehouse


@dataclass(frozen=True)
class Direction:
    """Which way a move goes."""

    name: str
    origin: str
    destination: str


EXPIRE = Direction("expire", INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
RESTORE = Direction("restore", INTERACTIONS_ARCHIVE.name, INTERACTIONS.name)
# The tables that a move in either direction commits to.
WRITTEN_TABLES = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name, LIFECYCLE_EVENTS.name, ARCHIVED_FILES.name)
DIRECTIONS = {direction.name: direction for direction in (EXPIRE, RESTORE)}


@dataclass(frozen=True)
class CopyStep:
    """One file that will enter the destination.

    Attributes:
        source_id: Its source.
        copy_uri: Its address; its name is a hash of its originals (M1).
        originals: Addresses of the files that it is made from.
        deletes: Delete files of other engines that applied to them when the plan was made.
        rewritten: Whether rows are read and written (M7) instead of bytes copied.
        chunk: The copy task it belongs to.
        row_count: Rows of the originals according to the manifests, deleted ones included.
        file_bytes: Size of the originals.
        expected_checksums: Checksums that were recorded when originals entered the archive, by address.
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
        """Start of the copy's name if it is rewritten."""
        return file_name(self.copy_uri).removesuffix(written_name("", 0))


@dataclass(frozen=True)
class MovePlan:
    """What one move will do.

    Attributes:
        move_id: Its id.
        direction: Which way it goes.
        origin_snapshot_id: The pinned snapshot of the table from which files move.
        destination_snapshot_id: The snapshot that the other table had.
        planned_at: Wall clock.
        uri: Directory of the plan and of everything that its steps record; tasks pass on this address, never the plan.
        chunk_count: How many copy tasks it has.
        steps: The files.
        earlier: Ids of the moves of the same restore that have brought back other files of these sources, oldest first.
            The restored event is recorded under the id of the oldest. Empty for most moves.
        run_id: The run that began a restore; empty for expiries.
    """

    move_id: str
    direction: Direction
    origin_snapshot_id: int | None
    destination_snapshot_id: int | None
    planned_at: str
    uri: str
    chunk_count: int
    steps: tuple[CopyStep, ...]
    earlier: tuple[str, ...] = ()
    run_id: str = ""

    @cached_property
    def source_ids(self) -> tuple[str, ...]:
        """The sources, in the order of the steps."""
        return tuple(dict.fromkeys(step.source_id for step in self.steps))

    @property
    def record(self) -> OperationRecord:
        """Its record while it is under way."""
        return OperationRecord(
            kind=self.direction.name,
            id=self.move_id,
            created_at=self.planned_at,
            touched_at=self.planned_at,
            source_ids=self.source_ids,
            plan_uri=self.uri,
            run_id=self.run_id,
        )

    @property
    def record_operation(self) -> str:
        """Name the commit that records that the data has moved; all moves of a restore have the name of the first."""
        return f"{self.direction.name}:{(*self.earlier, self.move_id)[0]}:record"

    @property
    def earlier_uris(self) -> tuple[str, ...]:
        """Addresses of the plans of the earlier moves."""
        place = self.uri.removesuffix(self.move_id)
        return tuple(f"{place}{move_id}" for move_id in self.earlier)

    @property
    def first_uri(self) -> str:
        """Address of the plan of the first move, which may be this one."""
        return (*self.earlier_uris, self.uri)[0]

    def operation(self, step: str) -> str:
        """Name a commit of this move that is made at most once."""
        return f"{self.direction.name}:{self.move_id}:{step}"

    def repeatable_operation(self, step: str) -> str:
        """Name a commit that may be made again, because it checks for itself what is left to do."""
        return f"{self.operation(step)}:{uuid.uuid4().hex}"


def write_plan(plan: MovePlan) -> None:
    """Write a plan to storage."""
    # Not asdict, which would copy every string of a hundred thousand steps.
    written = {declared.name: getattr(plan, declared.name) for declared in fields(plan)}
    written |= {"direction": plan.direction.name, "steps": [vars(step) for step in plan.steps]}
    OperationStore.write(f"{plan.uri}/plan.json", written)


def read_plan(uri: str) -> MovePlan:
    """Read a plan from storage."""
    written = OperationStore.get(f"{uri}/plan.json")
    written["direction"] = DIRECTIONS[written["direction"]]
    written["steps"] = tuple(
        CopyStep(**{**step, "originals": tuple(step["originals"]), "deletes": tuple(step["deletes"])})
        for step in written["steps"]
    )
    written["earlier"] = tuple(written.get("earlier", ()))
    return MovePlan(**written)


def find_plan(uri: str) -> MovePlan | None:
    """Read a plan from storage; None if its move died before it was written."""
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


def removed_by(plan: MovePlan, step: CopyStep, removers: Mapping[str, str]) -> bool:
    """Whether this move has removed a step's originals from the origin."""
    return all(removers.get(uri, "").startswith(plan.operation("remove")) for uri in step.originals)


def operation_step(operation: str) -> str:
    """Return the step of a move that a commit belongs to; empty for other commits."""
    parts = operation.split(":")
    return parts[2] if len(parts) > 2 and parts[0] in DIRECTIONS else ""


def file_name(uri: str) -> str:
    """Return the last part of an address, by which copies are distinguished wherever the archive has been moved to."""
    return uri.rpartition("/")[2]


def rewritten_stem(move_id: str, originals: Iterable[str], deletes: Iterable[str]) -> str:
    """Return the start of the name of a rewritten file, which no other move uses.

    Two plain copies of a file are equal, whichever move makes them. Of two rewritten files with the same rows one has
    to be withdrawn, and it must be clear which.
    """
    return _hash([move_id, *originals, *deletes])


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
