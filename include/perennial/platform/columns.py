"""Rows as database drivers return them, converted strictly to the Arrow columns of the contract.

Lossless conversions only: whole numbers and UUIDs become text, 0/1 and true/false booleans, ISO 8601 text and epoch
seconds times (those without a zone are UTC), JSON text and native arrays lists of strings. Everything else is an error,
but in columns that no decision uses (`_UNDECISIVE`): there it is read as null and counted. Audience definitions pass as
they are: one that cannot be read stops nothing (R4), and is listed in `audience_violations`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from perennial.errors import TerminalMetadataError
from perennial.platform.times import instant, mapped_time, refuse_deletion_to_come, refuse_too_early
from perennial.refusals import CLOCK_DIFFERENCE
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_TAGS, SOURCE_VARIANTS, SOURCES, USERS, Column, Table
from perennial.warehouse.schemas import declared_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

PRIMARY_KEYS = {
    SOURCES.name: ("source_id",),
    SOURCE_TAGS.name: ("source_id", "tag"),
    SOURCE_VARIANTS.name: ("variant_id",),
    CANVAS_STEPS.name: ("step_id",),
    AUDIENCES.name: ("owner_kind", "owner_id", "part"),
    USERS.name: ("user_id",),
}
_SOURCE_KINDS = ("campaign", "canvas")
_STATUSES = ("draft", "active", "stopped", "archived")
_WORDS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class SelectedColumns:
    """Where the columns of a synced table stand in what its SELECT returns."""

    table: Table
    schema: pa.Schema
    positions: tuple[int, ...]

    @classmethod
    def matched(cls, table: Table, names: Sequence[str]) -> SelectedColumns:
        """Find every column of the contract; others are left out.

        Raises:
            TerminalMetadataError: A column is missing, or comes twice.
        """
        for column in table.columns:
            if (found := names.count(column.name)) != 1:
                raise TerminalMetadataError(
                    f"Platform table {table.name} has {'no' if not found else 'more than one'} column {column.name}; "
                    f"select it once in include/sql/platform/select_{table.name}.sql (it returns {', '.join(names)})."
                )
        return cls(table, declared_arrow_schema(table), tuple(names.index(column.name) for column in table.columns))


@dataclass
class Remark:
    """What is worth a person's look in one column.

    Attributes:
        count: Rows that have it.
        example: The first of them: its row and what is wrong.
    """

    count: int
    example: str


@dataclass(frozen=True)
class Reading:
    """One look at the platform.

    Attributes:
        now: Wall clock.
        unusable: Values that were read as null, by table and column.
        to_come: Times of sources later than now, likewise. They are believed: such a source stays hot until then.
    """

    now: datetime
    unusable: dict[tuple[str, str], Remark] = field(default_factory=dict)
    to_come: dict[tuple[str, str], Remark] = field(default_factory=dict)


def arrow_batch(
    selected: SelectedColumns, rows: Sequence[Sequence[Any]], first_row: int, reading: Reading
) -> pa.RecordBatch:
    """Convert rows to a batch of the table's schema.

    Args:
        selected: Where the columns stand.
        rows: At least one row.
        first_row: Ordinal of the first of them in the table, from 1; names a row whose id is null.
        reading: Is told of what it should remark on.

    Raises:
        TerminalMetadataError: Names the table, the row, the column, the value and the remedy.
    """
    import pyarrow as pa

    table = selected.table
    by_position = list(zip(*rows, strict=True))
    values = {
        column.name: by_position[position] for column, position in zip(table.columns, selected.positions, strict=True)
    }
    name_row = partial(_row_name, table, values, first_row=first_row)
    arrays = []
    for column, arrow_field in zip(table.columns, selected.schema, strict=True):
        try:
            converted, unusable = _converted(table, column, values[column.name], reading.now)
        except _RefusedError as refused:
            raise _refused(table, column, name_row(refused.index), refused, reading.now) from None
        _remark(reading.unusable, table, column, name_row, unusable)
        arrays.append(pa.array(converted, type=arrow_field.type))
        if (table.name, column.name) in _STARTS_OF_CLOCKS:
            _remark(reading.to_come, table, column, name_row, _to_come(converted, reading.now))
    return pa.record_batch(arrays, schema=selected.schema)


def refused_value(
    table: str, row: str, column: str, value: object, problem: str, mapped: str = ""
) -> TerminalMetadataError:
    """Word the refusal of one value, `mapped` being the expression that would do without it."""
    shown = str(value) if isinstance(value, datetime) else repr(value)[:300]
    remedy = f"select {mapped}" if mapped else "map it"
    return TerminalMetadataError(
        f"Platform table {table}, row {row}: column {column} is {shown}; {problem}. Correct the row in the "
        f"platform, or {remedy} in include/sql/platform/select_{table}.sql. The previous metadata stays in place."
    )


class _RefusedError(Exception):
    def __init__(self, index: int, value: object, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.value = value
        self.problem = problem


def _refused(table: Table, column: Column, row: str, refused: _RefusedError, now: datetime) -> TerminalMetadataError:
    is_time = column.type == "timestamptz"
    mapped = mapped_time(column.name, refused.value, column.required, now) if is_time else None
    return refused_value(table.name, row, column.name, refused.value, refused.problem, mapped or "")


def _row_name(table: Table, values: dict[str, tuple[Any, ...]], index: int, first_row: int) -> str:
    key = {name: values[name][index] for name in PRIMARY_KEYS[table.name]}
    if None in key.values():
        return f"number {first_row + index}"
    return ", ".join(f"{name} {str(value)!r}" for name, value in key.items())


def _to_come(moments: Sequence[datetime | None], now: datetime) -> list[_RefusedError]:
    limit = now + CLOCK_DIFFERENCE
    return [
        _RefusedError(index, str(moment), "later than now")
        for index, moment in enumerate(moments)
        if moment is not None and moment > limit
    ]


def _remark(
    remarks: dict[tuple[str, str], Remark],
    table: Table,
    column: Column,
    name_row: Callable[[int], str],
    found: Sequence[_RefusedError],
) -> None:
    if found:
        first = found[0]
        # What is known of a person has no place in a log.
        shown = "" if (table.name, column.name) in _JSON else f" has {repr(first.value)[:300]}"
        example = f"row {name_row(first.index)}{shown} ({first.problem})"
        remark = remarks.setdefault((table.name, column.name), Remark(0, example))
        remark.count += len(found)


def _converted(
    table: Table, column: Column, values: tuple[Any, ...], now: datetime
) -> tuple[Sequence[Any], Sequence[_RefusedError]]:
    """Convert one column of one batch; whole batches of the right type already pass untouched.

    Returns:
        The values, and what was read as null because it cannot be used and no decision needs it.
    """
    if column.required and None in values:
        raise _RefusedError(values.index(None), None, "the column is required")
    place = (table.name, column.name)
    check = partial(refuse_deletion_to_come, now) if place == _DELETION else _CHECKS.get(place)
    convert = _json_text if place in _JSON else _CONVERSIONS[column.type]
    if set(map(type, values)) <= _EXACT[column.type]:
        convert = _unchanged
        if check is None:
            return values, ()

    def checked(value: Any) -> Any:
        result = convert(value)
        if check is not None:
            check(result)
        return result

    return _each(values, checked, undecisive=place in _UNDECISIVE)


def _each(
    values: tuple[Any, ...], convert: Callable[[Any], Any], undecisive: bool
) -> tuple[list[Any], list[_RefusedError]]:
    # Flags, attributes and days repeat; text is never equal to a value of another type.
    known: dict[str, Any] = {}
    converted: list[Any] = []
    unusable = []
    for index, value in enumerate(values):
        if type(value) is str and value in known:
            converted.append(known[value])
            continue
        try:
            result = None if value is None else convert(value)
        except ValueError as error:
            refused = _RefusedError(index, value, str(error))
            if not undecisive:
                raise refused from None
            unusable.append(refused)
            converted.append(None)
            continue
        if type(value) is str:
            known[value] = result
        converted.append(result)
    return converted, unusable


def _unchanged(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"text is needed, not {type(value).__name__}")


def _json_text(value: Any) -> str:
    """Return JSON as text; drivers return the database's own JSON type as Python objects."""
    if isinstance(value, dict | list | bool | float):
        return json.dumps(value, ensure_ascii=False)
    return _text(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, int | str) else ""
    if word not in _WORDS:
        raise ValueError("true, false, 0 or 1 is needed")
    return _WORDS[word]


