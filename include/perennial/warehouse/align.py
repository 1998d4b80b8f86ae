"""Gives hot and archive the same columns, field ids and name mapping, before files move.

A file moves unchanged: its columns are found by field ids, or by the name mapping if it has none. So a column that only
one table has is added to the other with the same id. If two columns claim the same id or name, one of them that has no
values gets another id; if both have values, the move is refused.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.table.name_mapping import NameMapping
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    AssertLastAssignedFieldId,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableUpdate,
)
from pyiceberg.types import NestedField, StructType

from perennial.errors import TerminalSettingError, TransientConflictError
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.files import files_of
from perennial.warehouse.name_mappings import NAME_MAPPING, mapping_json, merged_mapping, name_mapping, same_mapping
from perennial.warehouse.races import ATTEMPTS
from perennial.warehouse.schemas import (
    UnlikeError,
    defined,
    field_ids,
    merged_field,
    refuse_required,
    refuse_unrewritable,
    same_columns,
    shape,
)

log = logging.getLogger(__name__)


def align(load: Callable[[str], Table], hot_name: str, archive_name: str) -> list[str]:
    """Give two tables the same columns; if it is killed between the two commits, the next call makes the second.

    Args:
        load: Loads a table's current metadata.
        hot_name: A table.
        archive_name: The other; if one of two columns has to give way, it is this table's.

    Returns:
        What was changed, one sentence each.

    Raises:
        TerminalSettingError: Columns of the two tables contradict each other; nothing was changed.
        TransientConflictError: Other writers kept committing first.
    """
    changes: list[str] = []
    for _ in range(ATTEMPTS):
        tables = load(hot_name), load(archive_name)
        for table in tables:
            refuse_required(table.name()[-1], table.schema())
            refuse_unrewritable(table)
        mapping = merged_mapping(*tables)
        if same_columns(tables[0].schema(), tables[1].schema()) and all(
            same_mapping(name_mapping(table), mapping) for table in tables
        ):
            return changes
        fields = _Joining(_Side(tables[0]), _Side(tables[1])).joined()
        try:
            changes += [change for table in tables for change in _give(table, fields, tables)]
        except CommitFailedException as error:
            log.info("another writer changed %s or %s first (%s), trying again", hot_name, archive_name, error)
    raise TransientConflictError(
        f"Other writers changed {hot_name} or {archive_name} during each of {ATTEMPTS} attempts to give them the same "
        "columns; run it again."
    )


def _give(table: Table, fields: Sequence[NestedField], tables: tuple[Table, Table]) -> list[str]:
    """Give one table the columns and the name mapping of both, in one commit."""
    added = [column for column in fields if any(_lacks(one, column) for one in tables)]
    return set_columns(table, fields, merged_mapping(*tables, added=added))


def set_columns(table: Table, fields: Sequence[NestedField], mapping: NameMapping | None) -> list[str]:
    """Give a table columns with their ids, and a name mapping, in one commit if anything differs.

    Returns:
        What was changed, one sentence each.
    """
    schema, name = table.schema(), table.name()[-1]
    next_id = 1 + max(known.schema_id for known in table.metadata.schemas)
    wanted = Schema(*fields, schema_id=next_id, identifier_field_ids=schema.identifier_field_ids)
    updates: tuple[TableUpdate, ...] = ()
    changes = []
    if not same_columns(wanted, schema):
        updates += (AddSchemaUpdate(schema=wanted), SetCurrentSchemaUpdate())
        present = shape(schema.as_struct())
        changes += [f"gave {name} column {defined(one)}" for one in fields if shape(StructType(one)) - present]
    if not same_mapping(name_mapping(table), mapping):
        updates += (SetPropertiesUpdate(updates={NAME_MAPPING: mapping_json(mapping)}),)
        changes.append(f"gave {name} the names of columns in files without field ids ({NAME_MAPPING})")
    if not updates:
        return []
    unchanged = (
        AssertCurrentSchemaId(current_schema_id=schema.schema_id),  # type: ignore[call-arg]  # by alias
        AssertLastAssignedFieldId(last_assigned_field_id=table.metadata.last_column_id),  # type: ignore[call-arg]
    )
    with catalog_errors(table.catalog.name, commit=name):
        transaction = table.transaction()
        # pyiceberg's own way to add a column does not let the caller choose its id.
        transaction._apply(updates, unchanged)
        transaction.commit_transaction()
    for change in changes:
        log.info("%s", change)
    return changes


def _lacks(table: Table, column: NestedField) -> bool:
    return all(column.field_id != present.field_id for present in table.schema().fields)


@dataclass
class _Side:
    """One of the two tables, and the columns it is to have."""

    table: Table
    fields: list[NestedField] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fields = list(self.table.schema().fields)

    @property
    def name(self) -> str:
        return self.table.name()[-1]

    def former(self, field_id: int) -> list[NestedField]:
        """What a field id has meant in this table, according to its metadata."""
        known = [column for schema in self.table.metadata.schemas for column in schema.fields]
        return [column for column in known if column.field_id == field_id]

    def holds(self, column: NestedField) -> bool:
        """Whether a data file may have values with the ids of a column, according to manifests; doubt counts as yes."""
        # Our own files have no metrics for nested fields, and limited metrics in manifests prove nothing.
        limited = any(key.startswith("write.metadata.metrics.") for key in self.table.properties)
        doubt = limited or not column.field_type.is_primitive
        return any(doubt or not ids or not ids.isdisjoint(field_ids(column)) for ids in self._mentioned)

    @cached_property
    def _mentioned(self) -> set[frozenset[int]]:
        """Field ids in manifests, grouped by file."""
        snapshot = self.table.current_snapshot()
        files = [live.data_file for live in files_of(self.table, snapshot, None)] if snapshot else []
        return {frozenset({**(one.column_sizes or {}), **(one.value_counts or {})}) for one in files}


@dataclass
class _Joining:
    """Determines the columns of both tables."""

    hot: _Side
    archive: _Side
    given_up: list[NestedField] = field(default_factory=list)

    def joined(self) -> list[NestedField]:
        """Return the columns that both are to have.

        Raises:
            TerminalSettingError: Two columns contradict each other.
        """
        self._follow_renames()
        while (pair := self._unlike()) is not None:
            self._give_way(*pair)
        fields = [self._merged(column) for column in self.hot.fields]
        known = {column.field_id for column in self.hot.fields}
        fields += [column for column in self.archive.fields if column.field_id not in known]
        highest = max(side.table.metadata.last_column_id for side in (self.hot, self.archive))
        fresh = itertools.count(highest + 1)
        names = {column.name.lower() for column in fields}
        for column in self.given_up:
            if column.name.lower() not in names:
                fields += assign_fresh_schema_ids(Schema(column), lambda: next(fresh)).fields
        return fields

    def _merged(self, column: NestedField) -> NestedField:
        return next(
            (merged_field(column, other) for other in self.archive.fields if other.field_id == column.field_id), column
        )

    def _follow_renames(self) -> None:
        """A column that was renamed in one table only is renamed in the other."""
        for one, other in ((self.hot, self.archive), (self.archive, self.hot)):
            for place, column in enumerate(one.fields):
                theirs = next((found for found in other.fields if found.field_id == column.field_id), column)
                was_theirs = any(found.name == theirs.name for found in one.former(column.field_id))
                was_ours = any(found.name == column.name for found in other.former(column.field_id))
                if theirs.name != column.name and was_ours and not was_theirs:
                    kind, required = column.field_type, column.required
                    one.fields[place] = NestedField(column.field_id, theirs.name, kind, required, doc=column.doc)

    def _unlike(self) -> tuple[NestedField | None, NestedField | None] | None:
        """Find two columns that claim the same id or name, or one whose id means something else in the other table."""
        for column, other in itertools.product(self.hot.fields, self.archive.fields):
            shared = not set(field_ids(column)).isdisjoint(field_ids(other))
            if shared or column.name.lower() == other.name.lower():
                try:
                    merged_field(column, other)
                except UnlikeError:
                    return column, other
        if (taken := self._taken(self.hot, self.archive)) is not None:
            return taken, None
        return None if (taken := self._taken(self.archive, self.hot)) is None else (None, taken)

    @staticmethod
    def _taken(side: _Side, other: _Side) -> NestedField | None:
        """Find a column that the other table lacks, and whose id may mean something else in that table's files."""
        for column in side.fields:
            if any(column.field_id == present.field_id for present in other.fields):
                continue
            if column.field_id > other.table.metadata.last_column_id:
                continue
            known = any(_is_like(column, former) for former in other.former(column.field_id))
            if not known and other.holds(column):
                return column
        return None

    def _give_way(self, column: NestedField | None, other: NestedField | None) -> None:
        for side, loser in ((self.archive, other), (self.hot, column)):
            if loser is not None and not side.holds(loser):
                side.fields.remove(loser)
                self.given_up.append(loser)
                return
        raise TerminalSettingError(_contradiction(self.hot, column, self.archive, other))


