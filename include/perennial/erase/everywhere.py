"""Finds people in tables and in every other place, removes them, and verifies that nothing is left (R22)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perennial.erase.arrivals import bar_arrivals
from perennial.erase.locate import locate_rows
from perennial.erase.people import People, people_of, rejected_records
from perennial.erase.places import (
    PERSONAL_TABLES,
    PLACES,
    erase_in_files,
    final,
    find_in_files,
    verify_files,
)
from perennial.erase.purge_history import PurgedFiles, purge_history
from perennial.erase.remove import remove_rows
from perennial.erase.verify_tables import verify_tables
from perennial.notify.erasure_report import PlaceCount

if TYPE_CHECKING:
    from perennial.erasures import ErasureRequest
    from perennial.moves.thaw import Files
    from perennial.warehouse import Warehouse

_CHECKED = (
    f"Of the tables {', '.join(PERSONAL_TABLES)} every data file that could hold one of these people was searched: "
    "those that a table lists, those that an earlier snapshot lists, and those that lie beside them. A file is left "
    "out if a digest of its users, made when it was written or first read, says that it holds none of them.",
    f"Of {', '.join(place.name for place in PLACES)} every file was read.",
)


@dataclass(frozen=True)
class Found:
    """What the warehouse holds of the people of some requests.

    Attributes:
        rows: Rows by user and table.
        shared: What cannot be assigned to one person: rejected records, and records of files.
        cold: Files that may hold some, and cannot be read before they are thawed.
        cold_users: The users of whom these may hold some.
    """

    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shared: tuple[PlaceCount, ...] = ()
    cold: Files = field(default_factory=dict)
    cold_users: frozenset[str] = frozenset()

    def of(self, requests: Iterable[ErasureRequest]) -> tuple[PlaceCount, ...]:
        """Return what it holds of the people of some of the requests, by place."""
        counts: Counter[str] = Counter()
        for user_id in {user_id for request in requests for user_id in request.user_ids}:
            counts.update(self.rows.get(user_id, {}))
        tables = (PlaceCount(place=table, row_count=rows) for table, rows in sorted(counts.items()))
        return (*tables, *self.shared)


@dataclass(frozen=True)
class Done:
    """What a removal did.

    Attributes:
        counts: Rows that it removed, by table.
        moving: What it had to leave to a later run because something is under way, one sentence each.
        cold: What it had to leave because it cannot be read, likewise.
        kept: What nothing here can remove, one sentence each.
        complete: Ids of the requests whose people were removed completely.
    """

    counts: dict[str, int]
    moving: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """Everything that is left to a later run."""
        return self.moving + self.cold


@dataclass(frozen=True)
class Verified:
    """The outcome of a search of everything that could hold somebody.

    Attributes:
        checked: What was read, one sentence for each kind of place.
        remaining: What was found and a later run will remove, one sentence each.
        kept: What was found and nothing here can remove, one sentence each.
    """

    checked: tuple[str, ...]
    remaining: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def find_everywhere(warehouse: Warehouse, requests: Sequence[ErasureRequest], people: People | None = None) -> Found:
    """Find what the warehouse holds of the people of some requests.

    Args:
        warehouse: Where.
        requests: The requests; what else `users` knows the people by is noted in their documents.
        people: The people, where the requests have no documents: then nothing is noted.
    """
    people = people or people_of(warehouse, requests)
    located = locate_rows(warehouse, people.user_ids, rejected_records(people))
    by_user = located.by_user or {}
    known = Counter(dict.fromkeys(located.rows, 0))
    for rows in by_user.values():
        known.update(rows)
    shared: dict[str, PlaceCount] = {}
    for table, count in located.rows.items():
        if more := count - known[table]:
            shared[table] = PlaceCount(place=table, row_count=more, request_count=len(requests))
    for found in find_in_files(warehouse, people):
        before = shared.get(found.place, PlaceCount(place=found.place, request_count=len(requests)))
        shared[found.place] = before.plus(rows=found.count, files=1)
    return Found(by_user, tuple(shared.values()), located.cold_files, located.cold_users)


def remove_everywhere(warehouse: Warehouse, requests: Sequence[ErasureRequest]) -> Done:
    """Remove what can be removed of the people of some requests now; repeat it for the rest."""
    people = people_of(warehouse, requests)
    bar_arrivals(warehouse)
    # What has not been loaded yet is loaded before its file is rewritten; so the tables come second.
    files = erase_in_files(warehouse, people)
    removed = remove_rows(warehouse, people.user_ids, rejected=rejected_records(people))
    moving = [f"{file.uri} of {file.table} belongs to a move under way" for file in removed.left]
    waiting = [str(one) for one in files if not one.is_final]
    # What is left of one person must not delay the receipts of others. It is not known whose the files are.
    complete = (
        request.request_id for request in requests if not waiting and removed.left_users.isdisjoint(request.user_ids)
    )
    cold = [f"{file.uri} of {file.table} is cold" for file in removed.cold]
    return Done(removed.rows, (*moving, *waiting), tuple(cold), final(files), tuple(complete))


def purge_everywhere(warehouse: Warehouse, requests: Sequence[ErasureRequest]) -> PurgedFiles:
    """Delete earlier files that still hold what was removed."""
    people = people_of(warehouse, requests)
    return purge_history(warehouse, people.user_ids, rejected_records(people))


def verify_everywhere(warehouse: Warehouse, requests: Sequence[ErasureRequest]) -> Verified:
    """Read everything that could hold somebody, whether a table lists it or not; nothing is changed."""
    people = people_of(warehouse, requests)
    rows = verify_tables(warehouse, people.user_ids, rejected_records(people))
    files = verify_files(warehouse, people)
    remaining = (*map(str, rows), *(str(one) for one in files if not one.is_final))
    return Verified(_CHECKED, remaining, final(files))
