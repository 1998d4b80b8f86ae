"""The manifests that a commit writes: each of bounded size, each about neighbouring sources.

pyiceberg puts all files that a commit adds into one manifest, however long, reads the manifests that it removes from
twice, and merges manifests by size alone, so that after a while each of them is about every source. A query about one
source then reads all of them, and a large run that commits in batches reads the whole table for each batch. Here the
files of a source stay together, and `clustered` brings them together again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import TYPE_CHECKING

from pyiceberg.exceptions import ValidationException
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile, ManifestWriter
from pyiceberg.table import TableProperties
from pyiceberg.table.snapshots import Operation, Summary, UpdateMetrics, update_snapshot_summaries
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.transforms import IdentityTransform

from perennial.warehouse.entries import BlockManifestWriter, entries_of, values_of, without_metrics

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata

# Files that one manifest lists: a query about one source reads this many entries, at 15 µs each.
MANIFEST_FILES = 2_000
# Once this many manifests are at most half full they are rewritten, this many of their files at once.
MERGE_MANIFESTS, MERGE_FILES = 100, 50_000
# Manifests that are written side by side while all are clustered: each is an open file.
OPEN_MANIFESTS = 256


class SnapshotProducer(_OverwriteFiles):
    """A snapshot that adds and removes named files, or only reorders the table's manifests.

    Args:
        transaction: On the table as it was read; whoever commits first wins.
        io: Of the table.
        add: Files that enter.
        remove: Files that leave; each must be listed.
        clustered: Rewrite all manifests, in order of source.
        properties: For the snapshot's summary.
    """

    def __init__(
        self,
        transaction: Transaction,
        io: FileIO,
        add: Iterable[DataFile] = (),
        remove: Iterable[DataFile] = (),
        clustered: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        removed = set(remove)
        operation = Operation.OVERWRITE if removed else Operation.APPEND
        super().__init__(operation, transaction, io, snapshot_properties=dict(properties or {}))
        self._added_data_files, self._deleted_data_files = list(add), removed
        self._clustered = clustered
        self._by_source = source_specs(transaction.table_metadata)

    def _validate_concurrency(self) -> None:
        """The commit is a compare-and-swap of the snapshot it was decided from: nothing can have come between."""

    def _clean_all_uncommitted(self) -> None:
        """Delete nothing of a commit that seems to have failed: it may have been made, and only its answer lost.

        Glue's client then repeats the request by itself, and gets a conflict with its own commit. A later read of the
        table finds the operation in it; files that are really useless are purged with everything unreachable.
        """

    def _summary(self, snapshot_properties: Mapping[str, str] | None = None) -> Summary:
        """pyiceberg's, but for the path of the partition of each file, which it works out to count the partitions."""
        metadata, properties = self._transaction.table_metadata, dict(snapshot_properties or {})
        if TableProperties.WRITE_PARTITION_SUMMARY_LIMIT in metadata.properties:
            summary = super()._summary(properties)
        else:
            previous = metadata.snapshot_by_id(self._parent_snapshot_id or -1)
            counted = Summary(operation=self._operation, **self._counts(), **properties)
            summary = update_snapshot_summaries(counted, previous.summary if previous is not None else None)
        if not self._clustered:
            return summary
        return Summary(operation=Operation.REPLACE, **summary.additional_properties)

    def _counts(self) -> dict[str, str]:
        metrics = UpdateMetrics()
        for file in self._added_data_files:
            metrics.add_file(file)
        for file in self._deleted_data_files:
            metrics.remove_file(file)
        files = (*self._added_data_files, *self._deleted_data_files)
        changed = {(file.spec_id, *values_of(file.partition)) for file in files if len(file.partition)}
        return metrics.to_dict() | ({"changed-partition-count": str(len(changed))} if changed else {})

    def _manifests(self) -> list[ManifestFile]:
        parent = self._transaction.table_metadata.snapshot_by_name(self._target_branch)
        listed = parent.manifests(self._io) if parent is not None else []
        manifests = [found for found in listed if found.content == ManifestContent.DELETES or file_count(found)]
        if self._clustered:
            return self._in_order(manifests)
        added = [
            ManifestEntry(ManifestEntryStatus.ADDED, self._snapshot_id, None, None, file)
            for file in self._added_data_files
        ]
        return [*self._written(added, ManifestEntryStatus.ADDED), *self._merged(self._without_removed(manifests))]

    def _without_removed(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Rewrite manifests without the removed files, and record the removals for later readers."""
        if not self._deleted_data_files:
            return manifests
        sources = sorted(_source(file, self._by_source.get(file.spec_id)) for file in self._deleted_data_files)
        removed_of: dict[int, list[ManifestEntry]] = {}
        left: list[ManifestFile] = []
        for manifest in manifests:
            entries = []
            if manifest.content == ManifestContent.DATA and may_hold(manifest, sources, self._by_source):
                entries = entries_of(manifest, self._io)
            removed = [entry for entry in entries if entry.data_file in self._deleted_data_files]
            if not removed:
                left.append(manifest)
                continue
            others = [entry for entry in entries if entry.data_file not in self._deleted_data_files]
            left += self._written(others, ManifestEntryStatus.EXISTING, manifest.partition_spec_id)
            removed_of.setdefault(manifest.partition_spec_id, []).extend(removed)
        for spec_id, removed in removed_of.items():
            left += self._written(removed, ManifestEntryStatus.DELETED, spec_id)
        found = {entry.data_file.file_path for removed in removed_of.values() for entry in removed}
        if missing := [file.file_path for file in self._deleted_data_files if file.file_path not in found]:
            super()._clean_all_uncommitted()
            raise ValidationException(f"files to be removed are no longer listed: {', '.join(sorted(missing)[:10])}")
        return left

    def _merged(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Bring small manifests together, once there are many."""
        small = [
            manifest
            for manifest in manifests
            if manifest.content == ManifestContent.DATA
            and manifest.added_snapshot_id != self._snapshot_id
            and manifest.partition_spec_id == self._transaction.table_metadata.default_spec_id
            and file_count(manifest) <= MANIFEST_FILES // 2
        ]
        if len(small) < MERGE_MANIFESTS:
            return manifests
        small.sort(key=file_count)
        chosen = set(small[: bisect_right(list(accumulate(map(file_count, small))), MERGE_FILES)])
        entries = [entry for manifest in chosen for entry in entries_of(manifest, self._io)]
        merged = self._written(entries, ManifestEntryStatus.EXISTING)
        return [*merged, *(manifest for manifest in manifests if manifest not in chosen)]

    def _written(
        self, entries: Iterable[ManifestEntry], status: ManifestEntryStatus, spec_id: int | None = None
    ) -> list[ManifestFile]:
        """Write entries of one partition spec, by default the current one, in manifests of equal size."""
        spec = self._transaction.table_metadata.spec() if spec_id is None else self.spec(spec_id)
        position = self._by_source.get(spec.spec_id)
        manifests = []
        for piece in _pieces(sorted(entries, key=lambda entry: _source(entry.data_file, position))):
            with self.new_manifest_writer(spec) as writer:
                for entry in piece:
                    writer.add_entry(self._as(status, entry))
            manifests.append(writer.to_manifest_file())
        return manifests

    def _as(self, status: ManifestEntryStatus, entry: ManifestEntry) -> ManifestEntry:
        numbers = entry.snapshot_id, entry.sequence_number, entry.file_sequence_number
        if status is not ManifestEntryStatus.DELETED:
            return ManifestEntry(status, *numbers, entry.data_file)
        return ManifestEntry(status, self._snapshot_id, *numbers[1:], without_metrics(entry.data_file))

    def new_manifest_writer(self, spec: PartitionSpec) -> ManifestWriter:
        """Open a manifest."""
        if self._transaction.table_metadata.format_version != 2:
            return super().new_manifest_writer(spec)
        place = self.new_manifest_output()
        return BlockManifestWriter(spec, self.schema(), place, self._snapshot_id, self._compression)

    def _in_order(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Rewrite all manifests in order of source; the one being read and those being written are in memory."""
        data = [
            manifest
            for manifest in manifests
            if manifest.content == ManifestContent.DATA and manifest.partition_spec_id in self._by_source
        ]
        counts = Counter(
            _source(entry.data_file, self._by_source[found.partition_spec_id])
            for found in data
            for entry in entries_of(found, self._io)
        )
        starts = _range_starts(counts)
        writers: dict[tuple[int, int, int], ManifestWriter] = {}
        written: Counter[int] = Counter()
        with ExitStack() as stack:
            for manifest in data:
                for entry in entries_of(manifest, self._io):
                    source_id = _source(entry.data_file, self._by_source[manifest.partition_spec_id])
                    number = bisect_right(starts, source_id)
                    # A source with very many files has several manifests.
                    place = manifest.partition_spec_id, number, written[number] // (2 * MANIFEST_FILES)
                    if place not in writers:
                        writers[place] = stack.enter_context(self.new_manifest_writer(self.spec(place[0])))
                    writers[place].add_entry(self._as(ManifestEntryStatus.EXISTING, entry))
                    written[number] += 1
        others = [manifest for manifest in manifests if manifest not in set(data)]
        return [*(writer.to_manifest_file() for _, writer in sorted(writers.items())), *others]


def source_specs(metadata: TableMetadata) -> dict[int, int]:
    """Partition specs by which a file belongs to one source, by id: which value of its partition that source is."""
    column = next((field.field_id for field in metadata.schema().fields if field.name == "source_id"), None)
    return {
        spec.spec_id: position
        for spec in metadata.partition_specs
        for position, field in enumerate(spec.fields)
        if field.source_id == column and isinstance(field.transform, IdentityTransform)
    }


def may_hold(manifest: ManifestFile, ordered_sources: Sequence[str], by_source: Mapping[int, int]) -> bool:
    """Whether a manifest may list files of some sources, given in order, by its partition bounds."""
    bounds = _bounds(manifest, by_source)
    if bounds is None:
        return True
    first = bisect_left(ordered_sources, bounds[0])
    return first < len(ordered_sources) and ordered_sources[first] <= bounds[1]


def overlap(table: Table) -> int:
    """The largest number of data manifests that may list files of the same source."""
    snapshot = table.current_snapshot()
    by_source = source_specs(table.metadata)
    edges: list[tuple[str, int]] = []
    for manifest in snapshot.manifests(table.io) if snapshot is not None else ():
        bounds = _bounds(manifest, by_source)
        if bounds is not None and manifest.content == ManifestContent.DATA and file_count(manifest):
            # A manifest ends after all that begin at its end.
            edges += [(bounds[0], 0), (bounds[1], 1)]
    return max(accumulate(-1 if end else 1 for _, end in sorted(edges)), default=0)


def _bounds(manifest: ManifestFile, by_source: Mapping[int, int]) -> tuple[str, str] | None:
    position = by_source.get(manifest.partition_spec_id)
    if position is None or not manifest.partitions:
        return None
    bounds = manifest.partitions[position]
    if bounds.lower_bound is None or bounds.upper_bound is None:
        return None
    return bounds.lower_bound.decode(), bounds.upper_bound.decode()


def _source(data_file: DataFile, position: int | None) -> str:
    return "" if position is None else str(data_file.partition[position])


def file_count(manifest: ManifestFile) -> int:
    """Files that a manifest lists, without those that it records as removed."""
    counts = manifest.added_files_count, manifest.existing_files_count
    # A writer need not record the count; it counts as one, so that it is not skipped.
    return sum(1 if count is None else count for count in counts)


def _pieces(entries: list[ManifestEntry]) -> Iterator[list[ManifestEntry]]:
    count = math.ceil(len(entries) / MANIFEST_FILES)
    size = math.ceil(len(entries) / max(count, 1))
    for number in range(count):
        yield entries[number * size : (number + 1) * size]


def _range_starts(counts: Mapping[str, int]) -> list[str]:
    """Positions at which a new manifest begins, so that all list about the same number of files."""
    size = max(MANIFEST_FILES, math.ceil(sum(counts.values()) / OPEN_MANIFESTS))
    starts: list[str] = []
    filled = 0
    for source_id in sorted(counts):
        if filled and filled + counts[source_id] > size:
            starts.append(source_id)
            filled = 0
        filled += counts[source_id]
    return starts
