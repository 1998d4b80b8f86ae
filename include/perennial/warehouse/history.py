"""A table's history: which files its retained snapshots reach, and how old snapshots are let go."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import AssertRefSnapshotId, RemoveSnapshotsUpdate

from perennial.errors import TransientConflictError
from perennial.tables import COUNTED
from perennial.warehouse.commits import ATTEMPTS, set_tag
from perennial.warehouse.lineage import TAG
from perennial.warehouse.losses import refuse_loss
from perennial.warehouse.telling import told

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableDirectory:
    """A directory that a table writes to.

    Attributes:
        uri: Address.
        exclusive: Whether it lies inside the table's own location, which by Iceberg's convention nobody else uses.
    """

    uri: str
    exclusive: bool


def directories(table: Table) -> tuple[TableDirectory, ...]:
    """Return where a table's data and metadata files lie, each directory once."""
    location = table.location().rstrip("/")
    provider = table.location_provider()
    uris = dict.fromkeys((f"{location}/data", f"{location}/metadata", provider.data_path, provider.metadata_path))
    return tuple(TableDirectory(uri, uri.startswith(f"{location}/")) for uri in uris)


def reachable_files(table: Table) -> Iterator[str]:
    """List the address of everything that the loaded metadata and its snapshots reach.

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


def contradicts(table: Table, metadata_uri: str) -> str:
    """Say what a metadata file found beside a table's own says against trusting the catalog; empty when nothing.

    A catalog that was lost and set up anew, or restored from an old backup, knows nothing of files that are precious.
    """
    try:
        found = FromInputFile.table_metadata(table.io.new_input(metadata_uri))
    except (OSError, ValueError):
        # A commit has just removed it, or a writer was killed over it: nobody can have committed that.
        return ""
    if found.table_uuid != table.metadata.table_uuid:
        return f"belongs to another table ({found.table_uuid}, not {table.metadata.table_uuid})"
    if table.name()[-1] not in COUNTED:
        # The next sync replaces it whole: what the catalog has forgotten of it is not precious.
        return ""
    ahead, current = (getattr(one, "last_sequence_number", 0) for one in (found, table.metadata))
    # One more than the current is what a writer leaves that was killed before its commit.
    if ahead > current + 1:
        return f"is newer (sequence number {ahead}) than what the catalog has ({current})"
    return ""


def expire_snapshots(load: Callable[[], Table], cutoff: datetime) -> int:
    """Let go of the snapshots that were replaced before some time, by compare-and-swap; deletes no file.

    The heads of branches, tags, every snapshot since then and the one that was current then are kept, so that the state
    of any moment since can still be read and the history since then is without gaps.

    Our tag comes along: it would keep the files of an earlier state that other writers have gone on from.

    Returns:
        Snapshots expired.

    Raises:
        TerminalDataError: The table was set back.
        TransientConflictError: Other writers won every race.
        TransientError: The catalog did not answer.
    """
    for attempt in range(ATTEMPTS):
        table = load()
        if table.name()[-1] in COUNTED:
            refuse_loss(table, None)
        expired = sorted(_expirable(table, cutoff))
        if not expired and not _is_ahead(table):
            return 0
        try:
            with told(table.catalog.name, commit=table.name()[-1]):
                _remove(table, expired)
        except CommitFailedException as error:
            log.info("%s: lost a race for its snapshots (%s), looking again", table.name()[-1], error)
            time.sleep(min(0.05 * 2**attempt, 2.0) * (0.5 + random.random()))
            continue
        return len(expired)
    raise TransientConflictError(
        f"Other writers changed {load().name()[-1]} during each of {ATTEMPTS} attempts to expire snapshots; "
        "run it again."
    )


def _expirable(table: Table, cutoff: datetime) -> set[int]:
    metadata = table.metadata
    cutoff_ms = int(cutoff.timestamp() * 1000)
    snapshots = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    kept = {snapshot.snapshot_id for snapshot in metadata.snapshots if snapshot.timestamp_ms >= cutoff_ms}
    kept |= {ref.snapshot_id for ref in metadata.refs.values()}
    heads = {ref.snapshot_id for ref in metadata.refs.values() if ref.snapshot_ref_type == SnapshotRefType.BRANCH}
    for head in heads:
        snapshot: Snapshot | None = snapshots.get(head)
        # Down to the one that was current at the cutoff: an operation that began just then has pinned it.
        while snapshot is not None:
            kept.add(snapshot.snapshot_id)
            if snapshot.timestamp_ms < cutoff_ms:
                break
            snapshot = snapshots.get(snapshot.parent_snapshot_id or -1)
    return snapshots.keys() - kept


def _is_ahead(table: Table) -> bool:
    tag = table.metadata.refs.get(TAG)
    return tag is not None and tag.snapshot_id != table.metadata.current_snapshot_id


def _remove(table: Table, snapshot_ids: list[int]) -> None:
    # pyiceberg's own expiry asserts nothing about the table and repeats itself; a snapshot that a rollback has just
    # made current again must not go.
    table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
    current = table.metadata.current_snapshot_id
    transaction = table.transaction()
    removed = (RemoveSnapshotsUpdate(snapshot_ids=snapshot_ids),) if snapshot_ids else ()  # type: ignore[call-arg]  # pyiceberg's own alias
    transaction._apply(
        removed,
        (AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=current),),  # type: ignore[call-arg]
    )
    if _is_ahead(table):
        set_tag(transaction)
    transaction.commit_transaction()
