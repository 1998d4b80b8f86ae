"""Trino."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlglot import exp

from perennial.engines.dialects import Dialect, hashed, microseconds, months_added, not_materialized
from perennial.engines.dialects.meanings import (
    DAYS,
    boundaries,
    call,
    day_of,
    day_of_week,
    in_zone,
    is_aware,
    no_braces,
    number,
    to_the_even,
    whole_of,
)

_MOMENT = exp.DataType.build("TIMESTAMP(6) WITH TIME ZONE", dialect="trino")
_LOCAL = exp.DataType.build("TIMESTAMP(6)", dialect="trino")
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


def _median(node: exp.Expr) -> exp.Expr:
    # It has none that is exact: the middle of the sorted values, or the mean of the two in the middle.
    if not isinstance(node, exp.Median):
        return node
    present = exp.Not(this=exp.Is(this=node.this.copy(), expression=exp.Null()))
    values = exp.Filter(this=exp.ArrayAgg(this=node.this.copy()), expression=exp.Where(this=present))
    ordered, count = call("array_sort", values), call("cardinality", values)
    # Whole numbers divided are whole there.
    low = exp.Div(this=exp.paren(exp.Add(this=count, expression=number(1))), expression=number(2), typed=True)
    high = exp.Add(this=exp.Div(this=count, expression=number(2), typed=True), expression=number(1))
    middles = [exp.cast(call("element_at", ordered, place), "DOUBLE") for place in (low, high)]
    return exp.paren(exp.Div(this=exp.paren(exp.Add(this=middles[0], expression=middles[1])), expression=number(2)))


def _day_of_week(node: exp.Expr) -> exp.Expr:
    found = day_of_week(node)
    if found is None:
        return node
    moment, iso = found
    monday_1 = call("day_of_week", day_of(moment))
    return monday_1 if iso else exp.paren(exp.Mod(this=monday_1, expression=number(7)))


def _date_diff(node: exp.Expr) -> exp.Expr:
    # It counts what is complete: between the beginnings of units that is every one.
    found = boundaries(node)
    if found is None:
        return node
    unit, *moments = found
    name = exp.Literal.string(unit.lower())
    ends = [day_of(moment) if unit in DAYS else exp.cast(moment.copy(), _LOCAL.copy()) for moment in moments]
    if unit not in ("DAY", "WEEK"):
        ends = [call("date_trunc", name, end) for end in ends]
    return call("date_diff", name, *ends)


def _at_time_zone(node: exp.Expr) -> exp.Expr:
    # There it shows the same instant in another zone; in DuckDB it takes the zone away, or gives one.
    if not isinstance(node, exp.AtTimeZone):
        return node
    zone = node.args["zone"]
    if is_aware(node):
        return _local(node.this, zone)
    local = exp.cast(node.this.copy(), _LOCAL.copy())
    first = call("at_timezone", call("with_timezone", local, zone), exp.Literal.string("UTC"))
    return in_zone(zone, first, local, lambda moment: _local(moment, zone))


def _local(instant: exp.Expr, zone: exp.Expr) -> exp.Expr:
    return exp.cast(call("at_timezone", instant, zone), _LOCAL.copy())


def _round(node: exp.Expr) -> exp.Expr:
    # Halves go away from zero there, those of a DOUBLE too.
    value = whole_of(node)
    if value is not None and not value.is_type(exp.DType.DECIMAL):
        node.set("this", to_the_even(value))
    return node


def _names(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Monthname | exp.Dayname):
        letter = "%M" if isinstance(node, exp.Monthname) else "%W"
        return call("date_format", exp.cast(node.this.copy(), _LOCAL.copy()), exp.Literal.string(letter))
    return node


def _printf(node: exp.Expr) -> exp.Expr:
    # Called format() there.
    if isinstance(node, exp.Anonymous) and node.name.lower() == "printf":
        return call("format", *node.expressions)
    return node


def bound(value: Any, place: exp.Expr) -> tuple[Any, exp.Expr]:
    """Hand times over as text: drivers write them with milliseconds, or without their time zone."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", exp.cast(place, _MOMENT.copy())
    if isinstance(value, date):
        return value.isoformat(), exp.cast(place, _DATE.copy())
    return value, place


_REWRITES = (
    # Before there are casts that are not the statement's own.
    _round,
    not_materialized,
    no_braces,
    _add_months,
    _count_microseconds,
    _hash_rows,
    _is_true,
    _greatest_of_those_present,
    _median,
    _day_of_week,
    _date_diff,
    _at_time_zone,
    _names,
    _printf,
)
TRINO = Dialect("trino", _REWRITES, bound)
