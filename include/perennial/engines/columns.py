"""Iceberg columns in other systems: types, identifiers, and expressions that read a file as the table's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from perennial.errors import TerminalDataError
from perennial.warehouse.schemas import inner_fields

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    from perennial.warehouse.layouts import FileColumn, FileLayout


class _Names(NamedTuple):
    """The names of one type.

    Attributes:
        duckdb: In DuckDB's SQL, the dialect of our statements.
        arrow: In pyarrow.
        trino: In the drivers of Trino and Athena, without parameters in brackets.
    """

    duckdb: str
    arrow: str = ""
    trino: str = ""


# The one table of types, by Iceberg's names. Of those without Arrow's only what others add to a table has any.
_TYPES = {
    "string": _Names("VARCHAR", "string", "varchar"),
    "boolean": _Names("BOOLEAN", "bool", "boolean"),
    "int": _Names("INTEGER", "int32", "integer"),
    "long": _Names("BIGINT", "int64", "bigint"),
    "float": _Names("FLOAT", "float", "real"),
    "double": _Names("DOUBLE", "double", "double"),
    "date": _Names("DATE", "date32", "date"),
    # The drivers use the same name for those without a zone, which no table has.
    "timestamptz": _Names("TIMESTAMPTZ", "timestamp[us, tz=UTC]", "timestamp"),
    "timestamp": _Names("TIMESTAMP"),
    "time": _Names("TIME"),
    "uuid": _Names("UUID"),
    "binary": _Names("BLOB"),
}
_BY_TRINO = {names.trino: kind for kind, names in _TYPES.items() if names.trino}
# What `source_totals` returns, and what the manifests of a fact table say of each source.
SOURCE_COUNTS = {"source_id": "string", "file_count": "long", "row_count": "long", "total_bytes": "long"}
# The file of a row, by DuckDB's form of its address; a name that no column of any table has.
FILE_COLUMN = "perennial_file"
SOURCE_TOTALS = {"table_name": "string", **SOURCE_COUNTS}


def declared_type(name: str) -> str:
    """Return DuckDB's name of a type of the contract."""
    if name.startswith("list<"):
        return f"{declared_type(name[len('list<') : -1])}[]"
    return _TYPES[name].duckdb


def arrow_type(name: str) -> pa.DataType:
    """Return Arrow's of a type of the contract."""
    import pyarrow as pa

    if name.startswith("list<"):
        return pa.list_(arrow_type(name[len("list<") : -1]))
    # The one that has no alias.
    return pa.timestamp("us", "UTC") if name == "timestamptz" else pa.type_for_alias(_TYPES[name].arrow)


def trino_arrow_type(name: str) -> pa.DataType | None:
    """Return Arrow's of what a driver of Trino or Athena calls a type; None for one that no table has."""
    return arrow_type(_BY_TRINO[name]) if name in _BY_TRINO else None


def duckdb_type(kind: Any) -> str:
    """Return DuckDB's name of an Iceberg type.

    Raises:
        TerminalDataError: It has none.
    """
    if hasattr(kind, "element_type"):
        return f"{duckdb_type(kind.element_type)}[]"
    if hasattr(kind, "key_type"):
        return f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.value_type)})"
    if kind.is_struct:
        fields = ", ".join(f"{identifier(field.name)} {duckdb_type(field.field_type)}" for field in kind.fields)
        return f"STRUCT({fields})"
    name = str(kind)
    if name.startswith("decimal("):
        return name.upper()
    if name.startswith("fixed["):
        return _TYPES["binary"].duckdb
    if name not in _TYPES:
        raise TerminalDataError(
            f"A column of Iceberg type {name} cannot be read here. Remove the column from the table (ALTER TABLE … "
            "DROP COLUMN), or change its type."
        )
    return _TYPES[name].duckdb


def identifier(name: str) -> str:
    """Quote an identifier, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Write a text as a literal, for statements that take no binds."""
    return "'" + text.replace("'", "''") + "'"


