"""What is under way: the run, its documents in storage, the records that lock sources, and whose turn it is.

A record is written before anything else happens and removed when the operation is over. Maintenance leaves alone what
a record names, a second run finishes what a dead one left, and an expiry does not remove what a restore is bringing
back. Everything here lies below `Warehouse.operations_uri()`, as JSON that later versions can read.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perennial.refusals import refuse_future_date
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

_PENDING, _TURNS = "pending", "turns"


@dataclass(frozen=True)
class Run:
    """Who does something, and when it is.

    Attributes:
        run_id: Airflow's run id, or that of a direct call.
        now: What the run takes for now: the logical date, so that a past date can be replayed.
        requested_by: Who asked for it.
        reason: Why, in the requester's words.
        requested_at: Wall clock of the request; the run's own now where that is the same.
    """

    run_id: str
    now: datetime
    requested_by: str | None = None
    reason: str | None = None
    requested_at: datetime | None = None


def local_run_id(now: datetime) -> str:
    """Return a new id for a run of this process."""
    return f"manual__cli_{now:%Y-%m-%dT%H:%M:%S}_{uuid.uuid4().hex[:8]}"


def local_run(reason: str = "") -> Run:
    """Return a run of this process and of whoever runs it, now."""
    now = wall_clock()
    return Run(
        run_id=local_run_id(now),
        now=now,
        requested_by=current_user(),
        reason=reason or None,
        requested_at=now,
    )


def current_user() -> str:
    """Name who runs this; a container may run as a user without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def wall_clock() -> datetime:
    """Return the real time, for what must not follow a replayed date."""
    return datetime.now(UTC)


def refuse_future_run(run: Run) -> None:
    """Refuse to move anything for a run that is dated after the wall clock.

    Raises:
        TerminalRequestError: It is dated more than five minutes later (R24).
    """
    refuse_future_date(run.now, wall_clock())


@dataclass(frozen=True)
class OperationStore:
    """The documents that tasks, pages and later runs read.

    Attributes:
        root: Address of the directory, `Warehouse.operations_uri()`.
    """

    root: str

    @classmethod
    def of(cls, warehouse: Warehouse) -> OperationStore:
        """Return the store of a warehouse."""
        return cls(warehouse.operations_uri())

    def put(self, topic: str, content: object, name: str = "") -> str:
        """Write a document, replacing an earlier one of the same name.

        Args:
            topic: The directory that it goes to.
            content: What can be written as JSON.
            name: Of the file; without one it gets a name that no other document has.

        Returns:
            Its address, which is what XCom carries.
        """
        uri = self._uri(topic, name or uuid.uuid4().hex)
        self.write(uri, content)
        return uri

    @staticmethod
    def write(uri: str, content: object) -> None:
        """Write a document to an address."""
        # Plain ASCII: what people and platforms use as names may hold anything, half a surrogate pair too.
        storage_for(uri).write(uri, json.dumps(content).encode())

    @staticmethod
    def get(uri: str) -> Any:
        """Read the document at an address."""
        return json.loads(storage_for(uri).read(uri))

    def find(self, topic: str, name: str) -> Any | None:
        """Read a document by its name; None where there is none."""
        try:
            return self.get(self._uri(topic, name))
        except FileNotFoundError:
            return None

    def documents(self, topic: str, prefix: str = "") -> Iterator[Any]:
        """Read all documents of a topic whose names begin with a prefix."""
        directory = f"{self.root}/{topic}"
        for found in storage_for(directory).list_files(directory):
            name = found.uri.rpartition("/")[2]
            if not name.startswith(prefix) or not name.endswith(".json"):
                continue
            try:
                document = self.get(found.uri)
            except FileNotFoundError:
                # It was removed after the directory had been listed.
                continue
            yield document

    def remove(self, topic: str, name: str) -> None:
        """Delete a document, if it is there."""
        uri = self._uri(topic, name)
        storage_for(uri).delete(uri)

    def _uri(self, topic: str, name: str) -> str:
        return f"{self.root}/{topic}/{name}.json"


