"""Copies that a drill of the archive makes of its files, and deletes at its end (R22)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from perennial.drills.rehearsal import clean_up
from perennial.erase.files import FoundFile, LeftFile
from perennial.erase.people import People
from perennial.operations import Run, wall_clock
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

PLACE = "copies made by drills of the archive"
TOPIC = "drills"


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find all copies; it does not matter whose rows they hold, because they are deleted when the drill is over."""
    place = f"{warehouse.operations_uri()}/{TOPIC}"
    found = storage_for(place).list_files(place) if people else ()
    return [FoundFile(PLACE, stored.uri, 1) for stored in found if stored.uri.endswith(".parquet")]


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Delete what dead drills have left; returns the copies of a drill that is under way, or has just died."""
    clean_up(warehouse, Run(f"erasure {uuid.uuid4().hex}", wall_clock()))
    return remaining(warehouse, people)


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Return the copies there are."""
    why = "a drill is under way, or died less than a day ago; a later run finds it gone, or deletes it"
    return [LeftFile(PLACE, one.uri, why) for one in locate(warehouse, people)]
