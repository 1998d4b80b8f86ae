"""Rows as database drivers return them, converted strictly to the Arrow columns of the contract.

Only lossless conversions are made (`conversions`). Every other value is an issue that a sync refuses, except in
columns that no decision uses (`_NOT_DECISIVE`), where it is read as null and counted. Audience definitions pass
unchanged: one that cannot be read does not stop a sync (R4), and is listed in `audience_violations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from perennial.platform.conversions import (
    CONTROL_CHARACTERS,
    CONVERSIONS,
    EXACT,
    HALF_CHARACTERS,
    json_text,
    refuse_control_characters,
    refuse_others,
    refuse_unreadable_json,
)
from perennial.platform.issues import EXAMPLES, Issue, IssueKind
from perennial.platform.times import mapped_time, refuse_deletion_to_come, refuse_too_early
from perennial.refusals import CLOCK_DIFFERENCE, nearest_name
from perennial.tables import AUDIENCES, CANVAS_STEPS, SOURCE_TAGS, SOURCE_VARIANTS, SOURCES, SYNCED, USERS, Table
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
TABLES_OF_SOURCES = {SOURCE_TAGS.name, SOURCE_VARIANTS.name, CANVAS_STEPS.name}
"""Tables whose source_id has to be in `sources`."""
_SOURCE_KINDS = ("campaign", "canvas")
_STATUSES = ("draft", "active", "stopped", "archived")


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow columns of a synced table, as the contract declares them."""
    return declared_arrow_schema(table)


@dataclass(frozen=True)
class SelectedColumns:
    """The positions of a synced table's columns in the result of its SELECT.

    Attributes:
        table: The synced table.
        schema: Its Arrow columns.
        positions: The position of each column by name, without those that are missing or come twice.
        place: Where the SELECT is, as written in a sentence.
        issues: Columns that are missing, come twice, or are unknown.
    """

    table: Table
    schema: pa.Schema
    positions: dict[str, int]
    place: str
    issues: tuple[Issue, ...]

    @classmethod
    def matched(cls, table: Table, names: Sequence[str], place: str) -> SelectedColumns:
        """Find every column of the contract; others are ignored."""
        positions = {column.name: names.index(column.name) for column in table.columns if names.count(column.name) == 1}
        issues = tuple(_unmatched(table, names, positions, place))
        return cls(table, arrow_schema(table), positions, place, issues)

    @property
    def has_key(self) -> bool:
        """Whether every column of the table's key is present."""
        return all(name in self.positions for name in PRIMARY_KEYS[self.table.name])


def _unmatched(table: Table, names: Sequence[str], positions: dict[str, int], place: str) -> Iterator[Issue]:
    known = [column.name for column in table.columns]
    others = [name for name in names if name not in known]
    for name in known:
        if name not in positions:
            problem = f"{'more than one' if name in names else 'no'} column {name}"
            near = nearest_name(name, others)
            remedy = f"Select it once in {place} (it returns {', '.join(names)})."
            meant = f"; perhaps {near!r} is meant" if near and name not in names else ""
            yield Issue(
                "refused", table.name, problem, (f"Platform table {table.name} has {problem}{meant}",), remedy, name
            )
    for name in others:
        example = f"Column {name!r} of {table.name} is left out: the table has no such column"
        yield Issue("left_out", table.name, "no such column", (example,), column=name)


@dataclass(frozen=True)
class _Case:
    """What is wrong with the value of one row of a batch."""

    index: int
    value: object
    problem: str


def arrow_batch(
    selected: SelectedColumns, rows: Sequence[Sequence[Any]], first_row: int, now: datetime
) -> tuple[pa.RecordBatch, list[Issue]]:
    """Convert rows to a batch of the table's schema.

    Args:
        selected: The positions of the columns; a missing one is null.
        rows: At least one row.
        first_row: Ordinal of the first of them in the table, from 1; names a row whose id is null.
        now: Wall clock.

    Returns:
        The batch, with null for every value that cannot be used, and the issues in it.
    """
    import pyarrow as pa

    by_position = list(zip(*rows, strict=True))
    values = {name: by_position[position] for name, position in selected.positions.items()}
    arrays: list[pa.Array] = []
    issues: list[Issue] = []
    for field in selected.schema:
        if field.name not in values:
            arrays.append(pa.nulls(len(rows), field.type))
            continue
        converted, found = _converted(selected.table, field.name, values[field.name], now)
        arrays.append(pa.array(converted, type=field.type))
        name_row = partial(_row_name, selected.table, values, first_row)
        for kind, cases in found.items():
            issues += _issues(kind, selected, field.name, cases, name_row, now)
    return pa.record_batch(arrays, schema=selected.schema), issues


def _converted(
    table: Table, name: str, values: tuple[Any, ...], now: datetime
) -> tuple[Sequence[Any], dict[IssueKind, list[_Case]]]:
    """Convert one column of one batch; a batch that already has the right type is not changed."""
    column = next(column for column in table.columns if column.name == name)
    place = (table.name, name)
    check = partial(refuse_deletion_to_come, now) if place == _DELETION else _CHECKS.get(place)
    exact = set(map(type, values)) <= EXACT[column.type] and not (column.required and None in values)
    if exact and check in (None, refuse_control_characters) and not _has_bad_characters(values, check is not None):
        return values, {}
    convert = json_text if place in _JSON else CONVERSIONS[column.type]
    converted, cases = _each(values, convert, check, column.required)
    found: dict[IssueKind, list[_Case]] = {"read_as_null" if place in _NOT_DECISIVE else "refused": cases}
    if place in _STARTS_OF_CLOCKS:
        found["later_than_now"] = _to_come(converted, now)
    return converted, found


