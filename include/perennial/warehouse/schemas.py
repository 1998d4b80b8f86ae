"""Compares the columns of a table with the contract: what may differ, and what is refused.

Other writers may add columns, describe and reorder them, widen types and make fields optional. Only what is needed to
read a data file counts: field id, name, type, and whether nulls are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import ResolveError
from pyiceberg.schema import Schema, promote
from pyiceberg.types import (
    DecimalType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    MapType,
    NestedField,
    StringType,
    StructType,
)

from perennial.errors import TerminalSettingError, TransientConflictError
from perennial.tables import RENAMED_COLUMNS, TABLES, Column, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable

_DECLARED = {table.name: table for table in TABLES}


class UnlikeError(Exception):
    """Two definitions of one column that no third one covers."""


def _iceberg_type(name: str, element_id: int) -> IcebergType:
    """Return a type of the contract."""
    if name == "list<string>":
        return ListType(element_id, StringType(), element_required=True)
    return IcebergType.model_validate(name)


def declared_schema(declared: Table) -> Schema:
    """Return the columns of a table as the contract declares them."""
    fields = []
    for position, column in enumerate(declared.columns, start=1):
        kind = _iceberg_type(column.type, 1000 + position)
        fields.append(NestedField(position, column.name, kind, column.required, doc=column.doc))
    return Schema(*fields)


def declared_arrow_schema(declared: Table) -> pa.Schema:
    """Return the Arrow columns of a table as the contract declares them; field ids are each table's own."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return schema_to_pyarrow(declared_schema(declared), include_field_ids=False)


# --- comparing --------------------------------------------------------------------------------------------------------


def same_columns(one: Schema, other: Schema) -> bool:
    """Whether files written for one schema can be read by the other: the same ids, names, types and nulls."""
    return bool(shape(one.as_struct()) == shape(other.as_struct()))


def refuse_unlike(origin: IcebergTable, destination: IcebergTable) -> None:
    """Refuse to continue a move if the columns of its two loaded tables differ.

    Raises:
        TransientConflictError: Somebody has changed one of them just now.
    """
    if not same_columns(origin.schema(), destination.schema()):
        raise TransientConflictError(
            f"Somebody changed the columns of {origin.name()[-1]} or {destination.name()[-1]} during a move; run it "
            "again. Nothing was removed."
        )


def shape(kind: IcebergType) -> Any:
    """Return a type without comments and column order, for comparison."""
    if isinstance(kind, StructType):
        return frozenset((field.field_id, field.name, field.required, shape(field.field_type)) for field in kind.fields)
    if isinstance(kind, ListType):
        return "list", kind.element_id, kind.element_required, shape(kind.element_type)
    if isinstance(kind, MapType):
        ids = kind.key_id, kind.value_id, kind.value_required
        return "map", *ids, shape(kind.key_type), shape(kind.value_type)
    return str(kind)


def field_ids(field: NestedField) -> Iterator[int]:
    """List the ids of a column and of everything in it."""
    yield field.field_id
    for nested in inner_fields(field.field_type):
        yield from field_ids(nested)


def inner_fields(kind: IcebergType) -> tuple[NestedField, ...]:
    """List the fields inside a type: the element of a list, the key and the value of a map."""
    if isinstance(kind, ListType):
        return (kind.element_field,)
    if isinstance(kind, MapType):
        return kind.key_field, kind.value_field
    return kind.fields if isinstance(kind, StructType) else ()


def merged_field(one: NestedField, other: NestedField) -> NestedField:
    """Define a column so that the values of both definitions can be read.

    Raises:
        UnlikeError: There is no such definition.
    """
    if one.field_id != other.field_id or one.name != other.name:
        raise UnlikeError
    kind = _merged_type(one.field_type, other.field_type)
    return NestedField(one.field_id, one.name, kind, one.required and other.required, doc=one.doc or other.doc)


def _merged_type(one: IcebergType, other: IcebergType) -> IcebergType:
    if isinstance(one, StructType) and isinstance(other, StructType):
        others = {field.field_id: field for field in other.fields}
        merged = [merged_field(field, others.pop(field.field_id, _optional(field))) for field in one.fields]
        return StructType(*merged, *(_optional(field) for field in others.values()))
    if isinstance(one, ListType) and isinstance(other, ListType):
        element = merged_field(one.element_field, other.element_field)
        return ListType(element.field_id, element.field_type, element.required)
    if isinstance(one, MapType) and isinstance(other, MapType):
        key, value = merged_field(one.key_field, other.key_field), merged_field(one.value_field, other.value_field)
        return MapType(key.field_id, key.field_type, value.field_id, value.field_type, value.required)
    wider = _wider(one, other) or _wider(other, one)
    if wider is None:
        raise UnlikeError
    return wider


def _optional(field: NestedField) -> NestedField:
    return NestedField(field.field_id, field.name, field.field_type, False, doc=field.doc)


def _wider(narrow: IcebergType, wide: IcebergType) -> IcebergType | None:
    """Return the second type if values of the first can be read as it."""
    if narrow == wide:
        return wide
    # The format's type promotions; pyiceberg knows more, which other engines do not read.
    if not isinstance(narrow, IntegerType | FloatType | DecimalType):
        return None
    try:
        return promote(narrow, wide)
    except ResolveError:
        return None


def defined(field: NestedField) -> str:
    """Describe a column for an error."""
    return f"{field.name!r}, id {field.field_id}, {'required' if field.required else 'optional'} {field.field_type}"


# --- the contract -----------------------------------------------------------------------------------------------------


