"""Rows as database drivers return them, converted strictly to the Arrow columns of the contract.

Lossless conversions only: whole numbers and UUIDs become text, 0/1 and true/false booleans, ISO 8601 text and epoch
seconds times (those without a zone are UTC), JSON text and native arrays lists of strings. Everything else is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from perennial.errors import TerminalError, TerminalMetadataError
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_TAGS, SOURCE_VARIANTS, SOURCES, USERS, Column, Table

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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_TEXT = re.compile(r"-?\d{9,}(\.\d+)?")
_ISO_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}([T ].+)?")
_WORDS = {"0": False, "1": True, "false": False, "true": True}


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow columns of a synced table, as the contract declares them."""
    import pyarrow as pa

    text = pa.large_string()
    types = {
        "string": text,
        "boolean": pa.bool_(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
        "list<string>": pa.large_list(pa.field("element", text, nullable=False)),
    }
    return pa.schema([pa.field(column.name, types[column.type], not column.required) for column in table.columns])


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
        return cls(table, arrow_schema(table), tuple(names.index(column.name) for column in table.columns))


def arrow_batch(selected: SelectedColumns, rows: Sequence[Sequence[Any]], first_row: int) -> pa.RecordBatch:
    """Convert rows to a batch of the table's schema.

    Args:
        selected: Where the columns stand.
        rows: At least one row.
        first_row: Ordinal of the first of them in the table, from 1; names a row whose id is null.

    Raises:
        TerminalMetadataError: Names the table, the row, the column, the value and the remedy.
    """
    import pyarrow as pa

    by_position = list(zip(*rows, strict=True))
    values = {
        column.name: by_position[position]
        for column, position in zip(selected.table.columns, selected.positions, strict=True)
    }
    arrays = []
    for column, field in zip(selected.table.columns, selected.schema, strict=True):
        try:
            converted = _converted(selected.table, column, values[column.name])
        except _RefusedError as refused:
            row = _row_name(selected.table, values, refused.index, first_row)
            raise refused_value(selected.table.name, row, column.name, refused.value, refused.problem) from None
        arrays.append(pa.array(converted, type=field.type))
    return pa.record_batch(arrays, schema=selected.schema)


def refused_value(table: str, row: str, column: str, value: object, problem: str) -> TerminalMetadataError:
    """Word the refusal of one value."""
    return TerminalMetadataError(
        f"Platform table {table}, row {row}: column {column} is {repr(value)[:300]}; {problem}. Correct the row in the "
        f"platform, or map it in include/sql/platform/select_{table}.sql. The previous metadata stays in place."
    )


class _RefusedError(Exception):
    def __init__(self, index: int, value: object, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.value = value
        self.problem = problem


def _row_name(table: Table, values: dict[str, tuple[Any, ...]], index: int, first_row: int) -> str:
    key = {name: values[name][index] for name in PRIMARY_KEYS[table.name]}
    if None in key.values():
        return f"number {first_row + index}"
    return ", ".join(f"{name} {str(value)!r}" for name, value in key.items())


def _converted(table: Table, column: Column, values: tuple[Any, ...]) -> Sequence[Any]:
    """Convert one column of one batch; whole batches of the right type already pass untouched."""
    if column.required and None in values:
        raise _RefusedError(values.index(None), None, "the column is required")
    check = _CHECKS.get((table.name, column.name))
    convert = _json_text if check in (_readable_json, _readable_audience) else _CONVERSIONS[column.type]
    if set(map(type, values)) <= _EXACT[column.type]:
        convert = _unchanged
        if check is None:
            return values

    def checked(value: Any) -> Any:
        result = convert(value)
        if check is not None:
            check(result)
        return result

    return _each(values, checked)


def _each(values: tuple[Any, ...], convert: Callable[[Any], Any]) -> list[Any]:
    # Flags, attributes and days repeat; text is never equal to a value of another type.
    known: dict[str, Any] = {}
    converted = []
    for index, value in enumerate(values):
        if type(value) is str and value in known:
            converted.append(known[value])
            continue
        try:
            result = None if value is None else convert(value)
        except (ValueError, TerminalError) as error:
            raise _RefusedError(index, value, str(error).rstrip(".")) from None
        if type(value) is str:
            known[value] = result
        converted.append(result)
    return converted


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
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return _text(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, int | str) else ""
    if word not in _WORDS:
        raise ValueError("true, false, 0 or 1 is needed")
    return _WORDS[word]


def _instant(value: Any) -> datetime:
    try:
        found = _parsed_instant(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time is needed: ISO 8601 or epoch seconds") from None


def _parsed_instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        text = value.strip().removesuffix(" UTC")
        if _ISO_TEXT.fullmatch(text):
            return datetime.fromisoformat(text)
        if _EPOCH_TEXT.fullmatch(text):
            return _EPOCH + timedelta(seconds=float(text))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + timedelta(seconds=value)
    raise ValueError(value)


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


def _readable_audience(text: str) -> None:
    from perennial.audiences import parse

    parse(text)


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "boolean": _boolean,
    "timestamptz": _instant,
    "list<string>": _strings,
}
_EXACT: dict[str, set[type]] = {
    "string": {str, type(None)},
    "boolean": {bool, type(None)},
    "timestamptz": {type(None)},
    "list<string>": {type(None)},
}
_CHECKS: dict[tuple[str, str], Callable[[str], None]] = {
    (SOURCES.name, "kind"): partial(_one_of, _SOURCE_KINDS),
    (SOURCES.name, "status"): partial(_one_of, _STATUSES),
    (AUDIENCES.name, "owner_kind"): partial(_one_of, (*_SOURCE_KINDS, "segment", "content_card")),
    (AUDIENCES.name, "owner_status"): partial(_one_of, _STATUSES),
    (AUDIENCES.name, "definition"): _readable_audience,
    (USERS.name, "custom_attributes"): _readable_json,
}
