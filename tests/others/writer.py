"""Another writer: pyiceberg without this project, and what other engines do that pyiceberg cannot."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
from pyarrow import orc, parquet
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.update.spec import UpdateSpec
from pyiceberg.typedef import Record

from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


def table_of_others(warehouse: Warehouse, name: str = INTERACTIONS.name) -> Table:
    """Load a table as another program does."""
    return warehouse.catalog.load_table((warehouse.settings.namespace, name))


def append(
    warehouse: Warehouse,
    rows: Iterable[dict[str, Any]],
    name: str = INTERACTIONS.name,
    branch: str | None = MAIN_BRANCH,
) -> None:
    """Append rows by the partitioning that the table has now, one file a partition."""
    table = table_of_others(warehouse, name)
    schema, spec = table.schema(), table.spec()
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(_value(schema, field, row) for field in spec.fields), []).append(row)
    # pyiceberg computes no other partitions than identities without its extension in Rust.
    plain = table.metadata.model_copy(
        update={
            "partition_specs": [UNPARTITIONED_PARTITION_SPEC],
            "default_spec_id": UNPARTITIONED_PARTITION_SPEC.spec_id,
        }
    )
    with table.transaction() as transaction, transaction.update_snapshot(branch=branch).fast_append() as producer:
        for key, members in groups.items():
            arrow = pa.Table.from_pylist(members, schema=schema.as_arrow())
            for data_file in _dataframe_to_data_files(plain, arrow, table.io):
                data_file[3] = Record(*key)
                data_file.spec_id = spec.spec_id
                producer.append_data_file(data_file)


def _value(schema: Schema, field: PartitionField, row: dict[str, Any]) -> Any:
    column = schema.find_field(field.source_id)
    value = row[column.name]
    if isinstance(value, datetime):
        value = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return field.transform.transform(column.field_type)(value)


def repartition(warehouse: Warehouse, change: Callable[[UpdateSpec], object], name: str = INTERACTIONS.name) -> None:
    with table_of_others(warehouse, name).update_spec() as update:
        change(update)


def set_properties(warehouse: Warehouse, name: str, properties: dict[str, str]) -> None:
    with table_of_others(warehouse, name).transaction() as transaction:
        transaction.set_properties(properties)


def upgrade_to_version_3(warehouse: Warehouse, name: str) -> None:
    """Upgrade a table as Spark does; pyiceberg reads version 3 and cannot write it."""
    table = table_of_others(warehouse, name)
    metadata = json.loads(table.metadata.model_dump_json()) | {"format-version": 3, "next-row-id": 0}
    uri = f"{table.location()}/metadata/00099-{uuid.uuid4()}.metadata.json"
    Path(uri.removeprefix("file://")).write_text(json.dumps(metadata))
    identifier = (warehouse.settings.namespace, name)
    warehouse.catalog.drop_table(identifier)
    warehouse.catalog.register_table(identifier, uri)


def add_file(
    warehouse: Warehouse, rows: list[dict[str, Any]], file_format: FileFormat, name: str, key: bytes | None = None
) -> str:
    """Write a file as Spark does where write.format.default is avro or orc; returns its address.

    Where a key is given, the file is said to be encrypted by it.
    """
    table = table_of_others(warehouse, name)
    uri = table.location_provider().new_data_location(f"00000-0-{uuid.uuid4()}.{file_format.lower()}")
    path = Path(uri.removeprefix("file://"))
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = pa.Table.from_pylist(rows, schema=table.schema().as_arrow())
    if file_format is FileFormat.ORC:
        orc.write_table(arrow, path)
    elif file_format is FileFormat.PARQUET:
        parquet.write_table(arrow, path)
    else:
        schema = {"type": "record", "name": "row", "fields": [{"name": "event_id", "type": "string"}]}
        with path.open("wb") as file:
            fastavro.writer(file, schema, [{"event_id": str(row.get("event_id"))} for row in rows])
    source = rows[0]["source_id"] if table.spec().fields else None
    data_file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=uri,
        file_format=file_format,
        partition=Record(source) if source is not None else Record(),
        record_count=len(rows),
        file_size_in_bytes=path.stat().st_size,
        column_sizes={},
        value_counts={},
        null_value_counts={},
        nan_value_counts={},
        lower_bounds={},
        upper_bounds={},
        key_metadata=key,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=None,
    )
    data_file.spec_id = table.spec().spec_id
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        producer.append_data_file(data_file)
    return uri


def snapshot_ids(warehouse: Warehouse, names: Iterable[str]) -> dict[str, int | None]:
    """Where tables stand: the same before and after what moved nothing."""
    return {name: table_of_others(warehouse, name).metadata.current_snapshot_id for name in names}