def refuse_broken(name: str, table: IcebergTable) -> None:
    """Refuse a table that lacks a column of the contract, has it with another type, or has two names that look alike.

    Raises:
        TerminalSettingError: Names the table, what was found, and what to do.
    """
    by_name: dict[str, list[str]] = {}
    for field in table.schema().fields:
        by_name.setdefault(field.name.lower(), []).append(field.name)
    if alike := next((names for names in by_name.values() if len(names) > 1), None):
        raise TerminalSettingError(
            f"Table {name} has columns {alike[0]!r} and {alike[1]!r}, which engines do not distinguish; rename the one "
            "that is not in the contract: ALTER TABLE … RENAME COLUMN."
        )
    present = {field.name: field for field in table.schema().fields}
    for column in _DECLARED[name].columns if name in _DECLARED else ():
        found = present.get(column.name)
        if found is None or not _serves(column, found):
            _refuse_unfit(name, column, table)
            what = f"has no column {column.name!r}" if found is None else f"has column {defined(found)}"
            remedy = "adds it or brings it back" if found is None else f"makes it {column.type}"
            raise TerminalSettingError(f"Table {name} {what}; run `perennial init`, which {remedy}.")


def completed(declared: Table, table: IcebergTable) -> list[NestedField]:
    """Return a table's columns, completed by those of the contract that it lacks.

    A column that it once had comes back with its former id and its values.

    Raises:
        TerminalSettingError: Another column has the name of one of the contract, or one of the contract was renamed.
    """
    present = {field.name: field for field in table.schema().fields}
    next_id = 1 + table.metadata.last_column_id
    for column in declared.columns:
        _refuse_unfit(declared.name, column, table)
        field, former = present.get(column.name), _former_field(table, column)
        if field is None and former is not None:
            present[column.name] = former
        elif field is None:
            kind = _iceberg_type(column.type, next_id + 1)
            present[column.name] = NestedField(next_id, column.name, kind, doc=column.doc)
            next_id += 2
        elif not _serves(column, field):
            kind = _iceberg_type(column.type, 0)
            present[column.name] = NestedField(field.field_id, field.name, kind, field.required, doc=field.doc)
    return list(present.values())


def _serves(column: Column, field: NestedField) -> bool:
    """Whether a column can be used as that of the contract: the same type, or a wider one."""
    kind, wanted = field.field_type, _iceberg_type(column.type, 0)
    if isinstance(wanted, ListType):
        return isinstance(kind, ListType) and kind.element_type == wanted.element_type
    return _wider(wanted, kind) is not None


def _former_fields(table: IcebergTable, column: Column) -> list[NestedField]:
    """Find a column of the contract among a table's earlier schemas."""
    known = sorted(table.metadata.schemas, key=lambda schema: schema.schema_id)
    fields = (field for schema in known for field in schema.fields)
    return [field for field in fields if field.name == column.name and _serves(column, field)]


def _former_field(table: IcebergTable, column: Column) -> NestedField | None:
    used = {field.field_id for field in table.schema().fields}
    return next((field for field in _former_fields(table, column) if field.field_id not in used), None)


def _refuse_unfit(name: str, column: Column, table: IcebergTable) -> None:
    """Refuse what `perennial init` cannot correct: another type, or another name."""
    present = {field.field_id: field for field in table.schema().fields}
    field = next((field for field in present.values() if field.name == column.name), None)
    if field is not None:
        if _serves(column, field) or _wider(field.field_type, _iceberg_type(column.type, 0)) is not None:
            return
        raise TerminalSettingError(
            f"Table {name} has column {defined(field)}, where the contract has {column.name!r}, {column.type}. Rename "
            f'that column: ALTER TABLE … RENAME COLUMN "{column.name}" TO another name; then run `perennial init`, '
            "which adds ours."
        )
    if _former_field(table, column) is not None or column.name in RENAMED_COLUMNS.get(name, {}):
        return
    renamed = (present[former.field_id] for former in _former_fields(table, column) if former.field_id in present)
    if (now := next(renamed, None)) is not None:
        raise TerminalSettingError(
            f"Table {name} has no column {column.name!r}: it was renamed to {now.name!r}. Rename it back: ALTER TABLE "
            f'… RENAME COLUMN "{now.name}" TO "{column.name}".'
        )


def refuse_required(name: str, schema: Schema) -> None:
    """Refuse a table with a required column for which there are no values.

    Raises:
        TerminalSettingError: Names the table, the column, and what to do.
    """
    declared = _DECLARED.get(name)
    if declared is None:
        return
    always = {column.name for column in declared.columns if column.required}
    for field in schema.fields:
        if field.required and field.name not in always:
            raise TerminalSettingError(
                f"Table {name} has column {defined(field)}: it is required, and no value for it is "
                "known. Nothing was written. Make it optional: ALTER TABLE … ALTER COLUMN "
                f'"{field.name}" DROP NOT NULL.'
            )


def refuse_unrewritable(table: IcebergTable) -> None:
    """Refuse a table whose rows DuckDB cannot rewrite in a form that others can read.

    Raises:
        TerminalSettingError: Names the table, the column, and what to do.
    """
    for field in table.schema().fields:
        if _holds_fixed(field):
            raise TerminalSettingError(
                f"Table {table.name()[-1]} has column {defined(field)}: bytes of a fixed length cannot be written "
                "here. Nothing was moved. Add a column of type binary, copy the values to it, and drop this one: "
                f'ALTER TABLE … DROP COLUMN "{field.name}".'
            )


def _holds_fixed(field: NestedField) -> bool:
    return isinstance(field.field_type, FixedType) or any(map(_holds_fixed, inner_fields(field.field_type)))


def contract_columns(name: str, schema: Schema) -> Schema:
    """Return the columns of a table that are in the contract; all columns if the table is not in it."""
    declared = _DECLARED.get(name)
    known = {column.name for column in declared.columns} if declared else set(schema.column_names)
    return Schema(*(field for field in schema.fields if field.name in known))