def scan(schema: Schema, layout: FileLayout | None, files: str, with_file: bool = False) -> str:
    """Write a SELECT that reads data files of one layout as the table's columns; the files are `r`.

    With `with_file` it has one more column, FILE_COLUMN.
    """
    found = {column.field_id: column for column in layout.columns} if layout else {}
    if layout is None or layout.has_ids:
        columns = {field.field_id: f"r.f{field.field_id}" for field in schema.fields}
        source = f"read_parquet([{files}], {_by_field_id(schema, found)})"
    else:
        columns = {field_id: f"r.{identifier(column.name)}" for field_id, column in found.items() if field_id}
        source = f"read_parquet([{files}], hive_partitioning = false)"
    partition = dict(layout.partition) if layout else {}
    selected = []
    for field in schema.fields:
        kind, value = duckdb_type(field.field_type), partition.get(field.field_id)
        # A value that a file leaves out because its partition has it.
        expression = "NULL" if value is None else quoted(str(value))
        if (place := columns.get(field.field_id)) is not None:
            expression = _expression(field.field_type, found.get(field.field_id), place, 0)
        selected.append(f"{expression}::{kind} AS {identifier(field.name)}")
    if with_file:
        selected.append(f"r.filename AS {FILE_COLUMN}")
    return f"SELECT {', '.join(selected)} FROM {source} AS r"


def _by_field_id(schema: Schema, found: Mapping[int | None, FileColumn]) -> str:
    """Write the argument of read_parquet that finds columns by field id; nested fields have the file's names."""
    columns = ", ".join(
        f"{field.field_id}: {{name: 'f{field.field_id}', "
        f"type: {quoted(_type_in_file(field.field_type, found.get(field.field_id)))}, default_value: NULL}}"
        for field in schema.fields
    )
    return f"schema = MAP {{{columns}}}"


def no_values(schema: Schema) -> str:
    """Write the select list of the table's columns with nulls only."""
    return ", ".join(f"NULL::{duckdb_type(field.field_type)} AS {identifier(field.name)}" for field in schema.fields)


def field_ids(field: NestedField) -> str:
    """Write a column's field ids for COPY, including nested ones, without which other readers refuse the file."""
    kind: Any = field.field_type
    if kind.is_primitive:
        return str(field.field_id)
    inside = ", ".join(f"{quoted(one.name)}: {field_ids(one)}" for one in inner_fields(kind))
    return f"{{__duckdb_field_id: {field.field_id}, {inside}}}"


def _type_in_file(kind: Any, column: FileColumn | None) -> str:
    """Return the type to read a column as: the table's type, with the file's names of nested fields."""
    if column is None or not column.fields:
        return duckdb_type(kind)
    if hasattr(kind, "element_type"):
        return f"{_type_in_file(kind.element_type, column.fields[0])}[]"
    if hasattr(kind, "key_type"):
        key, value = column.fields
        return f"MAP({_type_in_file(kind.key_type, key)}, {_type_in_file(kind.value_type, value)})"
    inside = {one.field_id: one for one in column.fields}
    fields = ", ".join(
        f"{identifier(inside[field.field_id].name)} {_type_in_file(field.field_type, inside[field.field_id])}"
        for field in kind.fields
        if field.field_id in inside
    )
    # Where nothing of what the file has in it is left, any of it still says where the whole is null.
    return f"STRUCT({fields or f'{identifier(column.fields[0].name)} VARCHAR'})"


def _expression(kind: Any, column: FileColumn | None, value: str, depth: int) -> str:
    """Convert a value of a file to the table's type."""
    if column is None or not column.fields:
        return value
    if hasattr(kind, "element_type"):
        element = _expression(kind.element_type, column.fields[0], f"e{depth}", depth + 1)
        return value if element == f"e{depth}" else f"list_transform({value}, lambda e{depth}: {element})"
    if hasattr(kind, "key_type"):
        if len(column.fields) != 2:
            # A name mapping without the nested field.
            return value
        entry = f"e{depth}"
        ours = _expression(kind.key_type, column.fields[0], f"{entry}.key", depth + 1)
        theirs = _expression(kind.value_type, column.fields[1], f"{entry}.value", depth + 1)
        packed = f"struct_pack(key := {ours}, value := {theirs})"
        return f"map_from_entries(list_transform(map_entries({value}), lambda {entry}: {packed}))"
    inside = {one.field_id: one for one in column.fields}
    parts = []
    for field in kind.fields:
        part = f"NULL::{duckdb_type(field.field_type)}"
        if (one := inside.get(field.field_id)) is not None:
            part = _expression(field.field_type, one, f"{value}.{identifier(one.name)}", depth)
        parts.append(f"{identifier(field.name)} := {part}")
    return f"CASE WHEN {value} IS NULL THEN NULL ELSE struct_pack({', '.join(parts)}) END"
