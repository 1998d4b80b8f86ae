"""A request to erase people: checked completely, then opened. The command line, the DAG and the page share it (R22).

No text in here repeats an id, because errors go to logs and stay there: ids are named by their place in the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import StrictBool

from perennial.erase.external_ids import known_users
from perennial.erasures import ErasureRequest
from perennial.erasures.hashes import erasure_key, mark_of
from perennial.erasures.requests import PERSON, Step, new_request, open_requests, record_events
from perennial.errors import TerminalRequestError
from perennial.moves.requests import Texts
from perennial.notify.addresses import refuse_bad_addresses
from perennial.refusals import read_params, sentences
from perennial.statements import statement
from perennial.tables import USERS

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

MOST_PERSONS = 10_000
_MOST_CHARACTERS = 1_000
_ID_LISTS = ("user_ids", "external_user_ids")
REMEDIES = {
    "user_ids": "a list of the platform's user ids",
    "external_user_ids": "a list of your own user ids",
    "request_id": "the id of a request, as `perennial erasures` shows it",
    "decision": "approve or refuse",
    "notify": "a list of e-mail addresses",
    "reason": "a string",
    "retrieve": "true or false",
    "dry_run": "true or false",
}


@dataclass(frozen=True, kw_only=True)
class EraseParams:
    """Params of `erase_users`.

    Attributes:
        user_ids: The platform's ids of people.
        external_user_ids: The customer's own ids of people.
        request_id: Instead, a request that is open.
        decision: What a person decides about that request, if it is one of the platform; empty if nothing.
        notify: Who gets the receipt, and the warning before the deadline.
        reason: Why, in the requester's words.
        retrieve: Whether to retrieve cold files now instead of together with those of later requests.
        dry_run: Whether to report what would be removed, and remove nothing.
    """

    user_ids: tuple[str, ...] = ()
    external_user_ids: tuple[str, ...] = ()
    request_id: str = ""
    decision: Literal["", "approve", "refuse"] = ""
    notify: Texts = ()
    reason: str = ""
    retrieve: StrictBool = False
    dry_run: StrictBool = False

    @property
    def names_people(self) -> bool:
        return bool(self.user_ids or self.external_user_ids)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> EraseParams:
        """Check the params of a run, of the command line or of the page.

        Raises:
            TerminalRequestError: Names every unusable param and the remedy; it repeats no id.
        """
        flaws = [flaw for name in _ID_LISTS for flaw in _flaws_of_ids(name, params.get(name))]
        if flaws:
            raise TerminalRequestError(sentences(flaws))
        refuse_naming(params)
        asked = read_params(cls, params, REMEDIES)
        if (count := len(asked.user_ids) + len(asked.external_user_ids)) > MOST_PERSONS:
            raise TerminalRequestError(
                f"The request has {count:,} ids; give at most {MOST_PERSONS:,}, and the others in another request."
            )
        if asked.request_id and asked.names_people:
            raise TerminalRequestError("request_id names a request, which has its own ids; give either it or ids.")
        if asked.decision and not asked.request_id:
            raise TerminalRequestError("decision is about a request; give its request_id as well.")
        if asked.notify:
            refuse_bad_addresses(asked.notify)
        return asked


def read_erasure(warehouse: Warehouse, params: Mapping[str, Any], by: str, request_id: str = "") -> ErasureRequest:
    """Check a request that names people, and write nothing.

    Args:
        warehouse: Where they are to be erased.
        params: `user_ids`, `external_user_ids`, `notify` and `reason`.
        by: Who asks for it.
        request_id: Its id; without one it gets one that no other request has.

    Raises:
        TerminalRequestError: It cannot be carried out; names the param and the remedy, and repeats no id.
        TerminalSettingError: There is no key to remember the people by.
    """
    erasure_key(warehouse.settings)
    refuse_naming({**params, "requested_by": by, "request_id": request_id})
    asked = EraseParams.from_params(params)
    request = new_request(
        warehouse.settings,
        request_id=request_id,
        user_ids=asked.user_ids,
        external_user_ids=asked.external_user_ids,
        requested_by=by,
        reason=" ".join(asked.reason.split()),
        notify=asked.notify,
        origin=PERSON,
    )
    _refuse_own_address(warehouse, request)
    _refuse_known_names(warehouse, request)
    return resolved(warehouse, request)


def resolved(warehouse: Warehouse, request: ErasureRequest) -> ErasureRequest:
    """Add the platform's ids of people of whom a request has external ids, as far as `users` knows them."""
    found = known_users(warehouse, request.external_user_ids)
    return replace(request, user_ids=(*request.user_ids, *found.values()))


def person_count(request: ErasureRequest) -> int:
    """Return how many people it names; once found, the person with an external id is one of those with a user id."""
    return max(len(request.user_ids), len(request.external_user_ids))


