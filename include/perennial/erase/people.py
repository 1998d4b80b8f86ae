"""The people of some requests, and how they are recognised in records, documents and mails (R22)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from perennial.erasures.payloads import is_word, named_in, words_of
from perennial.erasures.requests import ErasureRequest, write_request
from perennial.statements import statement
from perennial.tables import USERS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class People:
    """Who is to be erased.

    Attributes:
        user_ids: The platform's ids.
        external_user_ids: The customer's own ids.
        addresses: E-mail addresses, in lower case, and phone numbers.
    """

    user_ids: frozenset[str] = frozenset()
    external_user_ids: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.user_ids or self.external_user_ids)

    def are_named(self, payload: str) -> bool:
        """Whether the text of a record is about one of them; see `named_in`."""
        named = named_in(payload)
        return (
            not named.user_ids.isdisjoint(self.user_ids)
            or not named.external_user_ids.isdisjoint(self.external_user_ids)
            or self._are_among(named.words)
            # Only a record that names nobody in a field is searched for ids that are not words.
            or (not named.user_ids and not named.external_user_ids and self._are_quoted(payload))
        )

    def are_in(self, text: str) -> bool:
        """Whether a text that is not a record has an id or an address of theirs as a whole word."""
        return self._are_among(words_of(text)) or self._are_quoted(text)

    def _are_among(self, words: Iterable[str]) -> bool:
        return any(word in self._names or word.lower() in self.addresses for word in words)

    def _are_quoted(self, text: str) -> bool:
        return self._others is not None and self._others.search(text) is not None

    @cached_property
    def _names(self) -> frozenset[str]:
        return self.user_ids | self.external_user_ids | self.addresses

    @cached_property
    def _others(self) -> re.Pattern[str] | None:
        """Finds ids with spaces, quotes and the like, which are not words; None if nobody has such an id."""
        found = "|".join(re.escape(name) for name in sorted(self._names) if not is_word(name))
        return re.compile(rf"(?<![\w@.+%-])(?:{found})(?![\w@+%-])") if found else None


def people_of(warehouse: Warehouse, requests: Iterable[ErasureRequest]) -> People:
    """Return the people of some requests, with what else `users` knows them by.

    That is noted in the requests' documents, which are erased at the end: once the row of a person is gone, nothing
    else says what their address was.
    """
    known = [_completed(warehouse, request) for request in requests]
    return People(
        frozenset(user_id for request in known for user_id in request.user_ids),
        frozenset(
            user_id for request in known for user_id in (*request.external_user_ids, *request.known_external_ids)
        ),
        frozenset(address.lower() for request in known for address in request.addresses),
    )


def _completed(warehouse: Warehouse, request: ErasureRequest) -> ErasureRequest:
    from perennial.engines.duckdb import open_session

    if warehouse.table(USERS.name).current_snapshot() is None:
        return request
    binds = {"user_ids": list(request.user_ids), "external_user_ids": list(request.external_user_ids)}
    with open_session(warehouse, [USERS.name]) as session:
        rows = session.execute(statement("erase/select_known_as"), binds).fetchall()
    found = replace(
        request,
        known_external_ids=_added(request.known_external_ids, (external for _, external, _, _ in rows)),
        addresses=_added(request.addresses, (address for _, _, *both in rows for address in both)),
    )
    if found != request:
        write_request(warehouse, found)
    return found


def _added(known: tuple[str, ...], found: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *(one for one in found if one))))


def rejected_records(people: People) -> Callable[[DuckDBPyConnection], str]:
    """Return which rows of `rejected_events` are about some people, as a condition for DuckDB.

    A record that names a user is about that user alone. One that cannot be parsed is theirs if it has an id or an
    address of theirs as a whole word.
    """

    def condition(connection: DuckDBPyConnection) -> str:
        name = f"names_erased_{uuid.uuid4().hex}"
        connection.create_function(name, people.are_named, ["VARCHAR"], "BOOLEAN")
        return f"{name}(payload)"

    return condition
