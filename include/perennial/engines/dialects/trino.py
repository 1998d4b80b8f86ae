"""Trino."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlglot import exp

from perennial.engines.dialects import Dialect, hashed, microseconds, months_added, not_materialized

_MOMENT = exp.DataType.build("TIMESTAMP(6) WITH TIME ZONE", dialect="trino")
_DATE = exp.DataType.build("DATE")
_PRESENT = exp.Lambda(
    this=exp.Not(this=exp.Is(this=exp.column("x"), expression=exp.Null())), expressions=[exp.to_identifier("x")]
)


def _add_months(node: exp.Expr) -> exp.Expr:
    # There is no interval of a number of months that a column holds.
    added = months_added(node)
    if added is None:
        return node
    moment, count = added
    # Not sqlglot's own DATE_ADD, which has its arguments in another order.
    return exp.Anonymous(this="date_add", expressions=[exp.Literal.string("month"), count, moment])


def _count_microseconds(node: exp.Expr) -> exp.Expr:
    # The only way to a number; a double holds microseconds until the year 2100 and beyond, but for the last digit.
    moment = microseconds(node)
    if moment is None:
        return node
    seconds = exp.Anonymous(this="to_unixtime", expressions=[moment])
    return exp.cast(exp.func("round", exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000))), "BIGINT")


def _hash_rows(node: exp.Expr) -> exp.Expr:
    # Its hashes of one row take bytes only; this one takes whole rows in any order, and a doubled row shows in it.
    columns = hashed(node)
    if columns is None:
        return node
    rows = exp.Anonymous(this="checksum", expressions=[exp.Anonymous(this="ROW", expressions=columns)])
    return exp.Anonymous(this="to_hex", expressions=[rows])


def _is_true(node: exp.Expr) -> exp.Expr:
    # There is no IS TRUE, and what sqlglot writes for it is null where the operand is.
    if not isinstance(node, exp.Is) or not isinstance(node.expression, exp.Boolean):
        return node
    if node.expression.this:
        return exp.func("coalesce", node.this, exp.false())
    return exp.Not(this=exp.func("coalesce", node.this, exp.true()))


def _greatest_of_those_present(node: exp.Expr) -> exp.Expr:
    # greatest() and least() are null as soon as one of their arguments is.
    if not isinstance(node, exp.Greatest | exp.Least):
        return node
    name = "array_max" if isinstance(node, exp.Greatest) else "array_min"
    values = exp.Array(expressions=[node.this, *node.expressions])
    return exp.Anonymous(this=name, expressions=[exp.Anonymous(this="filter", expressions=[values, _PRESENT.copy()])])


def bound(value: Any, place: exp.Expr) -> tuple[Any, exp.Expr]:
    """Hand times over as text: drivers write them with milliseconds, or without their time zone."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", exp.cast(place, _MOMENT.copy())
    if isinstance(value, date):
        return value.isoformat(), exp.cast(place, _DATE.copy())
    return value, place


_REWRITES = (not_materialized, _add_months, _count_microseconds, _is_true, _greatest_of_those_present, _hash_rows)
TRINO = Dialect("trino", _REWRITES, bound)
