"""Rows on standard output for programs: CSV, or a JSON array of objects, as they come."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FETCHED_ROWS = 10_000

AsCsv = Annotated[bool, typer.Option("--csv", help="Write CSV, for programs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write a JSON array of objects, for programs.")]


def row_writer(as_csv: bool, as_json: bool) -> Callable[[DuckDBPyConnection], None] | None:
    """Return the function that writes an executed statement's rows as CSV or JSON; None for a table on the screen."""
    if as_csv and as_json:
        raise typer.BadParameter("Give either --csv or --json, and not both.")
    return _write_csv if as_csv else _write_json if as_json else None


def write_object(value: Any) -> None:
    """Write a dataclass as one JSON object."""
    sys.stdout.write(json.dumps(_plain(asdict(value)), ensure_ascii=False, indent=1) + "\n")


def _columns(result: DuckDBPyConnection) -> list[str]:
    return [column[0] for column in result.description or ()]


def _rows(result: DuckDBPyConnection) -> Iterable[Sequence[Any]]:
    while batch := result.fetchmany(_FETCHED_ROWS):
        yield from batch


def _write_csv(result: DuckDBPyConnection) -> None:
    """Write a header and rows: quoted as in RFC 4180, null as an empty field, lists and structs as JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_columns(result))
    writer.writerows([_cell(_plain(value)) for value in row] for row in _rows(result))


def _write_json(result: DuckDBPyConnection) -> None:
    """Write an array, one object per line; numbers that JSON does not have become null."""
    names = _distinct(_columns(result))
    between = "[\n"
    for row in _rows(result):
        found = dict(zip(names, map(_plain, row), strict=True))
        sys.stdout.write(between + json.dumps(found, ensure_ascii=False))
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


def _distinct(columns: Sequence[str]) -> list[str]:
    """Number the columns that repeat a name, because an object has each name once."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for column in columns:
        name = column
        while name in names:
            seen[column] += 1
            name = f"{column}_{seen[column]}"
        names.append(name)
    return names


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return value


def _plain(value: Any) -> Any:
    """Return a value for JSON: times in ISO 8601, moments in UTC."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime() if value.tzinfo:
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case bytes():
            return value.hex()
    return str(value)
