"""Requests to erase people and their history: documents that name the people, and a table that does not.

The document is erased with the person; the rows of the table stay, as the proof that and when it happened.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from perennial.erasures.hashes import erasure_key, hash_external_user_id, hash_user_id, mark_of
from perennial.errors import TerminalRequestError
from perennial.operations import OperationStore, hashed_name, wall_clock
from perennial.settings import Settings
from perennial.statements import statement
from perennial.tables import ERASURES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table

    from perennial.warehouse import Warehouse

TOPIC = "erasures"
Event = Literal[
    "requested", "approved", "located", "waiting", "removed", "purged", "verified", "refused", "forgotten"
]  # fmt: skip
Origin = Literal["person", "platform"]
PERSON: Final = "person"
PLATFORM: Final = "platform"
_LISTS = ("user_ids", "external_user_ids", "notify", "known_external_ids", "addresses")
_REQUEST_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """A request to erase people. Times are UTC.

    Attributes:
        request_id: Its id, which names nobody.
        user_ids: The platform's ids.
        external_user_ids: The customer's own ids of people whose platform id nobody has given.
        requested_by: Who asked for it.
        reason: Why, in their words.
        notify: Who gets the receipt, and the warning before the deadline.
        requested_at: Wall clock.
        due_at: By when everything has to be gone.
        known_external_ids: Their other ids, as `users` had them when they were first looked up.
        addresses: Their e-mail addresses and phone numbers, likewise.
        origin: person, or platform if a `users.UserDeleteRequest` asked for it.

    Raises:
        TerminalRequestError: It names nobody, or has an id that cannot be one.
    """

    request_id: str
    user_ids: tuple[str, ...]
    external_user_ids: tuple[str, ...] = ()
    requested_by: str = ""
    reason: str = ""
    notify: tuple[str, ...] = ()
    requested_at: datetime
    due_at: datetime
    origin: Origin = PERSON
    known_external_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _REQUEST_ID.fullmatch(self.request_id):
            raise TerminalRequestError(
                f"request_id is {self.request_id!r}; give at most 100 letters, digits, dashes and underscores."
            )
        if not self.user_ids and not self.external_user_ids:
            raise TerminalRequestError("user_ids and external_user_ids are empty; give at least one id to erase.")
        for name in ("user_ids", "external_user_ids"):
            # In order, each once.
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
            for number, user_id in enumerate(getattr(self, name), start=1):
                # The id itself is left out, because this text goes to logs.
                if not user_id or re.search(r"[\x00-\x1f\x7f]", user_id):
                    what = "has a control character" if user_id else "is empty"
                    raise TerminalRequestError(f"Id {number} of {name} {what}; give the id as the platform has it.")

    def hashes(self, key: bytes) -> dict[str, str]:
        """Return the keyed hash of everybody it names, by user id or, where only that is given, external id."""
        by_external = {user_id: hash_external_user_id(key, user_id) for user_id in self.external_user_ids}
        return by_external | {user_id: hash_user_id(key, user_id) for user_id in self.user_ids}


@dataclass(frozen=True)
class ErasureState:
    """The last event of one person in one request.

    Attributes:
        request_id: The request.
        user_id_hash: The person.
        event: The last event; `forgotten` does not count.
        at: When it was recorded.
        requested_at: When the request was.
        requested_by: Who made the request.
        due_at: By when everything has to be gone.
        detail: JSON of the last event.
    """

    request_id: str
    user_id_hash: str
    event: Event
    at: datetime
    requested_at: datetime
    requested_by: str | None
    due_at: datetime
    detail: str


def new_request(settings: Settings, *, request_id: str = "", **given: Any) -> ErasureRequest:
    """Describe a request that is made now, with the deadline of PERENNIAL_ERASURE_DAYS.

    Args:
        settings: Of the workspace.
        request_id: Its id; without one it gets one that no other request has.
        given: Other attributes of `ErasureRequest`.
    """
    now = wall_clock()
    due_at = now + timedelta(days=settings.erasure_days)
    return ErasureRequest(request_id=request_id or uuid.uuid4().hex, requested_at=now, due_at=due_at, **given)


def write_request(warehouse: Warehouse, request: ErasureRequest) -> str:
    """Write the document of a request, so that a run needs only the id of the request; returns that id."""
    content = asdict(request) | {"requested_at": request.requested_at.isoformat(), "due_at": request.due_at.isoformat()}
    OperationStore.of(warehouse).put(TOPIC, content, request.request_id)
    return request.request_id


def open_request(warehouse: Warehouse, request: ErasureRequest) -> str:
    """Write a request's document and record it, once; returns its id.

    A repetition does nothing, also after the document has been erased.
    """
    open_requests(warehouse, [request])
    return request.request_id


def open_requests(warehouse: Warehouse, requests: Sequence[ErasureRequest]) -> None:
    """As `open_request`, for several in one commit."""
    key = erasure_key(warehouse.settings)
    recorded = _recorded(warehouse, warehouse.table(ERASURES.name)) if requests else set()
    fresh = [request for request in requests if request.request_id not in recorded]
    for request in fresh:
        write_request(warehouse, request)

    def decide(table: Table) -> list[dict[str, object]]:
        recorded = _recorded(warehouse, table)
        return [row for one in fresh if one.request_id not in recorded for row in _requested(one, key)]

    if fresh:
        operation = f"erasure:{hashed_name(*(request.request_id for request in fresh))}:requested"
        warehouse.append_decided(ERASURES.name, decide, operation)


def _requested(request: ErasureRequest, key: bytes) -> list[dict[str, object]]:
    row = {
        "request_id": request.request_id,
        "event": "requested",
        "at": request.requested_at,
        "requested_by": request.requested_by or None,
        "due_at": request.due_at,
        "detail": json.dumps({"key": mark_of(key), "origin": request.origin}),
    }
    return [row | {"user_id_hash": found} for found in request.hashes(key).values()]


def read_request(warehouse: Warehouse, request_id: str) -> ErasureRequest | None:
    """Read a request's document; None where there is none, or it has been erased."""
    if not _REQUEST_ID.fullmatch(request_id):
        return None
    found = OperationStore.of(warehouse).find(TOPIC, request_id)
    return None if found is None else _read(found)