def _has_bad_characters(values: tuple[Any, ...], of_ids: bool) -> bool:
    """Check a whole batch of text at once; booleans and nulls have no text."""
    pattern = CONTROL_CHARACTERS if of_ids else HALF_CHARACTERS
    return bool(pattern.search(" ".join(value for value in values if isinstance(value, str))))


def _each(
    values: tuple[Any, ...], convert: Callable[[Any], Any], check: Callable[[Any], None] | None, required: bool
) -> tuple[list[Any], list[_Case]]:
    # Flags, attributes and days repeat; text is never equal to a value of another type.
    known: dict[str, Any] = {}
    converted: list[Any] = []
    cases = []
    for index, value in enumerate(values):
        result = known.get(value) if type(value) is str else None
        if result is None and value is not None:
            try:
                result = convert(value)
                if check is not None:
                    check(result)
            except ValueError as error:
                result = None
                cases.append(_Case(index, value, str(error)))
            if type(value) is str:
                known[value] = result
        elif value is None and required:
            cases.append(_Case(index, None, "the column is required"))
        converted.append(result)
    return converted, cases


def _to_come(moments: Sequence[datetime | None], now: datetime) -> list[_Case]:
    limit = now + CLOCK_DIFFERENCE
    return [
        _Case(index, str(moment), "later than now")
        for index, moment in enumerate(moments)
        if moment is not None and moment > limit
    ]


def _issues(
    kind: IssueKind,
    selected: SelectedColumns,
    column: str,
    cases: Iterable[_Case],
    name_row: Callable[[int], str],
    now: datetime,
) -> Iterator[Issue]:
    """Combine all cases of a problem into one issue; the first ones are its examples."""
    table, is_private = selected.table.name, (selected.table.name, column) in _JSON
    by_problem: dict[str, list[_Case]] = {}
    for case in cases:
        by_problem.setdefault(case.problem, []).append(case)
    for problem, counted in by_problem.items():
        # One example of each value says more than many of the same.
        first = list({repr(case.value): case for case in reversed(counted)}.values())[::-1][:EXAMPLES]
        if kind == "refused":
            examples = [value_example(table, name_row(case.index), column, case.value, problem) for case in first]
            remedy = value_remedy(selected.place, _mapped(selected.table, column, first[0].value, now))
        else:
            # Personal data must not be logged.
            said = ["" if is_private else f" has {repr(case.value)[:300]}" for case in first]
            examples = [
                f"row {name_row(case.index)}{value} ({problem})" for case, value in zip(first, said, strict=True)
            ]
            remedy = ""
        yield Issue(kind, table, problem, tuple(examples), remedy, column, len(counted))


def value_example(table: str, row: str, column: str, value: object, problem: str) -> str:
    """Describe what is wrong with one value, without a full stop."""
    shown = str(value) if isinstance(value, datetime) else repr(value)[:300]
    return f"Platform table {table}, row {row}: column {column} is {shown}; {problem}"


def value_remedy(place: str, mapped: str = "") -> str:
    """Describe what to do about a value; `mapped` is an expression that avoids it."""
    remedy = f"select {mapped}" if mapped else "map it"
    return f"Correct the row in the platform, or {remedy} in {place}."


def _mapped(table: Table, name: str, value: object, now: datetime) -> str:
    column = next(column for column in table.columns if column.name == name)
    is_time = column.type == "timestamptz"
    return (mapped_time(name, value, column.required, now) if is_time else None) or ""


def _row_name(table: Table, values: dict[str, tuple[Any, ...]], first_row: int, index: int) -> str:
    key = {name: values[name][index] if name in values else None for name in PRIMARY_KEYS[table.name]}
    if None in key.values():
        return f"number {first_row + index}"
    return ", ".join(f"{name} {str(value)!r}" for name, value in key.items())


_JSON = {(AUDIENCES.name, "definition"), (USERS.name, "custom_attributes")}
# Columns that no decision or filter needs: a broken value in them must not fail the sync.
_NOT_DECISIVE = {(USERS.name, "created_at"), (USERS.name, "custom_attributes")}
_STARTS_OF_CLOCKS = {(SOURCES.name, name) for name in ("created_at", "stopped_at", "last_sent_at")}
_DELETION = (SOURCES.name, "interaction_data_deleted_at")
_IDS_AND_TAGS = {
    (table.name, column.name)
    for table in SYNCED
    for column in table.columns
    if column.name.endswith("_id") or column.name in ("tag", "part")
}
# An owner's kind and status are never guessed: one that is misspelt may be an active campaign, or a segment in a chain.
_CHECKS: dict[tuple[str, str], Callable[[Any], None]] = {
    **dict.fromkeys(_IDS_AND_TAGS, refuse_control_characters),
    (SOURCES.name, "kind"): partial(refuse_others, _SOURCE_KINDS),
    (SOURCES.name, "status"): partial(refuse_others, _STATUSES),
    **dict.fromkeys(_STARTS_OF_CLOCKS, refuse_too_early),
    (AUDIENCES.name, "owner_kind"): partial(refuse_others, (*_SOURCE_KINDS, "segment", "content_card")),
    (AUDIENCES.name, "owner_status"): partial(refuse_others, _STATUSES),
    (USERS.name, "created_at"): refuse_too_early,
    (USERS.name, "custom_attributes"): refuse_unreadable_json,
}
