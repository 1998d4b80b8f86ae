"""Documents of operations: file lists of loads and moves, whose statistics quote user ids, and texts of errors (R22).

A file list of Iceberg has the smallest and largest user id of each file. It is of use until its operation is over.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perennial.erase.files import FoundFile, LeftFile, deleted, kept
from perennial.erase.people import People
from perennial.operations import pending_records, wall_clock
from perennial.storage import StoredFile, storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

PLACE = "documents of operations"
TOPICS = ("errors", "loads", "moves")
# A load writes its lists and then its record; none takes longer for that.
_BEGINNING = timedelta(hours=1)
# Iceberg cuts texts in statistics after 16 characters, and the largest value then ends in the next character.
_STATISTICS_CHARACTERS = 15


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find the documents that quote some people."""
    return [FoundFile(PLACE, stored.uri, 1) for stored in _quoting(warehouse, people)]


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Delete those documents, except those of operations under way, which end by themselves."""
    left: list[LeftFile | None] = []
    for stored in _quoting(warehouse, people):
        under_way = _is_under_way(warehouse, stored)
        why = "it belongs to an operation under way; a later run deletes it"
        left.append(LeftFile(PLACE, stored.uri, why) if under_way else deleted(stored.uri, PLACE))
    return kept(left)


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Read every document that may quote somebody, and return those that quote some people."""
    return [LeftFile(PLACE, one.uri, "it quotes these people") for one in locate(warehouse, people)]


def _quoting(warehouse: Warehouse, people: People) -> Iterator[StoredFile]:
    if not people:
        return
    prefixes = {user_id[:_STATISTICS_CHARACTERS] for user_id in people.user_ids | people.external_user_ids}
    root = warehouse.operations_uri()
    for topic in TOPICS:
        for stored in storage_for(root).list_files(f"{root}/{topic}"):
            try:
                content = storage_for(stored.uri).read(stored.uri)
            except FileNotFoundError:
                continue
            if stored.uri.endswith(".avro"):
                if any(text[:_STATISTICS_CHARACTERS] in prefixes for text in _statistics(content)):
                    yield stored
            elif people.are_in(content.decode("utf-8", "replace")):
                yield stored


def _is_under_way(warehouse: Warehouse, stored: StoredFile) -> bool:
    directories = [record.plan_uri.rpartition("/")[0] for record in pending_records(warehouse) if record.plan_uri]
    if any(stored.uri.startswith(f"{directory}/") for directory in directories):
        return True
    return stored.uri.endswith(".avro") and wall_clock() - stored.modified_at < _BEGINNING


def _statistics(content: bytes) -> Iterator[str]:
    import fastavro

    try:
        entries = list(fastavro.reader(io.BytesIO(content)))
    except Exception as error:  # the reader raises errors of any kind on damaged bytes
        log.warning("a file list cannot be read: %s", error)
        return
    for entry in entries:
        yield from _texts(entry)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
