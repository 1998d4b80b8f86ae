"""What compaction on an engine leaves behind, and how it goes: tables from the catalog, their files when they are old.

A note in `operations/compactions/` says where a staging table's files lie, for longer than the table is there. Files
are deleted by `purge_files` like all others (M8): not before they are older than the window, and never one that a table
of the warehouse reaches.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from perennial.warehouse.staging import changed_at, create_staging, drop_staging, find_staging, staging_names

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# No statement of an engine takes as long.
GIVEN_UP_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class StagingNote:
    """Where the files of a staging table lie.

    Attributes:
        uri: The note's own address.
        name: The table.
        location: The directory that is the table's own.
        written_at: When the note was written.
    """

    uri: str
    name: str
    location: str
    written_at: datetime


@contextmanager
def staging_table(warehouse: Warehouse, table: Table) -> Iterator[Table]:
    """Have an empty table like a loaded one until the block ends."""
    staging = create_staging(warehouse, table)
    name = staging.name()[-1]
    try:
        _note(warehouse, staging)
        yield staging
    finally:
        drop_staging(warehouse, name)


def drop_left_stagings(warehouse: Warehouse, now_wall_clock: datetime) -> list[StagingNote]:
    """Take staging tables that dead runs have left out of the catalog.

    Returns:
        Where staging tables have or had their files.
    """
    noted = {note.name for note in _notes(warehouse)}
    for name in staging_names(warehouse):
        table = find_staging(warehouse, name)
        if table is None:
            continue
        if name not in noted:
            # Its run was killed before it could say so.
            _note(warehouse, table)
        if changed_at(table) < now_wall_clock - GIVEN_UP_AFTER:
            log.info("dropping %s, which a run that was killed has left", name)
            drop_staging(warehouse, name)
    return list(_notes(warehouse))


def forget_stagings(warehouse: Warehouse, notes: list[StagingNote], cutoff: datetime) -> None:
    """Remove the notes that are older than the window, and whose table is gone with all its files."""
    present = set(staging_names(warehouse)) if notes else set()
    for note in notes:
        old = note.written_at < cutoff and note.name not in present
        if old and not any(storage_for(note.location).list_files(note.location)):
            storage_for(note.uri).delete(note.uri)


def _note(warehouse: Warehouse, staging: Table) -> None:
    name = staging.name()[-1]
    uri = f"{_directory(warehouse)}/{name}.json"
    content = {"name": name, "location": staging.location().rstrip("/")}
    storage_for(uri).write(uri, json.dumps(content).encode())


def _notes(warehouse: Warehouse) -> Iterator[StagingNote]:
    directory = _directory(warehouse)
    storage = storage_for(directory)
    for stored in storage.list_files(directory):
        # Another purge has just removed it.
        with suppress(FileNotFoundError):
            noted = json.loads(storage.read(stored.uri))
            yield StagingNote(stored.uri, noted["name"], noted["location"], stored.modified_at)


def _directory(warehouse: Warehouse) -> str:
    return f"{warehouse.operations_uri()}/compactions"
