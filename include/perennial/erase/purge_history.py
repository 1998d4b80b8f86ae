"""Purges what the removal of rows has left behind: earlier snapshots, and the files that only they refer to (R22, M8).

1. Write down which files only earlier snapshots of the tables refer to: data files, delete files, manifests, lists.
2. Expire these snapshots, whatever `retain_days` says, as far as no operation under way began before them.
3. Of what was written down and is no longer referred to by any snapshot, delete the metadata, and the data files that
   hold rows of these users or cannot be read; the others are left to `maintenance.purge`. The age of a file does not
   matter here: each was listed once and then removed, so nobody is about to list it, except for a move under way, whose
   plan names it. A process that dies before leaves the document, and the next call starts from it.
4. Delete other files that no snapshot refers to and that hold rows of these users: copies of moves that are over, files
   of compactions and loads that lost a race. Nobody can list them any more, because their originals are gone, and
   because of the commit to the ledger that a removal begins with. What cannot be read, being cold or unfinished, has to
   be a day old.

What a bucket, a tag, a branch or a property of a table keeps is not touched, but named.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from perennial.currents.commit import finish_pending_loads
from perennial.engines.duckdb import local_path
from perennial.erase.digests import drop_digests
from perennial.erase.tables import conditions, rows_of
from perennial.erase.verify_tables import Remaining, count_rows, earlier_rows, stray_files, stray_rows
from perennial.maintenance.purge import awaited_names, named_by
from perennial.moves.move_plan import file_name
from perennial.moves.rewrite import Condition
from perennial.operations import OperationRecord, OperationStore, pending_records, wall_clock
from perennial.storage import storage_for
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses
from perennial.warehouse.history import (
    directories,
    earlier_files,
    expire_snapshots,
    keeps_files,
    neighbours,
    reachable_files,
)

log = logging.getLogger(__name__)

_TOPIC = "purges"
# Clocks of machines differ by less, and so does the clock of a catalog.
_CLOCKS_DIFFER = timedelta(hours=1)
# Older than any file that a running writer has not listed yet, as for `retain_days`.
_SURELY_OVER = timedelta(days=1)


@dataclass(frozen=True)
class PurgedFiles:
    """What one call purged, and what keeps it from purging more.

    Attributes:
        files: Addresses of the files that were deleted.
        snapshots: Expired snapshots by table.
        remaining: Files that still hold or may hold rows of these users, each with the reason.
        under_way: Operations that began before the rows were removed and may still need the files, one sentence each:
            call it again when they are over.
        kept: What an operator has to release: buckets that keep what is deleted, and tables whose files must not be.
    """

    files: tuple[str, ...] = ()
    snapshots: Mapping[str, int] = field(default_factory=dict)
    remaining: tuple[Remaining, ...] = ()
    under_way: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def purge_history(warehouse: Warehouse, user_ids: Collection[str], rejected: Condition | None = None) -> PurgedFiles:
    """Delete the files from which rows of some users were removed, and what earlier snapshots need of them.

    Args:
        warehouse: Where.
        user_ids: The users; `remove_rows` has removed their rows.
        rejected: As in `locate_rows`.

    Raises:
        TerminalDataError: A table was set back; nothing was deleted.
        TransientConflictError: Other writers kept committing first.
    """
    wanted = conditions(user_ids, rejected)
    if not wanted:
        return PurgedFiles()
    refuse_losses(warehouse)
    finish_pending_loads(warehouse)
    pending = list(pending_records(warehouse))
    deletable = {name: one for name, one in wanted.items() if not keeps_files(warehouse.table(name))}
    snapshots = _expire(warehouse, deletable, pending)
    deleted = _delete_unreferred(warehouse, wanted, pending)
    deleted += _delete_strays(warehouse, deletable, pending)
    drop_digests(warehouse, rows_of(user_ids))
    remaining = [*earlier_rows(warehouse, wanted), *stray_rows(warehouse, wanted, stray_files(warehouse, wanted))]
    log.info("erase: %s deleted, %d remain", pluralize(len(deleted), "file"), len(remaining))
    return PurgedFiles(
        files=tuple(deleted),
        snapshots=snapshots,
        remaining=tuple(remaining),
        under_way=tuple(f"{one.kind} {one.id} began at {one.created_at}" for one in pending) if remaining else (),
        kept=tuple(_kept(warehouse, wanted)),
    )


def _expire(warehouse: Warehouse, names: Collection[str], pending: Iterable[OperationRecord]) -> dict[str, int]:
    """Write down what only earlier snapshots of some tables refer to, then expire them."""
    tables = [warehouse.table(name) for name in names]
    for table in tables:
        if uris := sorted(earlier_files(table)):
            OperationStore.of(warehouse).put(_TOPIC, {"table": table.name()[-1], "uris": uris})
    now = wall_clock()
    # A move looks up in the snapshots since it began who removed a file.
    needed = min((datetime.fromisoformat(one.created_at) - _CLOCKS_DIFFER for one in pending), default=None)
    expired = {}
    for table in tables:
        snapshot = table.current_snapshot()
        if snapshot is None:
            continue
        replaced = datetime.fromtimestamp((snapshot.timestamp_ms + 1) / 1000, UTC)
        cutoff = replaced if needed is None else min(replaced, needed)
        if count := expire_snapshots(warehouse, table.name()[-1], cutoff, now):
            expired[table.name()[-1]] = count
    return expired


def _delete_unreferred(
    warehouse: Warehouse, wanted: Mapping[str, Condition], pending: Iterable[OperationRecord]
) -> list[str]:
    """Delete what was written down, now or by a call that died, and that no snapshot refers to any more."""
    directory = f"{warehouse.operations_uri()}/{_TOPIC}"
    documents = {stored.uri: OperationStore.get(stored.uri) for stored in storage_for(directory).list_files(directory)}
    noted = {local_path(uri): (one["table"], uri) for one in documents.values() for uri in one["uris"]}
    for table in [*map(warehouse.table, wanted), *neighbours(warehouse)] if noted else ():
        for uri in reachable_files(table):
            noted.pop(local_path(uri), None)
    useless = [uri for _, uri in noted.values() if not uri.endswith(".parquet")]
    for name, condition in wanted.items():
        files = [uri for table, uri in noted.values() if table == name and uri.endswith(".parquet")]
        useless += [uri for uri, _ in count_rows(warehouse, warehouse.table(name), condition, files)]
    needed = _needed(warehouse, pending) if useless else set()
    deleted = _delete(uri for uri in useless if file_name(uri) not in needed)
    # What was left out is referred to, and so is found again, or looked at as a stray file.
    for document in documents:
        storage_for(document).delete(document)
    return deleted


def _delete_strays(
    warehouse: Warehouse, wanted: Mapping[str, Condition], pending: Iterable[OperationRecord]
) -> list[str]:
    """Delete files that no snapshot refers to and that hold rows of these users, or are old and cannot be read."""
    strays = {stray.stored.uri: stray for stray in stray_files(warehouse, wanted)}
    found = stray_rows(warehouse, wanted, strays.values())
    needed = _needed(warehouse, pending) if found else set()
    over = wall_clock() - _SURELY_OVER

    def is_useless(one: Remaining) -> bool:
        stray = strays[one.uri]
        return stray.stored.modified_at < over or not (one.row_count is None or stray.is_unfinished)

    return _delete(one.uri for one in found if file_name(one.uri) not in needed and is_useless(one))


def _needed(warehouse: Warehouse, pending: Iterable[OperationRecord]) -> set[str]:
    """Names of files that operations under way, or the next move of a file that is live, may list."""
    return named_by(warehouse, pending) | awaited_names(warehouse)


def _delete(uris: Iterable[str]) -> list[str]:
    deleted = list(uris)
    if deleted:
        with ThreadPoolExecutor(storage_for(deleted[0]).in_flight) as pool:
            list(pool.map(lambda uri: storage_for(uri).delete(uri), deleted))
    return deleted


def _kept(warehouse: Warehouse, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        table = warehouse.table(name)
        if keeps_files(table):
            yield f"Table {name} has gc.enabled = false, so none of its snapshots and files was deleted."
        for directory in directories(table):
            if reason := storage_for(directory.uri).keeps_deleted(directory.uri):
                yield f"{directory.uri}: {reason}. Earlier versions of files there still hold the rows."