def written_requests(warehouse: Warehouse) -> list[ErasureRequest]:
    """Read every document that has not been erased, the oldest request first."""
    found = map(_read, OperationStore.of(warehouse).documents(TOPIC))
    return sorted(found, key=lambda request: (request.requested_at, request.request_id))


def _read(document: dict[str, Any]) -> ErasureRequest:
    known = {one.name: document[one.name] for one in fields(ErasureRequest) if one.name in document}
    lists = {name: tuple(known.get(name, ())) for name in _LISTS}
    times = {name: datetime.fromisoformat(known[name]) for name in ("requested_at", "due_at")}
    return ErasureRequest(**{**known, **lists, **times})


def remove_request(warehouse: Warehouse, request_id: str) -> None:
    """Erase a request's document; what is recorded of it names nobody and stays."""
    OperationStore.of(warehouse).remove(TOPIC, request_id)


def record_event(
    warehouse: Warehouse,
    request_id: str,
    hashes: Iterable[str],
    event: Event,
    detail: dict[str, object] | None = None,
    *,
    requested_by: str | None = None,
    at: datetime | None = None,
) -> None:
    """Record a step of some people's erasure, for each of them once.

    Args:
        warehouse: Where.
        request_id: Request that is recorded already.
        hashes: The people.
        event: The step.
        detail: What to keep of it as JSON; it must not name anybody.
        requested_by: Who asked for this step, if not the request did: who approved or refused it.
        at: Wall clock; None means now.

    Raises:
        TerminalRequestError: No such request is recorded.
    """
    step = Step(request_id, frozenset(hashes), event, detail or {}, requested_by)
    record_events(warehouse, [step], at)


@dataclass(frozen=True)
class Step:
    """A step of the erasure of some people of a request, as in `record_event`."""

    request_id: str
    hashes: frozenset[str]
    event: Event
    detail: Mapping[str, object] = field(default_factory=dict)
    requested_by: str | None = None


def record_events(warehouse: Warehouse, steps: Sequence[Step], at: datetime | None = None) -> None:
    """As `record_event`, for several requests in one commit.

    Raises:
        TerminalRequestError: One of the requests is not recorded.
    """
    now = at or wall_clock()

    def decide(table: Table) -> list[dict[str, object]]:
        recorded = _rows_of(warehouse, table).to_pylist()
        due = {row["request_id"]: row["due_at"] for row in recorded}
        done = {(row["request_id"], row["user_id_hash"], row["event"]) for row in recorded}
        if unknown := [step.request_id for step in steps if step.request_id not in due]:
            raise TerminalRequestError(f"No erasure {unknown[0]!r} was requested; `perennial erasures` lists them.")
        return [
            {
                "request_id": step.request_id,
                "user_id_hash": found,
                "event": step.event,
                "at": now,
                "requested_by": step.requested_by,
                "due_at": due[step.request_id],
                "detail": json.dumps(step.detail),
            }
            for step in steps
            for found in sorted(step.hashes)
            if (step.request_id, found, step.event) not in done
        ]

    if steps:
        warehouse.append_decided(ERASURES.name, decide, f"erasure:{uuid.uuid4().hex}")


def states(warehouse: Warehouse, request_ids: Collection[str] | None = None) -> list[ErasureState]:
    """List the last event of each person in each request, the oldest request first.

    Args:
        warehouse: Where.
        request_ids: Only these requests; None for all.
    """
    from perennial.engines.duckdb import open_session

    if warehouse.table(ERASURES.name).current_snapshot() is None:
        return []
    with open_session(warehouse, [ERASURES.name]) as session:
        found = session.execute(statement("erasures/select_states")).fetchall()
    every = [ErasureState(*row) for row in found]
    return [state for state in every if request_ids is None or state.request_id in request_ids]


def _recorded(warehouse: Warehouse, table: Table) -> set[str]:
    return set(_rows_of(warehouse, table).column("request_id").to_pylist())


def _rows_of(warehouse: Warehouse, table: Table) -> pa.Table:
    from perennial.engines.duckdb import create_view, open_connection

    with open_connection() as connection:
        create_view(connection, ERASURES.name, list(warehouse.live_files(table)), table)
        rows: pa.Table = connection.table(ERASURES.name).to_arrow_table()
        return rows