def _is_like(column: NestedField, former: NestedField) -> bool:
    """Whether an id meant in one table what it means in the other."""
    try:
        merged_field(column, former)
    except UnlikeError:
        return False
    return True


def _contradiction(hot: _Side, column: NestedField | None, archive: _Side, other: NestedField | None) -> str:
    said = f"Tables {hot.name} and {archive.name} cannot have the same columns: "
    if column is None or other is None:
        one, side, lacking = (column, hot, archive) if column is not None else (other, archive, hot)
        assert one is not None
        former = next(iter(lacking.former(one.field_id)), None)
        meant = f"it was {defined(former)}" if former else "it was something else"
        return (
            f"{said}{side.name} has {defined(one)}; in {lacking.name} {meant} once, and files still hold it. Nothing "
            f"was moved. Rewrite the data files of {lacking.name} in the engine that dropped it, so that none holds "
            f"it; or copy the values in {side.name} to a new column, drop {one.name!r} there and rewrite its files."
        )
    said += f"{hot.name} has {defined(column)}; {archive.name} has {defined(other)}; data files hold both. "
    said += "Nothing was moved. "
    if set(field_ids(column)).isdisjoint(field_ids(other)):
        newer = hot if column.field_id > other.field_id else archive
        return said + (
            f'Rename the newer one, and both are kept: ALTER TABLE {newer.name} RENAME COLUMN "{column.name}" TO '
            "another name; then run `perennial init`."
        )
    return said + (
        f"In one of the two tables, add a column of another name, copy the values to it, drop the old one (ALTER TABLE "
        f'{archive.name} DROP COLUMN "{other.name}"), and let that engine rewrite the data files that hold it.'
    )