def open_erasure(warehouse: Warehouse, request: ErasureRequest, approved_by: str = "") -> str:
    """Open a request, once; returns its id. One that a person makes is approved by that person.

    People whom it has come to name since it was opened are approved, too.

    Args:
        warehouse: Where.
        request: As `read_erasure` returns it, or as the platform made it.
        approved_by: Who approves a request of the platform; empty where it has to wait for somebody.
    """
    open_erasures(warehouse, {request: approved_by})
    return request.request_id


def open_erasures(warehouse: Warehouse, approvers: Mapping[ErasureRequest, str]) -> None:
    """As `open_erasure`, for several requests and who approves each of them, in two commits."""
    if not approvers:
        # Nobody needs a key before there is a request.
        return
    open_requests(warehouse, list(approvers))
    key = erasure_key(warehouse.settings)
    steps = [
        Step(request.request_id, frozenset(request.hashes(key).values()), "approved", {"key": mark_of(key)}, approver)
        for request, given in approvers.items()
        if (approver := request.requested_by if request.origin == PERSON else given)
    ]
    record_events(warehouse, steps)


def _flaws_of_ids(name: str, ids: object) -> list[str]:
    if ids is None:
        return []
    if isinstance(ids, str) or not isinstance(ids, list | tuple):
        return [f"{name} is not a list; give {REMEDIES[name]}"]
    flaws = ((number, _flaw(user_id)) for number, user_id in enumerate(ids, start=1))
    return [f"Id {number} of {name} {flaw}; give the id as the platform has it" for number, flaw in flaws if flaw]


def _flaw(user_id: object) -> str:
    if not isinstance(user_id, str):
        return "is not a string"
    if not user_id:
        return "is empty"
    if len(user_id) > _MOST_CHARACTERS:
        return f"has {len(user_id):,} characters"
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", user_id):
        return "has a control character or half of a surrogate pair"
    return ""


def refuse_naming(params: Mapping[str, Any]) -> None:
    """Refuse a request that names its people where the name would be kept: in mails, the table, the receipt.

    Raises:
        TerminalRequestError: Names the param.
    """
    people = [user_id for name in _ID_LISTS for user_id in params.get(name) or () if isinstance(user_id, str)]
    for name in ("reason", "notify", "requested_by", "request_id", "run_id"):
        given = params.get(name) or ""
        for text in given if isinstance(given, list | tuple) else [given]:
            if isinstance(text, str) and text and any(_names(text, user_id) for user_id in people if user_id in text):
                raise TerminalRequestError(
                    f"{name} contains an id that is to be erased, and it is kept after the erasure; "
                    "write it without the id, such as a ticket's number."
                )


def _names(text: str, user_id: str) -> bool:
    """Return whether a text has an id as a word of its own, and not as a part of another; `user_7` has 7."""
    return re.search(rf"(?<![^\W_]){re.escape(user_id)}(?![^\W_])", text) is not None


def _refuse_own_address(warehouse: Warehouse, request: ErasureRequest) -> None:
    """Refuse to send the receipt to a person who is to be erased, because the address of each recipient is recorded.

    Raises:
        TerminalRequestError: An address is that of one of the people.
    """
    from perennial.engines.duckdb import open_session

    if not request.notify or warehouse.table(USERS.name).current_snapshot() is None:
        return
    binds = {
        "user_ids": list(request.user_ids),
        "external_user_ids": list(request.external_user_ids),
        "addresses": _folded(request.notify),
    }
    with open_session(warehouse, [USERS.name]) as session:
        if session.execute(statement("erase/count_own_addresses"), binds).fetchall() != [(0,)]:
            raise TerminalRequestError(
                "notify contains the address of somebody who is to be erased, but recipients of e-mails are recorded; "
                "give the address of somebody who files the receipt, and inform the erased person yourself."
            )


def _refuse_known_names(warehouse: Warehouse, request: ErasureRequest) -> None:
    """Refuse a reason with what else `users` knows the people by: their other id, their address, their number.

    Raises:
        TerminalRequestError: It has some of that.
    """
    from perennial.engines.duckdb import open_session

    if not request.reason or warehouse.table(USERS.name).current_snapshot() is None:
        return
    binds = {"user_ids": list(request.user_ids), "external_user_ids": list(request.external_user_ids)}
    with open_session(warehouse, [USERS.name]) as session:
        rows = session.execute(statement("erase/select_known_as"), binds).fetchall()
    reason = request.reason.casefold()
    folded = (name.casefold() for row in rows for name in row if name)
    if any(_names(reason, name) for name in folded if name in reason):
        raise TerminalRequestError(
            "reason contains an id, an address or a number of somebody who is to be erased, and it is kept after the "
            "erasure; write it without, such as a ticket's number."
        )


def _folded(addresses: Iterable[str]) -> list[str]:
    return [address.casefold() for address in addresses]
