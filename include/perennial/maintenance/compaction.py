"""Merges small files and applies other engines' delete files, without touching files of moves under way.

Rows are kept as they are: `user_message_summary` and `source_daily_stats` are not summed up. Sums would save more
space, but the rows would no longer be those of the loads, as the contract says, and comparing rows would prove nothing.

It neither loses nor doubles rows beside moves. A move writes its pending record before it pins a snapshot, and removes
the record after its last commit. Compaction does the reverse: it first pins a snapshot, then reads the records. So a
file that a move has added and may have to find or withdraw again is either not in the pinned snapshot, or a record that
is read afterwards names its source. If a record is missing (a restore was given up, and then its tasks were run again),
the archive shows it too: a hot file that is the copy of one still listed there is in transit. Files that a move is
about to remove may be merged: the move's commit finds them gone, withdraws their copies and plans again (M6).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perennial.errors import TerminalDataError
from perennial.maintenance.groups import FileGroup, batched, passes, plan_groups
from perennial.moves.divide import divide_mixed_files
from perennial.moves.move_plan import copy_names, file_name
from perennial.moves.rewrite import rewrite_files
from perennial.operations import pending_records
from perennial.tables import (
    ARCHIVE_CHECKS,
    ARCHIVED_FILES,
    EXPIRY_DECISIONS,
    INTERACTIONS,
    INTERACTIONS_ARCHIVE,
    LIFECYCLE_EVENTS,
    LOADED_EVENTS,
    LOADED_FILES,
    REJECTED_EVENTS,
    SOURCE_DAILY_STATS,
    TABLES,
    USER_MESSAGE_SUMMARY,
)
from perennial.text import pluralize
from perennial.warehouse import FileChange, LiveFile, Warehouse
from perennial.warehouse.commits import commit_change, order_manifests
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# Not the archive: reading from it may cost money and hours, and its tiny files were merged on their way out (M7).
COMPACTED_TABLES = (
    INTERACTIONS.name,
    USER_MESSAGE_SUMMARY.name,
    SOURCE_DAILY_STATS.name,
    LOADED_EVENTS.name,
    LIFECYCLE_EVENTS.name,
    EXPIRY_DECISIONS.name,
    LOADED_FILES.name,
    REJECTED_EVENTS.name,
    ARCHIVED_FILES.name,
    ARCHIVE_CHECKS.name,
)


@dataclass(frozen=True)
class CompactionOutcome:
    """The result of merging in one table.

    Attributes:
        files_before: Files that were replaced.
        files_after: Files they were replaced by.
        row_count: Rows in them.
        total_bytes: Bytes that were read.
    """

    files_before: int = 0
    files_after: int = 0
    row_count: int = 0
    total_bytes: int = 0

    def __add__(self, other: CompactionOutcome) -> CompactionOutcome:
        return CompactionOutcome(
            self.files_before + other.files_before,
            self.files_after + other.files_after,
            self.row_count + other.row_count,
            self.total_bytes + other.total_bytes,
        )


def compact_tables(warehouse: Warehouse) -> dict[str, CompactionOutcome]:
    """Compact every table that grows by small files, and reorder the manifests of each.

    Returns:
        The results by table, for tables in which anything was merged.

    Raises:
        TerminalDataError: The written rows differ from those that were read, or a table was set back; nothing was
            replaced.
        TransientConflictError: Other writers kept committing first.
    """
    refuse_losses(warehouse)
    warehouse.refuse_unwritable(COMPACTED_TABLES)
    partitioned = [declared.name for declared in TABLES if declared.partition_by]
    for name in partitioned:
        divide_mixed_files(warehouse, name)
    outcomes = {name: compact_table(warehouse, name) for name in COMPACTED_TABLES}
    for name in partitioned:
        if order_manifests(warehouse, name):
            log.info("%s: manifests reordered by source", name)
    return {name: outcome for name, outcome in outcomes.items() if outcome.files_before}


def compact_table(warehouse: Warehouse, name: str) -> CompactionOutcome:
    """Merge the small files of one table, source by source, and apply the delete files attached to any."""
    started = time.monotonic()
    table = warehouse.table(name)
    # In this order: see the module's docstring.
    moving = _moving_sources(warehouse)
    groups = [group for group in plan_groups(warehouse, table) if group.source_id not in moving]
    if name == INTERACTIONS.name:
        moving = _sources_in_transit(warehouse, groups)
        groups = [group for group in groups if group.source_id not in moving]
    outcome = CompactionOutcome()
    for batch in batched(passes(groups)):
        rewritten = [group for engine_pass in batch for group in _rewrite(table, engine_pass)]
        outcome += _replace(warehouse, name, rewritten)
        seconds = max(time.monotonic() - started, 1e-9)
        log.info("%s: %s, %.0f rows/s", name, outcome, outcome.row_count / seconds)
    return outcome


def _rewrite(table: Table, groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Write every group's rows to one new file that no snapshot lists yet, and verify that the rows are the same."""
    files = [live for group in groups for live in group.files]
    written = rewrite_files(table, table, files, f"compact-{uuid.uuid4().hex}")
    if not written.is_proved:
        raise TerminalDataError(
            f"Merging {pluralize(len(files), 'file')} of {table.name()[-1]}, the first being {files[0].uri}, gave "
            f"other rows ({written.written_rows}) than were read ({written.read_rows}); nothing was replaced. Check "
            "that file."
        )
    partitioned = groups[0].source_id is not None
    merged = {LiveFile(new).source_id if partitioned else None: (new,) for new in written.data_files}
    return [replace(group, merged=merged.get(group.source_id, ())) for group in groups]


def _replace(warehouse: Warehouse, name: str, groups: list[FileGroup]) -> CompactionOutcome:
    """Replace groups by their merged files, except those that anybody has changed since."""
    sources = {group.source_id for group in groups if group.source_id is not None}

    def change(table: Table) -> FileChange:
        live = {file.uri: file for file in warehouse.live_files(table, sources or None)}
        # A move that has begun since would only have to plan again: its own files are left to it.
        moving = _moving_sources(warehouse)
        unchanged = [group for group in groups if group.source_id not in moving and _is_unchanged(group, live)]
        return FileChange(
            add=[new for group in unchanged for new in group.merged],
            remove=[live[file.uri].data_file for group in unchanged for file in group.files],
        )

    operation = f"compact:{uuid.uuid4().hex}"
    replaced = commit_change(warehouse, name, change, operation) or FileChange()
    if changed := sum(len(group.files) for group in groups) - len(replaced.remove):
        log.info("%s: %s of %s changed meanwhile, left alone", operation, pluralize(changed, "file"), name)
    return CompactionOutcome(
        files_before=len(replaced.remove),
        files_after=len(replaced.add),
        row_count=sum(data_file.record_count for data_file in replaced.add),
        total_bytes=sum(data_file.file_size_in_bytes for data_file in replaced.remove),
    )


def _is_unchanged(group: FileGroup, live: dict[str, LiveFile]) -> bool:
    return all(file.uri in live and live[file.uri].delete_uris == file.delete_uris for file in group.files)


def _sources_in_transit(warehouse: Warehouse, groups: Iterable[FileGroup]) -> set[str | None]:
    """Sources with a copy in the pinned hot snapshot whose original the archive still lists."""
    files = {file_name(live.uri): group.source_id for group in groups for live in group.files}
    sources = {source_id for source_id in files.values() if source_id is not None}
    archived = warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name), sources)
    return {files[name] for name in copy_names(archived) & files.keys()}


def _moving_sources(warehouse: Warehouse) -> set[str | None]:
    return {source_id for record in pending_records(warehouse) for source_id in record.source_ids}
