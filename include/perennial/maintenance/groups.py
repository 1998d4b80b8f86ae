"""Which files of a table are worth merging, and how many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perennial.tables import TABLES
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.files import time_bounds

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

# A merged file has at least this size if there are enough rows, and is then never merged again.
SMALL_BYTES = 16 << 20
# Fewer files than this are not worth rewriting.
MERGE_FROM_FILES = 4
# The sizes that DuckDB reads at once and that one commit replaces: they bound memory and the cost of a lost race.
PASS_BYTES, PASS_FILES = 32 << 20, 1000
COMMIT_BYTES, COMMIT_FILES = 512 << 20, 5000


@dataclass(frozen=True)
class FileGroup:
    """Files that become one: of one source, or of an unpartitioned table.

    Attributes:
        source_id: Their source; None in an unpartitioned table.
        files: As the pinned snapshot lists them.
        merged: The files they were rewritten to; empty before that, and if no row is left.
    """

    source_id: str | None
    files: tuple[LiveFile, ...]
    merged: tuple[DataFile, ...] = field(default=(), compare=False)

    @property
    def total_bytes(self) -> int:
        return sum(live.file_bytes for live in self.files)


def plan_groups(warehouse: Warehouse, table: Table) -> list[FileGroup]:
    """Choose which files of a loaded table become one, so that every merge saves files or applies deletes."""
    declared = next(known for known in TABLES if known.name == table.name()[-1])
    by_source: dict[str | None, list[LiveFile]] = {}
    for live in warehouse.live_files(table):
        if declared.partition_by and live.is_mixed:
            # Files are divided by source first; this one was added since.
            continue
        if live.deletes or live.file_bytes < SMALL_BYTES:
            by_source.setdefault(live.source_id if declared.partition_by else None, []).append(live)
    times = [column.name for column in declared.columns if column.type == "timestamptz"]
    order = next((column for column in declared.sort_by if column in times), None)
    groups = []
    for source_id, files in by_source.items():
        if len(files) >= MERGE_FROM_FILES or any(live.deletes for live in files):
            # Neighbours in time, so that the merged files' statistics still prune.
            ordered = sorted(files, key=lambda live: _earliest(table, live, order))
            groups += [FileGroup(source_id, tuple(members)) for members in _worthwhile(ordered)]
    return groups


def _earliest(table: Table, live: LiveFile, column: str | None) -> tuple[int, str]:
    bounds = time_bounds(table, live.data_file, column) if column else None
    return (bounds[0] if bounds else 0), live.uri


def _worthwhile(files: Iterable[LiveFile]) -> Iterator[list[LiveFile]]:
    members: list[LiveFile] = []
    member_bytes = 0
    for live in files:
        members.append(live)
        member_bytes += live.file_bytes
        if member_bytes >= SMALL_BYTES or len(members) == PASS_FILES:
            yield from _if_worthwhile(members)
            members, member_bytes = [], 0
    yield from _if_worthwhile(members)


def _if_worthwhile(members: list[LiveFile]) -> Iterator[list[LiveFile]]:
    if len(members) >= MERGE_FROM_FILES:
        yield members
    elif with_deletes := [live for live in members if live.deletes]:
        yield with_deletes


def passes(groups: Iterable[FileGroup]) -> Iterator[list[FileGroup]]:
    """Combine groups of different sources that DuckDB reads at once; it writes one file per source."""
    members: list[FileGroup] = []
    sources: set[str | None] = set()
    pass_bytes = pass_files = 0
    for group in groups:
        full = pass_bytes + group.total_bytes > PASS_BYTES or pass_files + len(group.files) > PASS_FILES
        if members and (full or group.source_id in sources):
            yield members
            members, sources, pass_bytes, pass_files = [], set(), 0, 0
        members.append(group)
        sources.add(group.source_id)
        pass_bytes += group.total_bytes
        pass_files += len(group.files)
    if members:
        yield members


def batched(groups: Iterable[list[FileGroup]]) -> Iterator[list[list[FileGroup]]]:
    """Combine the groups that one commit replaces."""
    batch: list[list[FileGroup]] = []
    batch_bytes = batch_files = 0
    for members in groups:
        batch.append(members)
        batch_bytes += sum(group.total_bytes for group in members)
        batch_files += sum(len(group.files) for group in members)
        if batch_bytes >= COMMIT_BYTES or batch_files >= COMMIT_FILES:
            yield batch
            batch, batch_bytes, batch_files = [], 0, 0
    if batch:
        yield batch
