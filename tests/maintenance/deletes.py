"""Row-level deletes as another engine writes them: a position delete file in a manifest of deletes."""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles

from perennial.storage import local_name
from perennial.warehouse import Warehouse

PATH_ID, POSITION_ID = 2147483546, 2147483545


class _DeletesWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class _DeleteRows(_FastAppendFiles):
    delete_file: DataFile

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        metadata = self._transaction.table_metadata
        output = self.new_manifest_output()
        with _DeletesWriter(metadata.spec(), metadata.schema(), output, self._snapshot_id, "deflate") as writer:
            writer.add(
                ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self._snapshot_id,
                    sequence_number=None,
                    file_sequence_number=None,
                    data_file=self.delete_file,
                )
            )
        return [writer.to_manifest_file(), *super()._process_manifests(manifests)]


def delete_rows(
    warehouse: Warehouse, name: str, source_id: str, positions: list[int], by_equality: bool = False
) -> str:
    """Delete rows of a source's first file by position; returns the delete file's address.

    Where it is said to be by equality, nobody here gets as far as to read the file.
    """
    table = warehouse.table(name)
    data_file = min(warehouse.live_files(table, [source_id]), key=lambda live: live.uri).data_file
    schema = pa.schema(
        [
            pa.field("file_path", pa.string(), False, {"PARQUET:field_id": str(PATH_ID)}),
            pa.field("pos", pa.int64(), False, {"PARQUET:field_id": str(POSITION_ID)}),
        ]
    )
    uri = table.location_provider().new_data_location(f"00000-0-{uuid.uuid4()}-deletes.parquet")
    path = local_name(uri)
    rows = [{"file_path": data_file.file_path, "pos": position} for position in positions]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    bound = {PATH_ID: data_file.file_path.encode()}
    delete_file = DataFile.from_args(
        content=DataFileContent.EQUALITY_DELETES if by_equality else DataFileContent.POSITION_DELETES,
        file_path=uri,
        file_format=FileFormat.PARQUET,
        partition=data_file.partition,
        record_count=len(positions),
        file_size_in_bytes=Path(path).stat().st_size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds=bound,
        upper_bounds=bound,
        key_metadata=None,
        split_offsets=None,
        equality_ids=[1] if by_equality else None,
        sort_order_id=None,
    )
    delete_file.spec_id = table.spec().spec_id
    transaction = table.transaction()
    producer = _DeleteRows(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
    producer.delete_file = delete_file
    producer.commit()
    transaction.commit_transaction()
    return uri