def hashed_name(*parts: str) -> str:
    """Name a document after texts that may hold any character, and so may not become a path: run ids."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class OperationRecord:
    """An operation that is under way, or died.

    Attributes:
        kind: load, expire or restore.
        id: Operation id.
        created_at: Wall clock.
        touched_at: Wall clock of its last heartbeat.
        file_lists: Addresses of Iceberg file lists; the data files in them must not be purged.
        source_ids: Sources it concerns.
        plan_uri: Address of its plan.
        run_id: The run that began it; empty if no run can be cancelled by it.
    """

    kind: str
    id: str
    created_at: str
    touched_at: str
    file_lists: tuple[str, ...] = ()
    source_ids: tuple[str, ...] = ()
    plan_uri: str = ""
    run_id: str = ""

    def age_seconds(self, wall_clock: datetime) -> float:
        """Seconds since its last heartbeat."""
        return (wall_clock - datetime.fromisoformat(self.touched_at)).total_seconds()


def new_record(
    kind: str,
    operation_id: str,
    source_ids: Iterable[str] = (),
    plan_uri: str = "",
    file_lists: Iterable[str] = (),
    run_id: str = "",
) -> OperationRecord:
    """Describe an operation that begins now."""
    now = wall_clock().isoformat()
    return OperationRecord(kind, operation_id, now, now, tuple(file_lists), tuple(source_ids), plan_uri, run_id)


def write_pending(warehouse: Warehouse, record: OperationRecord) -> None:
    """Write a record, replacing an earlier one of the same operation."""
    OperationStore.of(warehouse).put(_PENDING, asdict(record), _record_name(record.kind, record.id))


def heartbeat(warehouse: Warehouse, record: OperationRecord) -> None:
    """Show that an operation is alive; one that had been given up is under way again."""
    write_pending(warehouse, replace(record, touched_at=wall_clock().isoformat()))


def remove_pending(warehouse: Warehouse, kind: str, operation_id: str) -> None:
    """Remove the record of an operation that is over."""
    OperationStore.of(warehouse).remove(_PENDING, _record_name(kind, operation_id))


def pending_records(warehouse: Warehouse, kind: str | None = None) -> Iterator[OperationRecord]:
    """List the operations under way, oldest first."""
    records = [
        OperationRecord(
            kind=fields["kind"],
            id=fields["id"],
            created_at=fields["created_at"],
            touched_at=fields.get("touched_at", fields["created_at"]),
            file_lists=tuple(fields.get("file_lists", ())),
            source_ids=tuple(fields.get("source_ids", ())),
            plan_uri=fields.get("plan_uri", ""),
            run_id=fields.get("run_id", ""),
        )
        for fields in OperationStore.of(warehouse).documents(_PENDING, f"{kind}-" if kind else "")
    ]
    yield from sorted(records, key=lambda record: record.created_at)


def _record_name(kind: str, operation_id: str) -> str:
    return f"{kind}-{operation_id}"


def sources_under_way(warehouse: Warehouse, kind: str) -> frozenset[str]:
    """Return the sources that operations of a kind are working on."""
    return frozenset(source_id for record in pending_records(warehouse, kind) for source_id in record.source_ids)


@contextmanager
def restore_lock(warehouse: Warehouse, source_ids: Collection[str], run_id: str = "") -> Iterator[None]:
    """Keep expiries from removing rows of some sources until the record of a restore's plan does."""
    record = new_record("restore", uuid.uuid4().hex, source_ids, run_id=run_id)
    write_pending(warehouse, record)
    try:
        yield
    finally:
        remove_pending(warehouse, record.kind, record.id)


@dataclass(frozen=True)
class Turn:
    """A run that works, or waits for its turn (ADR 14).

    Attributes:
        run_id: The run.
        now: What it takes for now; older runs go first.
        taken: Whether it works.
    """

    run_id: str
    now: str
    taken: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What turns are sorted by."""
        return self.now, self.run_id


def turns(warehouse: Warehouse, dag_id: str) -> list[Turn]:
    """List the runs of a DAG that are at work or wait, and the last that was at work."""
    return [Turn(**fields) for fields in OperationStore.of(warehouse).find(_TURNS, dag_id) or ()]


def give_turn_back(warehouse: Warehouse, dag_id: str, run_id: str) -> None:
    """Let other runs go first while this one waits for a person; its next task takes its turn again."""
    store, known = OperationStore.of(warehouse), turns(warehouse, dag_id)
    if any(turn.run_id == run_id for turn in known):
        store.put(_TURNS, [asdict(turn) for turn in known if turn.run_id != run_id], dag_id)


def take_turn(warehouse: Warehouse, dag_id: str, run: Run, is_active: Callable[[str], bool]) -> str:
    """Take the turn of a run, or let it wait in line.

    This is about order and cost: two runs beside each other lose and double nothing (M2, M6), but copy the same files.
    A run that is over counts no more, so a turn is never given back: the next run finds it free.

    Args:
        warehouse: Whose runs they are.
        dag_id: The DAG that they are runs of.
        run: The run; one that has the turn already keeps it.
        is_active: Says by its id whether another run is still under way.

    Returns:
        The id of the run that goes before this one; empty when it is this one's turn.
    """
    store, known = OperationStore.of(warehouse), turns(warehouse, dag_id)
    others = [turn for turn in known if turn.run_id != run.run_id and is_active(turn.run_id)]
    own = next((turn for turn in known if turn.run_id == run.run_id), Turn(run.run_id, run.now.isoformat()))
    before = [turn for turn in others if turn.taken or turn.place < own.place]
    own = replace(own, taken=own.taken or not before)
    if (line := sorted([*others, own], key=lambda turn: turn.place)) != known:
        store.put(_TURNS, [asdict(turn) for turn in line], dag_id)
    return "" if own.taken else max(before, key=lambda turn: turn.taken).run_id
