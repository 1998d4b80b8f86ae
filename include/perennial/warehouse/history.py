"""A table's history: which files its retained snapshots refer to, and how old snapshots are expired."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, RemoveSnapshotsUpdate
from pyiceberg.utils.properties import property_as_bool, property_as_int

from perennial.tables import COUNTED, TABLES
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.commits import load_whole_table, set_tag
from perennial.warehouse.entries import entries_of
from perennial.warehouse.lineage import GIVEN_UP_KEY, TAG, THINNED_KEY, History, is_thinned, thinned_property
from perennial.warehouse.races import repeat_lost_races

if TYPE_CHECKING:
    from perennial.warehouse.catalog import Warehouse

log = logging.getLogger(__name__)

# Properties with which a table's owner protects snapshots and files.
_GC_ENABLED = "gc.enabled"
_MAX_AGE, _MIN_SNAPSHOTS = "history.expire.max-snapshot-age-ms", "history.expire.min-snapshots-to-keep"

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class TableDirectory:
    """A directory that a table writes to.

    Attributes:
        uri: Address.
        exclusive: Whether it is inside the table's own location, which by Iceberg's convention nobody else uses.
    """

    uri: str
    exclusive: bool


def directories(table: Table) -> tuple[TableDirectory, ...]:
    """Return the directories of a table's data and metadata files, each once."""
    location = table.location().rstrip("/")
    provider = table.location_provider()
    uris = dict.fromkeys((f"{location}/data", f"{location}/metadata", provider.data_path, provider.metadata_path))
    return tuple(TableDirectory(uri, uri.startswith(f"{location}/")) for uri in uris)


def reachable_files(table: Table) -> Iterator[str]:
    """List the addresses of all files that the loaded metadata and its snapshots refer to.

    Metadata files, statistics, manifest lists, manifests, data files and delete files; manifests that several snapshots
    share are read once.
    """
    metadata = table.metadata
    yield table.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in metadata.statistics)
    yield from (statistics.statistics_path for statistics in metadata.partition_statistics)
    read: set[str] = set()
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def earlier_files(table: Table) -> dict[str, set[int]]:
    """List the files that only earlier snapshots of a table refer to, each with the ids of these snapshots.

    Manifest lists, manifests, data files and delete files. What the current snapshot lists too is read one by one, so
    memory is bounded by what has changed.
    """
    current = table.current_snapshot()
    listed = list(current.manifests(table.io)) if current is not None else []
    kept = {manifest.manifest_path for manifest in listed}
    found: dict[str, set[int]] = {}
    entries: dict[str, list[str]] = {}
    for snapshot in table.metadata.snapshots:
        if current is not None and snapshot.snapshot_id == current.snapshot_id:
            continue
        found.setdefault(snapshot.manifest_list, set()).add(snapshot.snapshot_id)
        for manifest in snapshot.manifests(table.io):
            path = manifest.manifest_path
            if path in kept:
                continue
            if path not in entries:
                entries[path] = [entry.data_file.file_path for entry in entries_of(manifest, table.io)]
            for uri in (path, *entries[path]):
                found.setdefault(uri, set()).add(snapshot.snapshot_id)
    for manifest in listed if found else ():
        for entry in entries_of(manifest, table.io):
            found.pop(entry.data_file.file_path, None)
    return found


def neighbours(warehouse: Warehouse) -> list[Table]:
    """Load the tables of the namespace that share a directory with one of the contract's.

    A renamed table keeps its location, and a new table under its former name gets the same one.
    """
    namespace, known = warehouse.settings.namespace, {table.name for table in TABLES}
    with catalog_errors(warehouse.settings.catalog):
        names = {name for *_, name in warehouse.catalog.list_tables(namespace)} - known
        others = []
        for name in sorted(names):
            # A staging table may be dropped at any moment.
            with suppress(NoSuchTableError):
                others.append(warehouse.catalog.load_table((namespace, name)))
    places = {directory.uri for name in known for directory in directories(warehouse.table(name))} if others else set()
    return [other for other in others if any(directory.uri in places for directory in directories(other))]


def contradicts(table: Table, metadata_uri: str, others: Collection[str] = ()) -> str:
    """Say why a metadata file beside a table's own makes the catalog untrustworthy; empty if it does not.

    A catalog that was lost and set up anew, or restored from an old backup, does not know files that may be needed.

    Args:
        table: As loaded.
        metadata_uri: The file.
        others: Ids of tables that the catalog knows and that write to the same directory.
    """
    try:
        found = FromInputFile.table_metadata(table.io.new_input(metadata_uri))
    except (OSError, ValueError):
        # A commit has just removed it, or a writer was killed while writing it, so it was never committed.
        return ""
    if str(found.table_uuid) in others:
        return ""
    if found.table_uuid != table.metadata.table_uuid:
        return f"belongs to another table ({found.table_uuid}, not {table.metadata.table_uuid})"
    if table.name()[-1] not in COUNTED:
        # The next sync replaces the whole table, so files that the catalog has forgotten are not needed.
        return ""
    ahead, current = (getattr(one, "last_sequence_number", 0) for one in (found, table.metadata))
    # A writer that was killed before its commit leaves a file one number above the current.
    if ahead > current + 1:
        return f"is newer (sequence number {ahead}) than what the catalog has ({current})"
    return ""


