"""Every place where something may be kept, and whether it holds something of people (R22).

Whoever adds a table, a kind of operation document or a kind of file says here what it holds of people: a test compares
these lists with the contract, with the code, and with a whole HOME. The rows of tables are found and removed by
`locate_rows`, `remove_rows`, `purge_history` and `verify_tables`; everything else by the functions of its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perennial.erase import documents, drills, exports, landing, mails, scratch
from perennial.erase.files import FoundFile, LeftFile
from perennial.erase.people import People
from perennial.erasures.requests import TOPIC as REQUESTS
from perennial.operations import OperationStore
from perennial.tables import (
    ADOPTED_DELETIONS,
    ARCHIVE_CHECKS,
    ARCHIVED_FILES,
    AUDIENCE_VIOLATIONS,
    AUDIENCES,
    CANVAS_STEPS,
    ERASURES,
    EXPIRY_DECISIONS,
    HOLDS,
    INTERACTIONS,
    INTERACTIONS_ARCHIVE,
    LIFECYCLE_EVENTS,
    LOADED_EVENTS,
    LOADED_FILES,
    NOTICES,
    REJECTED_EVENTS,
    SOURCE_DAILY_STATS,
    SOURCE_TAGS,
    SOURCE_VARIANTS,
    SOURCES,
    USER_MESSAGE_SUMMARY,
    USERS,
    VANISHED_SOURCES,
)

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

PERSONAL_TABLES = {
    INTERACTIONS.name: "Every row is a person's.",
    INTERACTIONS_ARCHIVE.name: "Every row is a person's, also in cold storage.",
    USER_MESSAGE_SUMMARY.name: "Every row is a person's.",
    USERS.name: "Every row is a person's.",
    REJECTED_EVENTS.name: "The record of a person, as far as it could be read.",
}
"""Tables with rows of people, and what these are."""
_OF_SOURCES = "About a source; it counts people at most."
_OF_STAFF = "About a source, and addresses or names of those who work with it, as such."
IMPERSONAL_TABLES = {
    SOURCES.name: _OF_STAFF,
    VANISHED_SOURCES.name: _OF_STAFF,
    LIFECYCLE_EVENTS.name: _OF_STAFF,
    HOLDS.name: _OF_STAFF,
    NOTICES.name: _OF_STAFF,
    ADOPTED_DELETIONS.name: _OF_STAFF,
    SOURCE_TAGS.name: _OF_SOURCES,
    SOURCE_VARIANTS.name: _OF_SOURCES,
    CANVAS_STEPS.name: _OF_SOURCES,
    AUDIENCES.name: "Definitions; none of the filters names a person.",
    AUDIENCE_VIOLATIONS.name: "About definitions; none of the filters names a person.",
    SOURCE_DAILY_STATS.name: "Counts of a day. They stay, so that the figures of a source stay what they are.",
    EXPIRY_DECISIONS.name: _OF_SOURCES,
    LOADED_FILES.name: "About files.",
    LOADED_EVENTS.name: "Ids of events, which stand nowhere else once a person is erased; no load may add them again.",
    ARCHIVED_FILES.name: "About files.",
    ARCHIVE_CHECKS.name: "About files.",
    ERASURES.name: "Keyed hashes: the proof that somebody was erased, and what keeps them from coming back.",
}
"""Tables that hold nothing of people, and why."""


@dataclass(frozen=True)
class Place:
    """A kind of files outside the tables that may hold something of people.

    Attributes:
        name: Its name, as a receipt has it.
        locate: Finds the files that do; changes nothing.
        erase: Removes what they hold of the people, and nothing else; returns what had to stay. It can be killed
            anywhere and repeated.
        remaining: Reads everything once more, and returns what still holds something, or cannot be read.
    """

    name: str
    locate: Callable[[Warehouse, People], list[FoundFile]]
    erase: Callable[[Warehouse, People], list[LeftFile]]
    remaining: Callable[[Warehouse, People], list[LeftFile]]


PLACES = tuple(
    Place(module.PLACE, module.locate, module.erase, module.remaining)
    for module in (landing, exports, mails, documents, drills, scratch)
)

_UNWRITABLE = "unwritable"
PERSONAL_TOPICS = {
    **dict.fromkeys(documents.TOPICS, documents.PLACE),
    drills.TOPIC: drills.PLACE,
    # Digests of the users of a file; they go with the file.
    "digests": "tables",
    # Erased last, when nothing needs to know any more whom a request was about.
    REQUESTS: "requests to erase people",
}
"""Directories of operation documents that may hold something of people, and the place that erases them."""
_RUN = "About a run: sources, files, and addresses of those who asked for it."
IMPERSONAL_TOPICS = {
    "archive": "About files of the archive.",
    "cancellations": _RUN,
    "checks": "About files of the archive.",
    "decided": "About sources.",
    "deliveries": "Which e-mail went to which of those who work with sources.",
    "erasing": "Which requests a run carries out.",
    "heads": "About snapshots.",
    "pending": _RUN,
    "purges": "Addresses of files that are to be deleted.",
    "receipts": "What was done for a request, which names nobody.",
    "requests": _RUN,
    "restores": _RUN,
    "rights": "Empty files that show whether something can be written.",
    "thaws": _RUN,
    "totals": "Sums by source.",
    "turns": _RUN,
    _UNWRITABLE: "Addresses of files that nothing here may change.",
    "unsent-receipts": "Which receipts have still to be sent.",
    "undelivered": "Which e-mail did not reach which of those who work with sources.",
}
"""Directories of operation documents that hold nothing of people, and why."""

PERSONAL_FILES = {
    "archive/": "tables",
    "demo/waiting/": landing.PLACE,
    "exporting/": exports.PLACE,
    "exports/": exports.PLACE,
    "landing/": landing.PLACE,
    "mail/": mails.PLACE,
    "warehouse/": "tables",
}
"""Files below HOME that may hold something of people, and the place that erases them."""
IMPERSONAL_FILES = {
    "airflow/": "Airflow's own; the receipt says what it keeps and how that is cleaned.",
    "catalog.db": "Where the metadata of the tables is.",
    "demo/": "Marks of the sample.",
    "erasure.key": "The key of the hashes.",
    "platform.db": "The messaging platform of the sample, which erases by itself.",
}
"""Files below HOME that hold nothing of people, or that somebody else erases, and why."""


def find_in_files(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find what all places but the tables hold of some people."""
    return [found for place in PLACES for found in place.locate(warehouse, people)]


def erase_in_files(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Remove what all places but the tables hold of some people; returns what had to stay, and why."""
    left = [one for place in PLACES for one in place.erase(warehouse, people)]
    # Noted for the verification, which changes nothing, and so cannot find out.
    OperationStore.of(warehouse).put(_UNWRITABLE, {one.uri: one.why for one in left if one.is_final}, "files")
    return left


def verify_files(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Read all places but the tables, and return what still holds something of some people, or cannot be read.

    What is final is not worth another run: the receipt names it, so that the operator removes it.
    """
    unwritable = OperationStore.of(warehouse).find(_UNWRITABLE, "files") or {}
    return [
        replace(left, why=unwritable[left.uri], is_final=True) if left.uri in unwritable else left
        for place in PLACES
        for left in place.remaining(warehouse, people)
    ]


def final(left: Iterable[LeftFile]) -> tuple[str, ...]:
    """Return what the receipt has to name, one sentence each."""
    return tuple(str(one) for one in left if one.is_final)
