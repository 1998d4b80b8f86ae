"""Where every request to erase people stands, and what a person decides about it (R22)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.erase.opening import open_erasure, refuse_naming, resolved
from perennial.erase.receipts import note
from perennial.erasures import ErasureRequest, ErasureState, read_request, record_event, remove_request, states
from perennial.erasures.hashes import erasure_key
from perennial.erasures.requests import PLATFORM, Event, written_requests
from perennial.errors import TerminalRequestError
from perennial.refusals import nearest_name
from perennial.text import moment

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

# In order; a request has the state of that person of it who is least far.
EVENTS: tuple[Event, ...] = (
    "requested", "approved", "located", "waiting", "removed", "purged", "verified", "refused",
)  # fmt: skip
OVER = ("verified", "refused")


@dataclass(frozen=True, kw_only=True)
class RequestState:
    """How far a request is.

    Attributes:
        request_id: The request.
        state: Its last event.
        at: When that was.
        requested_at: When it was made.
        requested_by: Who made it.
        due_at: Its deadline.
        hashes: The people it is about.
        needs_decision: Whether it is a request of the platform that nobody has approved or refused.
    """

    request_id: str
    state: Event
    at: datetime
    requested_at: datetime
    requested_by: str
    due_at: datetime
    hashes: frozenset[str]
    needs_decision: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in OVER


def request_states(warehouse: Warehouse, request_ids: Sequence[str] | None = None) -> list[RequestState]:
    """List where requests stand, the oldest first; those that no run has seen yet are `requested`.

    Args:
        warehouse: Where.
        request_ids: Only these; None for all.
    """
    people: dict[str, list[ErasureState]] = {}
    for person in states(warehouse, request_ids):
        people.setdefault(person.request_id, []).append(person)
    found = [_state_of(each) for each in people.values()]
    found += [
        _unseen(warehouse, request)
        for request in written_requests(warehouse)
        if request.request_id not in people and (request_ids is None or request.request_id in request_ids)
    ]
    return sorted(found, key=lambda state: (state.requested_at, state.request_id))


def find_state(warehouse: Warehouse, request_id: str) -> RequestState:
    """Return where one request stands.

    Raises:
        TerminalRequestError: There is no such request.
    """
    for state in request_states(warehouse, [request_id]):
        return state
    nearest = nearest_name(request_id, {state.request_id for state in request_states(warehouse)})
    # The value is left out: if somebody has confused the params, it is the id of a person, and this goes to the log.
    meant = f"did you mean {nearest!r}?" if nearest else "`perennial erasures` lists them."
    raise TerminalRequestError(f"request_id names no request that was made; {meant}")


def approve(warehouse: Warehouse, request_id: str, by: str) -> None:
    """Approve a request of the platform; from then on nothing that arrives of its people is stored.

    Raises:
        TerminalRequestError: There is no such request, or it was decided before.
    """
    request = undecided(warehouse, request_id)
    note(warehouse, request_id, approved_by=by)
    open_erasure(warehouse, resolved(warehouse, request), approved_by=by)


def refuse(warehouse: Warehouse, request_id: str, by: str, reason: str) -> None:
    """Refuse a request of the platform: nothing is removed, and the document that names its people is deleted.

    Raises:
        TerminalRequestError: There is no such request, it was decided before, or no reason is given.
    """
    said = " ".join(reason.split())
    request = refusable(warehouse, request_id, said)
    open_erasure(warehouse, request)
    hashes = request.hashes(erasure_key(warehouse.settings)).values()
    record_event(warehouse, request_id, hashes, "refused", {"reason": said}, requested_by=by)
    remove_request(warehouse, request_id)


def refusable(warehouse: Warehouse, request_id: str, reason: str) -> ErasureRequest:
    """Return a request of the platform that can be refused for this reason.

    Raises:
        TerminalRequestError: As in `refuse`.
    """
    if not reason.strip():
        raise TerminalRequestError("reason is empty; say why the request is refused.")
    request = undecided(warehouse, request_id)
    refuse_naming({"user_ids": request.user_ids, "external_user_ids": request.external_user_ids, "reason": reason})
    return request


def undecided(warehouse: Warehouse, request_id: str) -> ErasureRequest:
    """Return a request of the platform that waits for approval.

    Raises:
        TerminalRequestError: There is no such request, or it does not.
    """
    state = find_state(warehouse, request_id)
    request = read_request(warehouse, request_id)
    if not state.needs_decision or request is None:
        raise TerminalRequestError(
            f"Request {request_id} is {state.state} since {moment(state.at)}; only one that waits for approval can be "
            "approved or refused."
        )
    return request


def decide(warehouse: Warehouse, request_id: str, decision: str, by: str, reason: str) -> None:
    """Approve or refuse a request of the platform; nothing happens if the same was decided before.

    Raises:
        TerminalRequestError: As in `approve` and `refuse`.
    """
    state = find_state(warehouse, request_id)
    if decision == "refuse" and state.state != "refused":
        refuse(warehouse, request_id, by, reason)
    if decision == "approve" and (state.needs_decision or state.state == "refused"):
        approve(warehouse, request_id, by)


def _state_of(people: Sequence[ErasureState]) -> RequestState:
    last = min(people, key=lambda person: EVENTS.index(person.event))
    return RequestState(
        request_id=last.request_id,
        state=last.event,
        at=last.at,
        requested_at=last.requested_at,
        requested_by=last.requested_by or "",
        due_at=last.due_at,
        hashes=frozenset(person.user_id_hash for person in people),
        needs_decision=last.event == "requested" and json.loads(last.detail).get("origin") == PLATFORM,
    )


def _unseen(warehouse: Warehouse, request: ErasureRequest) -> RequestState:
    return RequestState(
        request_id=request.request_id,
        state="requested",
        at=request.requested_at,
        requested_at=request.requested_at,
        requested_by=request.requested_by,
        due_at=request.due_at,
        hashes=frozenset(request.hashes(erasure_key(warehouse.settings)).values()),
        needs_decision=request.origin == PLATFORM,
    )


@contextmanager
def show_requests(warehouse: Warehouse, state: str | None = None) -> Iterator[DuckDBPyConnection]:
    """Yield the requests as an executed statement: one row each, the oldest first.

    Args:
        warehouse: Whose requests they are.
        state: Only those in this state.
    """
    import pyarrow as pa

    from perennial.engines.duckdb import open_connection

    fields = {
        "request_id": pa.string(), "state": pa.string(), "due_at": pa.timestamp("us", "UTC"), "persons": pa.int64(),
        "requested_at": pa.timestamp("us", "UTC"), "requested_by": pa.string(),
    }  # fmt: skip
    rows = [
        {**vars(each), "persons": len(each.hashes)} for each in request_states(warehouse) if state in (None, each.state)
    ]
    with open_connection() as connection:
        connection.register("requests", pa.Table.from_pylist(rows, schema=pa.schema(fields)))
        yield connection.execute("FROM requests")