def expire_snapshots(
    warehouse: Warehouse, name: str, cutoff: datetime, now: datetime, thin_before: datetime | None = None
) -> int:
    """Expire the snapshots that were replaced before some time, by compare-and-swap; deletes no file.

    The heads of branches, tags, every snapshot since then and the one that was current then are kept, so that the state
    at any moment since can still be read and the history since then has no gaps. Snapshots that the table's properties
    and branches protect are kept as well; no branch and no tag is ever removed. Of snapshots that only added files one
    an hour is kept; the operations of the others stay known.

    Args:
        warehouse: The tables.
        name: The table.
        cutoff: Snapshots that were replaced before it may expire.
        now: The moment from which ages in properties and branches are counted.
        thin_before: Snapshots made before it that only added files are thinned out; by default, none.

    Our tag is moved to the current state: otherwise it would keep the files of an earlier one.

    Returns:
        Snapshots expired.

    Raises:
        TerminalDataError: The table was set back.
        TransientConflictError: Other writers kept committing first.
        TransientError: The catalog did not answer.
    """

    def attempt() -> int:
        table = load_whole_table(warehouse, name)
        history = History(table.metadata)
        window = (cutoff, thin_before or cutoff)
        thinned = _thinnable(table, history, window, now) if not keeps_files(table) else set()
        expired = sorted(_expirable(table, history, cutoff, now) | thinned)
        if not expired and not _is_ahead(table):
            return 0
        with catalog_errors(table.catalog.name, commit=name):
            _remove(table, expired, thinned_property(history, expired, thinned))
        return len(expired)

    return repeat_lost_races(name, "Expiring snapshots", attempt)


def keeps_files(table: Table) -> bool:
    """Whether neither files nor snapshots of a table may be deleted, because other tables may share them."""
    return not property_as_bool(table.properties, _GC_ENABLED, True)


def _expirable(table: Table, history: History, cutoff: datetime, now: datetime) -> set[int]:
    metadata = table.metadata
    if keeps_files(table):
        return set()
    cutoff_ms = int(cutoff.timestamp() * 1000)
    kept = {snapshot.snapshot_id for snapshot in metadata.snapshots if snapshot.timestamp_ms >= cutoff_ms}
    kept |= {ref.snapshot_id for ref in metadata.refs.values()}
    for ref in metadata.refs.values():
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH:
            kept.update(_kept_of(table, ref, history.snapshots, cutoff_ms, now))
    return {snapshot.snapshot_id for snapshot in metadata.snapshots} - kept


def _thinnable(table: Table, history: History, window: tuple[datetime, datetime], now: datetime) -> set[int]:
    """Choose the snapshots of a span of time that the next one of the same hour makes superfluous.

    Both have only added files, so the next one lists all of them: no file becomes unreachable, and the state before any
    other kind of commit stays.
    """
    first, end = (int(moment.timestamp() * 1000) for moment in window)
    kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
    for name, ref in table.metadata.refs.items():
        if ref.snapshot_ref_type == SnapshotRefType.BRANCH:
            # Of other branches all, of main what it or the table's properties ask for.
            kept.update(_kept_of(table, ref, history.snapshots, end if name == MAIN_BRANCH else 0, now))
    lineage = [snapshot for snapshot in history.lineage.values() if not is_thinned(snapshot)]
    return {
        snapshot.snapshot_id
        for later, snapshot in pairwise(lineage)
        if first <= snapshot.timestamp_ms < end
        and snapshot.snapshot_id not in kept
        and snapshot.parent_snapshot_id is not None
        and snapshot.timestamp_ms // _HOUR_MS == later.timestamp_ms // _HOUR_MS
        and _only_adds(snapshot)
        and _only_adds(later)
    }


def _only_adds(snapshot: Snapshot) -> bool:
    summary = snapshot.summary
    return summary is not None and summary.operation == Operation.APPEND and not summary.get(GIVEN_UP_KEY)


def _kept_of(
    table: Table, branch: SnapshotRef, snapshots: Mapping[int, Snapshot], cutoff_ms: int, now: datetime
) -> Iterator[int]:
    """List the snapshots of a branch that are kept, by the longest of all the settings."""
    least = branch.min_snapshots_to_keep or property_as_int(table.properties, _MIN_SNAPSHOTS, 1) or 1
    age_ms = branch.max_snapshot_age_ms or property_as_int(table.properties, _MAX_AGE)
    if age_ms is not None:
        cutoff_ms = min(cutoff_ms, int(now.timestamp() * 1000) - age_ms)
    snapshot = snapshots.get(branch.snapshot_id)
    count = 0
    # Down to the one that was current at the cutoff: an operation that began just then has pinned it.
    current_then = False
    while snapshot is not None and (count < least or not current_then):
        if is_thinned(snapshot):
            snapshot = snapshots.get(snapshot.parent_snapshot_id or -1)
            continue
        yield snapshot.snapshot_id
        count += 1
        current_then = current_then or snapshot.timestamp_ms < cutoff_ms
        snapshot = snapshots.get(snapshot.parent_snapshot_id or -1)


def _is_ahead(table: Table) -> bool:
    tag = table.metadata.refs.get(TAG)
    return tag is not None and tag.snapshot_id != table.metadata.current_snapshot_id


def _remove(table: Table, snapshot_ids: list[int], thinned: str) -> None:
    # pyiceberg's own expiry asserts nothing about the table and retries; a snapshot that a rollback has just made
    # current again must not expire.
    table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
    current = table.metadata.current_snapshot_id
    transaction = table.transaction()
    removed = (RemoveSnapshotsUpdate(snapshot_ids=snapshot_ids),) if snapshot_ids else ()  # type: ignore[call-arg]  # pyiceberg's own alias
    transaction._apply(
        removed,
        (AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=current),),  # type: ignore[call-arg]
    )
    if thinned != table.properties.get(THINNED_KEY, ""):
        transaction.set_properties({THINNED_KEY: thinned})
    if _is_ahead(table):
        set_tag(transaction)
    transaction.commit_transaction()
