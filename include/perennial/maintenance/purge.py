"""M8: physical deletion of what no retained snapshot of any table and no operation under way reaches.

The order closes every race with operations that go on meanwhile:

1. List what lies in the tables' directories. A file written after that is not on the list.
2. Read the pending records, and set aside what their plans and file lists name.
3. Read the tables' metadata, fresh. An operation whose record was gone in step 2 had made all its commits before, so
   they show here; one whose record was there protects its files. No other old file can enter a table any more, with
   one exception: the name of a copy is a hash of its original (M1), so what a dead move left is written and used again
   by the next move of the same file. Hence
4. Set aside every name that a move planned from the tables as they are now would use. A move that planned earlier and
   has no record in step 2 is over. One that plans later plans files that are live now, or files that are added after
   this look, whose copies are made after it as well.
   Likewise what may be the last copy of rows that `lifecycle_events` counts on (`moves.last_copies`).
5. Delete one by one, looking at each file's age once more immediately before: a copy that was made anew is young.

Whose a file is. Below a table's own location, files with names that this product or an Iceberg library gives are the
table's. The archive's data files may lie in a bucket that others use too, also other workspaces with names like these:
there only files are deleted that `archived_files` or the plan of a move says this workspace has written.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from perennial.errors import TerminalDataError
from perennial.maintenance.last_copies import last_copies
from perennial.maintenance.operations import FILE_TOPICS, OperationFiles, list_operations
from perennial.maintenance.snapshots import PENDING_MARGIN, RETAIN_DAYS, refuse_short_retention
from perennial.moves.plan import DIRECTIONS, RESTORE, copy_names, file_name, find_plan
from perennial.operations import OperationRecord, pending_records
from perennial.storage import StoredFile, storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, TABLES
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.files import read_file_list
from perennial.warehouse.heads import refuse_losses
from perennial.warehouse.history import contradicts, directories, keeps_files, neighbours, reachable_files

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

IN_FLIGHT = 8
_HEX = "[0-9a-f]{32}(?:[0-9a-f]{32})?"
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Data files of this product; data and delete files of pyiceberg and of Iceberg's Java library; metadata of both.
_TABLE_FILE = re.compile(
    rf"(?:[a-z]+-)?{_HEX}(?:-\d+)?\.parquet"
    rf"|\d{{5}}-\d+-{_UUID}(?:-\d+)*(?:-deletes)?\.(?:parquet|avro|orc|puffin)"
    rf"|\d{{5}}-{_UUID}(?:\.gz)?\.metadata\.json(?:\.gz)?|{_UUID}-m\d+\.avro|snap-\d+-\d+-{_UUID}\.avro"
)
# What a killed writer leaves: a temporary file, or the staging directory of `write_files`. No table ever lists one.
_UNFINISHED = re.compile(rf"/\.{_HEX}(?:/partition_number=\d+/part-{_UUID}\.parquet)?$")


@dataclass(frozen=True)
class PurgeOutcome:
    """What was deleted.

    Attributes:
        file_count: Files deleted.
        total_bytes: Their size.
        foreign_count: Files that no table reaches and that were left, because nothing says they are this workspace's.
    """

    file_count: int
    total_bytes: int
    foreign_count: int


@dataclass(frozen=True)
class _Found:
    """A file that may be one of ours; `shared` where others may write to its directory too."""

    stored: StoredFile
    shared: bool

    @property
    def unfinished(self) -> bool:
        return _UNFINISHED.search(self.stored.uri) is not None


def purge_files(warehouse: Warehouse, now_wall_clock: datetime, retain_days: int = RETAIN_DAYS) -> PurgeOutcome:
    """Delete unreachable files of every table, and plans, notes and reports of finished operations, that are old.

    Raises:
        TerminalSettingError: retain_days is below 1.
        TerminalDataError: A table was set back, or the catalog cannot be trusted to know every file; nothing was
            deleted.
    """
    refuse_short_retention(retain_days)
    refuse_losses(warehouse)
    cutoff = now_wall_clock - timedelta(days=retain_days)
    found, foreign_count = _list_files(warehouse)
    operations = list(list_operations(warehouse))
    pending = list(pending_records(warehouse))
    protected = _named_by(warehouse, pending)
    tables = [warehouse.table(declared.name) for declared in TABLES]
    others = neighbours(warehouse)
    _refuse_contradictions(tables, found, {str(other.metadata.table_uuid) for other in others})
    _drop_reachable([*tables, *others], found)
    old = {name for name, file in found.items() if file.stored.modified_at < cutoff} - protected
    if any(not found[name].unfinished for name in old):
        old -= _awaited_names(warehouse) | last_copies(warehouse)
    owned = _owned(warehouse, operations, {name for name in old if found[name].shared and not found[name].unfinished})
    purgeable = [name for name in old if not found[name].shared or found[name].unfinished or name in owned]
    deleted = _delete([found[name].stored for name in purgeable], cutoff)
    left = found.keys() - {file_name(stored.uri) for stored in deleted}
    deleted += _delete(_finished(operations, pending, left, cutoff), cutoff)
    outcome = PurgeOutcome(
        len(deleted), sum(stored.file_bytes for stored in deleted), foreign_count + len(old) - len(purgeable)
    )
    log.info("purge: %s", outcome)
    return outcome


def _list_files(warehouse: Warehouse) -> tuple[dict[str, _Found], int]:
    """List what lies in the tables' directories, by name; a name says which file it is wherever a directory moves to.

    Returns:
        The files that have names like ours; how many others there are in the tables' own locations.
    """
    found: dict[str, _Found] = {}
    foreign_count = 0
    tables = [warehouse.table(declared.name) for declared in TABLES]
    # Their owner has set gc.enabled to false: other tables may share their files.
    untouched = {directory.uri for table in tables if keeps_files(table) for directory in directories(table)}
    for table in tables:
        for directory in directories(table):
            if directory.uri in untouched:
                continue
            for stored in storage_for(directory.uri).list_files(directory.uri):
                name = file_name(stored.uri)
                if _TABLE_FILE.fullmatch(name) or _UNFINISHED.search(stored.uri):
                    # Of two files of one name the first is enough for today.
                    found.setdefault(name, _Found(stored, not directory.exclusive))
                elif directory.exclusive:
                    foreign_count += 1
                    log.debug("%s is no file of an Iceberg table, left alone", stored.uri)
    return found, foreign_count


def _named_by(warehouse: Warehouse, pending: Iterable[OperationRecord]) -> set[str]:
    """Names of the files that operations under way have written, will write or still need."""
    table = warehouse.table(INTERACTIONS.name)
    names: set[str] = set()
    for record in pending:
        if record.kind in DIRECTIONS:
            # It names every file in the move's lists. Without one nothing has been copied, and the lists may be half
            # written.
            plan = find_plan(record.plan_uri)
            for step in plan.steps if plan else ():
                names.update(map(file_name, (step.copy_uri, *step.originals, *step.deletes)))
            continue
        for uri in record.file_lists:
            # Absent: its operation has just finished, and what it has committed is found in the tables.
            with suppress(FileNotFoundError):
                names.update(file_name(data_file.file_path) for data_file in read_file_list(table, uri))
    return names


def _refuse_contradictions(tables: Iterable[Table], found: dict[str, _Found], others: Collection[str]) -> None:
    """Refuse to delete anything when metadata lies beside a table's own that the catalog should know, but does not."""
    metadata_files = {name: file.stored.uri for name, file in found.items() if "metadata.json" in name}
    for table in tables:
        known = {file_name(entry.metadata_file) for entry in table.metadata.metadata_log}
        known.add(file_name(table.metadata_location))
        metadata_uri = table.location_provider().metadata_path.rstrip("/")
        for name, uri in metadata_files.items():
            if name in known or uri != f"{metadata_uri}/{name}":
                continue
            if reason := contradicts(table, uri, others):
                raise TerminalDataError(
                    f"{uri} {reason}: the catalog may have been set up anew or restored from an old backup, and files "
                    f"of {table.name()[-1]} that it does not know may be precious. Nothing was purged. Register that "
                    "metadata file in the catalog, or delete it if it is really of no use."
                )