def _strings(value: Any) -> list[str]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
        raise ValueError("a JSON list of strings, or an array of text, is needed")
    return list(found)


def _one_of(choices: tuple[str, ...], value: str) -> None:
    if value not in choices:
        raise ValueError(f"it must be {', '.join(choices[:-1])} or {choices[-1]}")


def _readable_json(text: str) -> None:
    from pydantic_core import from_json

    # The parser that the users export reads it with: what gets in here comes out there.
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "timestamptz": instant,
    "list<string>": _strings,
}
_EXACT: dict[str, set[type]] = {
    "string": {str, type(None)},
    "boolean": {bool, type(None)},
    "timestamptz": {type(None)},
    "list<string>": {type(None)},
}
_JSON = {(AUDIENCES.name, "definition"), (USERS.name, "custom_attributes")}
# What no decision or filter needs: a broken value would harm nobody but the sync.
_UNDECISIVE = {(USERS.name, "created_at"), (USERS.name, "custom_attributes")}
_STARTS_OF_CLOCKS = {(SOURCES.name, name) for name in ("created_at", "stopped_at", "last_sent_at")}
_DELETION = (SOURCES.name, "interaction_data_deleted_at")
# An owner's kind and status are never guessed: one that is misspelt may be an active campaign, or a segment in a chain.
_CHECKS: dict[tuple[str, str], Callable[[Any], None]] = {
    (SOURCES.name, "kind"): partial(_one_of, _SOURCE_KINDS),
    (SOURCES.name, "status"): partial(_one_of, _STATUSES),
    **dict.fromkeys(_STARTS_OF_CLOCKS, refuse_too_early),
    (AUDIENCES.name, "owner_kind"): partial(_one_of, (*_SOURCE_KINDS, "segment", "content_card")),
    (AUDIENCES.name, "owner_status"): partial(_one_of, _STATUSES),
    (USERS.name, "created_at"): refuse_too_early,
    (USERS.name, "custom_attributes"): _readable_json,
}
