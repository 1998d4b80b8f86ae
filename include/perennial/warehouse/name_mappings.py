"""The names of columns in files without field ids: property `schema.name-mapping.default` of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.name_mapping import (
    MappedField,
    NameMapping,
    create_mapping_from_schema,
    parse_mapping_from_json,
    update_mapping,
)
from pyiceberg.types import NestedField

from perennial.errors import TerminalSettingError

NAME_MAPPING = "schema.name-mapping.default"


class _ContradictionError(Exception):
    pass


def name_mapping(table: Table) -> NameMapping | None:
    """Read a table's name mapping; None where it has none.

    Raises:
        TerminalSettingError: It cannot be read.
    """
    text = table.properties.get(NAME_MAPPING)
    if not text:
        return None
    try:
        return parse_mapping_from_json(text)
    except ValidationError as error:
        raise TerminalSettingError(
            f"Property {NAME_MAPPING} of table {table.name()[-1]} is not a name mapping of the Iceberg format "
            f"({error.errors()[0]['msg']}): {text[:300]!r}. Set it to one, such as {mapping_of(table.schema())}"
        ) from None


def mapping_of(schema: Schema) -> str:
    """Return the mapping for files whose columns have the current names."""
    return create_mapping_from_schema(schema).model_dump_json()


def mapping_json(mapping: NameMapping | None) -> str:
    """Write a mapping in the form of the property."""
    return "" if mapping is None else mapping.model_dump_json()


def same_mapping(one: NameMapping | None, other: NameMapping | None) -> bool:
    """Whether two mappings are the same, in any order."""
    return bool(_plain(one.root if one else ()) == _plain(other.root if other else ()))


def merged_mapping(one: Table, other: Table, added: Iterable[NestedField] = ()) -> NameMapping | None:
    """Merge the name mappings of two tables, so that a moved file is read as before in the other table.

    Args:
        one: A table.
        other: The other.
        added: Columns that one of them is about to get; an existing mapping covers them too, as in other engines.

    Returns:
        None if neither has one.

    Raises:
        TerminalSettingError: The same name means different columns.
    """
    found = [mapping for mapping in (name_mapping(one), name_mapping(other)) if mapping is not None]
    if not found:
        return None
    try:
        merged = NameMapping(_merged(found[0].root, found[-1].root))
    except _ContradictionError as error:
        names = one.name()[-1], other.name()[-1]
        raise TerminalSettingError(
            f"Property {NAME_MAPPING} of tables {names[0]} and {names[1]} gives different field ids to a column that "
            f"files call {str(error)!r}. Nothing was moved. Rewrite the files without field ids of one of the two in "
            "an engine, then remove the property from that table: it then gets the other table's."
        ) from None
    return _with_columns(merged, added)


def with_columns(table: Table, fields: Iterable[NestedField]) -> NameMapping | None:
    """Return a table's name mapping, covering columns that it is about to get; None where it has none."""
    mapping = name_mapping(table)
    known = {field.field_id for field in table.schema().fields}
    added = [field for field in fields if field.field_id not in known]
    return None if mapping is None else _with_columns(mapping, added)


def _with_columns(mapping: NameMapping, added: Iterable[NestedField]) -> NameMapping:
    known = {mapped.field_id for mapped in mapping.root}
    return update_mapping(mapping, {}, {-1: [column for column in added if column.field_id not in known]})


def _merged(one: Iterable[MappedField], other: Iterable[MappedField]) -> list[MappedField]:
    others = {mapped.field_id: mapped for mapped in other if mapped.field_id is not None}
    merged = []
    for mapped in one:
        theirs = others.pop(mapped.field_id, None) if mapped.field_id is not None else None
        names = list(dict.fromkeys([*mapped.names, *(theirs.names if theirs else ())]))
        fields = _merged(mapped.fields, theirs.fields if theirs else ())
        merged.append(MappedField(field_id=mapped.field_id, names=names, fields=fields))  # type: ignore[call-arg]  # by alias
    merged += others.values()
    ids: dict[str, int | None] = {}
    for mapped in merged:
        for name in mapped.names:
            if ids.setdefault(name, mapped.field_id) != mapped.field_id:
                raise _ContradictionError(name)
    return merged


def _plain(fields: Iterable[MappedField]) -> Any:
    return frozenset((mapped.field_id, frozenset(mapped.names), _plain(mapped.fields)) for mapped in fields)
