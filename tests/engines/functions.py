"""The functions of our statements and of docs/analysts.md, with the types that they are used with, and a case of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from perennial.engines import transpile
from perennial.engines.snapshots import COLUMNS
from tests.analysts_page import QUERIES
from tests.engines.golden import STATEMENTS, VIEWS_KEPT, Asked, relations_of

# Named for its types. The second row is null but for what it is ordered by; the moments are around midnight, around a
# minute, and in a leap year.
ROWS = """(
    SELECT
        1 AS number, 7::BIGINT AS bigint, 'a' AS text, TRUE AS flag, DATE '2024-02-29' AS day,
        TIMESTAMPTZ '2024-02-28 23:59:59.999999+00' AS seen, TIMESTAMPTZ '2024-02-29 00:00:00+00' AS later, 1 AS place
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, TIMESTAMPTZ '2026-12-31 12:00:30+00', 2
    UNION ALL
    SELECT
        2, 4, 'b', FALSE, DATE '2026-11-30',
        TIMESTAMPTZ '1969-12-31 23:59:59.5+00', TIMESTAMPTZ '2026-06-30 01:02:03.456789+00', 3
)"""
EACH = (
    "day + INTERVAL 30 DAYS",
    "day - INTERVAL 90 DAYS",
    "date_trunc('week', day)",
    "date_trunc('week', later)",
    "date_diff('minute', seen, later)",
    "date_diff('day', day, DATE '2026-12-24')",
    "(seen AT TIME ZONE 'UTC' + to_months(number)) AT TIME ZONE 'UTC'",
    "epoch_us(seen)::BIGINT",
    "greatest(seen, later)",
    "least(seen, later)",
    "nullif(bigint, 4)",
    "bigint / place::BIGINT",
    "round(bigint / 3, 1)",
    "flag::INTEGER",
    "bigint::BIGINT",
    "'9999-12-31 00:00:00 UTC'::TIMESTAMPTZ",
    "coalesce(bigint, 0)",
    "coalesce(text, text)",
    "coalesce(text, 'none')",
    "coalesce(flag, FALSE)",
    "coalesce(seen, later)",
    "row_number() OVER (ORDER BY place)",
    "current_date > day",
    "now() > later",
)
OF_ALL = (
    "sum(bigint)",
    "avg(number)",
    "median(bigint)",
    "median(bigint) / 60",
    "round(median(bigint) / 60, 1)",
    "count(*)",
    "count(DISTINCT text)",
    "bool_or(flag)",
    *(f"{name}({column})" for name in ("min", "max") for column in ("text", "seen")),
    *(f"max_by({column}, later)" for column in ("text", "bigint", "seen")),
    "max_by(text, later) FILTER (place < 3)",
)
ASKED = [
    f"SELECT place, {', '.join(f'{sql} AS c{number}' for number, sql in enumerate(EACH))} FROM {ROWS} AS r ORDER BY place",
    f"SELECT {', '.join(f'{sql} AS c{number}' for number, sql in enumerate(OF_ALL))} FROM {ROWS} AS r",
]
# They have the types of what is in them, or take no argument.
_WITHOUT_CASES = (
    exp.Case,
    exp.If,
    exp.Interval,
    exp.Unnest,
    exp.Explode,
    exp.Connector,
    exp.Predicate,
    exp.Dot,
    exp.Anonymous,
)
Use = tuple[str, tuple[str, ...]]


def used() -> dict[Use, str]:
    """Each function with the types of its arguments, and one place that uses it."""
    pages = {heading: Asked(query, {}, VIEWS_KEPT) for (_, heading), query in QUERIES.items()}
    ours = {name: asked for name, asked in STATEMENTS.items() if isinstance(asked.sql, str)}
    return {use: name for name, asked in (ours | pages).items() for use in _uses(asked)}


def covered() -> set[Use]:
    """The same of the cases."""
    return {use for sql in ASKED for use in _uses(Asked(sql))}


def is_covered(use: Use, cases: set[Use]) -> bool:
    """Whether there is a case; a type that sqlglot does not know may be any."""
    name, types = use
    return any(
        name == other
        and len(types) == len(others)
        and all(a in (b, "UNKNOWN") for a, b in zip(types, others, strict=True))
        for other, others in cases
    )


def _uses(asked: Asked) -> Iterator[Use]:
    relations = relations_of(asked)
    schema = {**COLUMNS, **relations.held}
    whole, _ = relations._whole(transpile._parsed(str(asked.sql)), asked.params)
    query = annotate_types(qualify(whole, schema=schema, dialect="duckdb"), schema=schema, dialect="duckdb")
    for node in query.find_all(exp.Func, exp.Binary):
        if not isinstance(node, _WITHOUT_CASES):
            found = (child.type for child in node.iter_expressions() if not isinstance(child, exp.DataType | exp.Var))
            types = ["TEXT" if str(kind) == "VARCHAR" else str(kind or "UNKNOWN") for kind in found]
            # They take any number of arguments.
            yield type(node).__name__, tuple(types[:2] if isinstance(node, exp.Greatest) else types)


def kind(found: Any) -> str:
    """A type as far as whoever asks sees it: how many bits a number has makes no difference."""
    if pa.types.is_integer(found) or (pa.types.is_decimal(found) and found.scale == 0):
        return "whole number"
    if pa.types.is_floating(found) or pa.types.is_decimal(found):
        return "number"
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        return f"list of {kind(found.value_type)}"
    return "text" if pa.types.is_string(found) or pa.types.is_large_string(found) else str(found)


def kinds(table: pa.Table) -> dict[str, str]:
    return {field.name: kind(field.type) for field in table.schema}
