"""M8: physical deletion of files that no retained snapshot of any table and no operation under way refers to.

The order prevents every race with concurrent operations:

1. List the files in the tables' directories. A file written after that is not on the list.
2. Read the pending records, and set aside what their plans and file lists name.
3. Read the tables' metadata, fresh. An operation whose record was gone in step 2 had made all its commits before, so
   they show here; one whose record was there protects its files. No other old file can enter a table any more, with
   one exception: the name of a copy is a hash of its original (M1), so a file of a dead move is written and used again
   by the next move of the same file. Hence
4. Set aside every name that a move planned from the tables as they are now would use. A move that planned earlier and
   has no record in step 2 is over. One that plans later plans files that are live now, or files that are added after
   this look, whose copies are made after it as well.
   Likewise files that may be the last copy of rows in `lifecycle_events` (`maintenance.last_copies`).
5. Delete one by one, checking each file's age once more immediately before: a new copy is young.

The owner of a file: below a table's own location, files with names that this product or an Iceberg library gives belong
to the table. The archive's data files may be in a bucket that others use too, even other workspaces with similar names:
there, only files are deleted that this workspace has written according to `archived_files` or the plan of a move.
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
from perennial.moves.move_plan import DIRECTIONS, RESTORE, copy_names, file_name, find_plan
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
# Remains of a killed writer: a temporary file, or the staging directory of `write_files`. No table lists them.
UNFINISHED = re.compile(rf"/\.{_HEX}(?:/partition_number=\d+/part-{_UUID}\.parquet)?$")


@dataclass(frozen=True)
class PurgeOutcome:
    """The result of a purge.

    Attributes:
        file_count: Files deleted.
        total_bytes: Their size.
        foreign_count: Unreachable files that were left, because this workspace is not known to have written them.
    """

    file_count: int
    total_bytes: int
    foreign_count: int


@dataclass(frozen=True)
class _Found:
    """A file that may be one of ours; `shared` if others may write to its directory too."""

    stored: StoredFile
    shared: bool

    @property
    def unfinished(self) -> bool:
        return UNFINISHED.search(self.stored.uri) is not None


def purge_files(warehouse: Warehouse, now_wall_clock: datetime, retain_days: int = RETAIN_DAYS) -> PurgeOutcome:
    """Delete old unreachable files of every table, and old plans, records and reports of finished operations.

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
    protected = named_by(warehouse, pending)
    tables = [warehouse.table(declared.name) for declared in TABLES]
    others = neighbours(warehouse)
    _refuse_contradictions(tables, found, {str(other.metadata.table_uuid) for other in others})
    _drop_reachable([*tables, *others], found)
    old = {name for name, file in found.items() if file.stored.modified_at < cutoff} - protected
    if any(not found[name].unfinished for name in old):
        old -= awaited_names(warehouse) | last_copies(warehouse)
    owned = owned_names(
        warehouse, operations, {name for name in old if found[name].shared and not found[name].unfinished}
    )
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
    """List the files in the tables' directories by name, which identifies a file even if its directory moves.

    Returns:
        The files with names like ours, and the number of others in the tables' own locations.
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
                if _TABLE_FILE.fullmatch(name) or UNFINISHED.search(stored.uri):
                    # Of two files with the same name, this run takes only the first.
                    found.setdefault(name, _Found(stored, not directory.exclusive))
                elif directory.exclusive:
                    foreign_count += 1
                    log.debug("%s is not a file of an Iceberg table and was left", stored.uri)
    return found, foreign_count


def named_by(warehouse: Warehouse, pending: Iterable[OperationRecord]) -> set[str]:
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
            # If it is absent, its operation has just finished, and its commits are in the tables.
            with suppress(FileNotFoundError):
                names.update(file_name(data_file.file_path) for data_file in read_file_list(table, uri))
    return names


def _refuse_contradictions(tables: Iterable[Table], found: dict[str, _Found], others: Collection[str]) -> None:
    """Refuse to delete anything if there is metadata beside a table's own that the catalog should know but does not."""
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
                    f"of {table.name()[-1]} that it does not know may be needed. Nothing was purged. Register that "
                    "metadata file in the catalog, or delete it if it is really useless."
                )


def _drop_reachable(tables: Iterable[Table], found: dict[str, _Found]) -> None:
    """Remove reachable files from the list, so that no second set of all files is in memory."""
    started = time.monotonic()
    count = 0
    for table in tables:
        for uri in reachable_files(table):
            found.pop(file_name(uri), None)
            count += 1
    seconds = max(time.monotonic() - started, 1e-9)
    read, unreached = pluralize(count, "reference"), pluralize(len(found), "file")
    log.info("purge: %s read, %.0f a second; %s not reached", read, count / seconds, unreached)


def awaited_names(warehouse: Warehouse) -> set[str]:
    """Names of leftover copies that the next move would use again (M1): their originals are live in the other table."""
    return {
        name
        for direction in DIRECTIONS.values()
        for name in copy_names(warehouse.live_files(warehouse.table(direction.origin)))
    }


def owned_names(warehouse: Warehouse, operations: Iterable[OperationFiles], names: set[str]) -> set[str]:
    """The files of a shared directory that this workspace has written, according to its own records."""
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
    """Files of old finished operations without remaining copies, because plans show the owner of copies.

    Files that tasks of a run pass to each other are kept while a restore that may need them is under way: it waits for
    days if its files have to be thawed.
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
