"""What another writer does to the tables, with pyiceberg: columns, rows with values in them, files without field ids."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.table import Table
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse

POINT = StructType(NestedField(1, "x y", IntegerType()), NestedField(2, "Größe", StringType()))
# Names that are legal in Iceberg: spaces, quotes, reserved words, capitals, no ASCII, names that our statements use.
ADDED: dict[str, tuple[IcebergType, Any]] = {
    "note": (StringType(), 'it\'s a "note" 🦄'),
    'a "quoted" name': (DoubleType(), -0.1),
    "it's": (FloatType(), 0.25),
    "select": (DecimalType(20, 3), Decimal("12345678901234567.125")),
    "Größe": (DecimalType(4, 1), Decimal("-123.4")),
    "Status": (TimestampType(), datetime(2026, 2, 3, 4, 5, 6, 789)),  # noqa: DTZ001 - there are columns without zones
    "filename": (TimestamptzType(), datetime(2026, 2, 3, 4, 5, 6, 789, UTC)),
    "number": (TimeType(), time(23, 59, 59, 999999)),
    "value": (UUIDType(), uuid.UUID(int=2**127 + 5)),
    "partition_number": (BinaryType(), b"\x00\xff'"),
    "a.b": (StringType(), ""),
    "file_row_number": (DateType(), date(1969, 12, 31)),
    "name": (IntegerType(), -1),
    "kind": (LongType(), 2**62),
    "schema": (BooleanType(), False),
    "point": (POINT, {"x y": 1, "Größe": None}),
    "tags": (ListType(1, StringType(), element_required=False), ["a", None, "it's"]),
    "points": (ListType(1, POINT, element_required=False), [{"x y": 2, "Größe": "ß"}, None]),
    "by key": (
        MapType(1, StringType(), 2, POINT, value_required=False),
        [("k", {"x y": 3, "Größe": "g"}), ("n", None)],
    ),
}


def load(warehouse: Warehouse, table: str) -> Table:
    """Load a table as another program does, which asks for no contract."""
    return warehouse.catalog.load_table((warehouse.settings.namespace, table))


def add_columns(warehouse: Warehouse, table: str, columns: Iterable[str] = ADDED) -> None:
    loaded = load(warehouse, table)
    present = {name.lower() for name in loaded.schema().column_names}
    with loaded.update_schema() as update:
        for name in (name for name in columns if name.lower() not in present):
            # A path of one: a name with a dot in it is no column inside another.
            update.add_column((name,), ADDED[name][0])


def append(warehouse: Warehouse, rows: list[dict[str, Any]], table: str = INTERACTIONS.name) -> None:
    """Append rows as pyiceberg does for anybody."""
    loaded = load(warehouse, table)
    loaded.append(pa.Table.from_pylist(rows, schema=loaded.schema().as_arrow()))


def values(number: int, names: Iterable[str] = ADDED) -> dict[str, Any]:
    """Values of added columns; null in every third row."""
    return {name: None if number % 3 == 2 else _plain(ADDED[name][1]) for name in names}


def _plain(value: Any) -> Any:
    return value.bytes if isinstance(value, uuid.UUID) else value


def as_others_read(warehouse: Warehouse, *tables: str) -> Counter[str]:
    """Every row of tables, as pyiceberg reads them: column by name, nulls left out.

    It reads a null list of structs as an empty one.
    """
    rows: Counter[str] = Counter()
    for name in tables or (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
        for row in load(warehouse, name).scan().to_arrow().to_pylist():
            rows[
                repr(sorted((column, value) for column, value in row.items() if value is not None and value != []))
            ] += 1
    return rows


def register_file(
    warehouse: Warehouse, path: Path, rows: list[Mapping[str, Any]], table: str = INTERACTIONS.name, **renamed: str
) -> str:
    """Register a Parquet file that has no field ids, some columns called otherwise, as `add_files` does it.

    The table has to have a name mapping that knows the other names.
    """
    loaded = warehouse.table(table)
    schema = schema_to_pyarrow(loaded.schema(), include_field_ids=False)
    written = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(written.rename_columns([renamed.get(name, name) for name in written.column_names]), path)
    loaded.add_files([f"file://{path}"])
    return f"file://{path}"
