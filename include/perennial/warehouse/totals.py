"""How much of each source a table has: summed up once for each manifest, and kept in storage.

Manifests never change, so their sums can be kept for as long as a snapshot lists them. One file for each table holds
the sums of the manifests that were listed when it was written. It may be deleted at any time: what is missing, damaged
or about another manifest is summed up again. Two processes may replace each other's file: each is complete in itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pyiceberg.manifest import ManifestContent, ManifestFile

from perennial.errors import PerennialError
from perennial.storage import storage_for
from perennial.warehouse.entries import entries_of
from perennial.warehouse.files import files_of, rows_by_source
from perennial.warehouse.manifests import file_count, may_hold, source_specs

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table

    from perennial.warehouse.catalog import Warehouse

log = logging.getLogger(__name__)

# Reading the entries of fewer files than this costs less than keeping their sums.
KEPT_FROM_FILES = 2_000
_COUNTS = ("file_count", "row_count", "total_bytes")
_KEYS = b"manifests"
_DIGEST_BYTES = hashlib.sha256().digest_size


def count_sources(warehouse: Warehouse, table: Table, source_ids: Collection[str] | None = None) -> pa.Table:
    """Sum up how much a loaded table has of each source, or of each of some sources.

    A file that another writer has not partitioned by source is read; its bytes are divided in proportion to rows.

    Returns:
        Columns source_id, file_count, row_count, total_bytes; one row a source.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    snapshot, by_source = table.current_snapshot(), source_specs(table.metadata)
    manifests = [one for one in snapshot.manifests(table.io) if file_count(one)] if snapshot is not None else []
    if any(one.content != ManifestContent.DATA or one.partition_spec_id not in by_source for one in manifests):
        sums = [_counted_by_file(table, source_ids)]
    else:
        ordered = sorted(source_ids or ())
        needed = manifests if source_ids is None else [one for one in manifests if may_hold(one, ordered, by_source)]
        sums = _sums_of(warehouse, table, needed, keep=source_ids is None)
    rows = pa.Table.from_batches(sums, _sum([]).schema)
    if source_ids is not None:
        rows = rows.filter(pc.is_in(rows["source_id"], pa.array(list(source_ids), pa.string())))
    total = rows.group_by("source_id").aggregate([(name, "sum") for name in _COUNTS])
    return total.select(["source_id", *(f"{name}_sum" for name in _COUNTS)]).rename_columns(["source_id", *_COUNTS])


def _sums_of(warehouse: Warehouse, table: Table, manifests: list[ManifestFile], keep: bool) -> list[pa.RecordBatch]:
    """Return the sums of each manifest, as they are kept or, if that is not known, from its entries."""
    uri, kept = f"{warehouse.operations_uri()}/totals/{table.name()[-1]}", {}
    if sum(map(file_count, manifests)) >= KEPT_FROM_FILES:
        kept = _read(uri)
    sums, summed_files = {}, 0
    for manifest in manifests:
        key = _key(manifest)
        if key not in kept or not _agrees(kept[key], manifest):
            kept[key] = _sum_of(table, manifest)
            summed_files += file_count(manifest)
        sums[key] = kept[key]
    if keep and summed_files >= KEPT_FROM_FILES:
        _write(uri, sums)
    return list(sums.values())


def _key(manifest: ManifestFile) -> str:
    """Tell a manifest from any other, also from one that was written to the same address."""
    known = manifest.manifest_length, manifest.partition_spec_id, manifest.added_snapshot_id, manifest.sequence_number
    return json.dumps([manifest.manifest_path, *known])


def _agrees(sums: pa.RecordBatch, manifest: ManifestFile) -> bool:
    """Whether sums are as many files and rows as the manifest list says of the manifest."""
    import pyarrow.compute as pc

    listed = file_count(manifest), (manifest.added_rows_count or 0) + (manifest.existing_rows_count or 0)
    return (pc.sum(sums["file_count"]).as_py(), pc.sum(sums["row_count"]).as_py()) == listed


def _sum_of(table: Table, manifest: ManifestFile) -> pa.RecordBatch:
    position = source_specs(table.metadata)[manifest.partition_spec_id]
    files = (entry.data_file for entry in entries_of(manifest, table.io))
    return _sum((str(one.partition[position]), one.record_count, one.file_size_in_bytes) for one in files)


def _counted_by_file(table: Table, source_ids: Collection[str] | None) -> pa.RecordBatch:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return _sum(
        (source_id, rows, live.file_bytes * rows // max(live.row_count, 1))
        for live in files_of(table, snapshot, None if source_ids is None else set(source_ids))
        for source_id, rows in rows_by_source(table, live).items()
    )


def _sum(files: Iterable[tuple[str, int, int]]) -> pa.RecordBatch:
    """Sum up files by source; of each its source, rows and bytes."""
    import pyarrow as pa

    counts: tuple[Counter[str], ...] = Counter(), Counter(), Counter()
    for source_id, *values in files:
        for counter, value in zip(counts, (1, *values), strict=True):
            counter[source_id] += value
    columns = [pa.array(list(counts[0]), pa.string()), *(pa.array(list(c.values()), pa.int64()) for c in counts)]
    return pa.RecordBatch.from_arrays(columns, names=["source_id", *_COUNTS])


def _read(uri: str) -> dict[str, pa.RecordBatch]:
    """Read what is kept, by manifest; nothing where it is not what was written."""
    import pyarrow as pa

    try:
        content = storage_for(uri).read(uri)
    except FileNotFoundError:
        return {}
    except (OSError, PerennialError) as error:
        log.info("%s could not be read (%s); every manifest is summed up", uri, error)
        return {}
    digest, kept = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(kept).digest() != digest:
        log.info("%s is damaged; every manifest is summed up", uri)
        return {}
    with pa.ipc.open_stream(kept) as reader:
        return dict(zip(json.loads(reader.schema.metadata[_KEYS]), reader, strict=True))


def _write(uri: str, sums: Mapping[str, pa.RecordBatch]) -> None:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    schema = _sum([]).schema.with_metadata({_KEYS: json.dumps(list(sums))})
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for batch in sums.values():
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    kept = sink.getvalue().to_pybytes()
    try:
        storage_for(uri).write(uri, hashlib.sha256(kept).digest() + kept)
    except (OSError, PerennialError) as error:
        # A reader may not be allowed to.
        log.info("%s could not be written (%s); the next run sums up again", uri, error)