def _drop_reachable(tables: Iterable[Table], found: dict[str, _Found]) -> None:
    """Take what the tables reach off the list, so that no second set of all files is held."""
    started = time.monotonic()
    count = 0
    for table in tables:
        for uri in reachable_files(table):
            found.pop(file_name(uri), None)
            count += 1
    seconds = max(time.monotonic() - started, 1e-9)
    read, unreached = pluralize(count, "reference"), pluralize(len(found), "file")
    log.info("purge: %s read, %.0f a second; %s not reached", read, count / seconds, unreached)


def _awaited_names(warehouse: Warehouse) -> set[str]:
    """Names of leftover copies that the next move would use again (M1): their originals are live in the other table."""
    return {
        name
        for direction in DIRECTIONS.values()
        for name in copy_names(warehouse.live_files(warehouse.table(direction.origin)))
    }


def _owned(warehouse: Warehouse, operations: Iterable[OperationFiles], names: set[str]) -> set[str]:
    """Which files of a shared directory this workspace's own records say it has written."""
    if not names:
        return set()
    noted = warehouse.table(ARCHIVED_FILES.name).scan(selected_fields=("file_uri",)).to_arrow_batch_reader()
    owned = {file_name(uri) for batch in noted for uri in batch["file_uri"].to_pylist()} & names
    for operation in operations:
        owned |= operation.copy_names & names
    return owned


def _finished(
    operations: Iterable[OperationFiles], pending: Collection[OperationRecord], left: set[str], cutoff: datetime
) -> list[StoredFile]:
    """Files of operations that are over and old, and none of whose copies is left: their plans say whose those are.

    What tasks of a run tell each other is kept while a restore that may need it is under way: it waits for days where
    its files have to be thawed.
    """
    started = [datetime.fromisoformat(record.created_at) for record in pending if record.kind == RESTORE.name]
    told_before = min([cutoff, *(moment - PENDING_MARGIN for moment in started)])
    uris = {uri for record in pending for uri in (record.plan_uri, *record.file_lists)}
    return [
        stored
        for operation in operations
        if operation.changed_at < (told_before if operation.topic in FILE_TOPICS else cutoff)
        and not any(uri == operation.uri or uri.startswith(f"{operation.uri}/") for uri in uris)
        and operation.copy_names.isdisjoint(left)
        for stored in operation.files
    ]


def _delete(files: list[StoredFile], cutoff: datetime) -> list[StoredFile]:
    started = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        deleted = [stored for stored in pool.map(lambda stored: _delete_old(stored, cutoff), files) if stored]
    if deleted:
        rate = len(deleted) / max(time.monotonic() - started, 1e-9)
        removed = pluralize(len(deleted), "file"), pluralize(_bytes(deleted), "byte")
        log.info("purge: %s deleted, %s, %.0f a second", *removed, rate)
    return deleted


def _delete_old(stored: StoredFile, cutoff: datetime) -> StoredFile | None:
    storage = storage_for(stored.uri)
    now = storage.stat(stored.uri)
    if now is None or now.modified_at >= cutoff:
        return None
    storage.delete(stored.uri)
    return now


def _bytes(files: Iterable[StoredFile]) -> int:
    return sum(stored.file_bytes for stored in files)
