"""What DuckDB means by words that other engines know too, and take to mean something else."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from sqlglot.errors import UnsupportedError

DAYS = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
MICROSECONDS = {"HOUR": 3_600_000_000, "MINUTE": 60_000_000, "SECOND": 1_000_000, "MILLISECOND": 1_000}
_SUNDAY_IS_0 = {"DOW", "WEEKDAY", "DAYOFWEEK"}
_FLOATS = (exp.DType.DOUBLE, exp.DType.FLOAT)
_MOMENTS = {
    exp.DType.TIMESTAMPTZ: True,
    exp.DType.TIMESTAMPLTZ: True,
    exp.DType.TIMESTAMP: False,
    exp.DType.TIMESTAMPNTZ: False,
    exp.DType.DATE: False,
}


def refused(node: exp.Expr, reason: str, instead: str) -> UnsupportedError:
    """Say what cannot be kept, and what to write instead."""
    return UnsupportedError(f"{node.sql('duckdb')}: {reason}; write {instead}")


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Write a call as it stands: sqlglot translates the functions that it knows."""
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def number(value: int) -> exp.Expr:
    """Write a number."""
    return exp.Literal.number(value)


def day_of(moment: exp.Expr) -> exp.Expr:
    """Write the day of a moment, in UTC."""
    return exp.cast(moment.copy(), "DATE")


def day_of_week(node: exp.Expr) -> tuple[exp.Expr, bool] | None:
    """Return the moment that a day of the week is asked of, and whether Monday is 1 (or else Sunday 0)."""
    if isinstance(node, exp.DayOfWeek | exp.DayOfWeekIso):
        return node.this, isinstance(node, exp.DayOfWeekIso)
    part, moment = "", None
    if isinstance(node, exp.Extract):
        part, moment = node.name.upper(), node.expression
    elif isinstance(node, exp.Anonymous) and node.name.lower() in ("date_part", "datepart"):
        part, moment = node.expressions[0].name.upper(), node.expressions[-1]
    elif isinstance(node, exp.Anonymous) and node.name.lower() == "weekday":
        part, moment = "WEEKDAY", node.expressions[0]
    if moment is None or part not in _SUNDAY_IS_0 | {"ISODOW"}:
        return None
    return moment, part == "ISODOW"


def boundaries(node: exp.Expr, more: tuple[str, ...] = ()) -> tuple[str, exp.Expr, exp.Expr] | None:
    """Take `date_diff(unit, start, end)` apart: DuckDB counts the boundaries between, others what is complete."""
    if not isinstance(node, exp.DateDiff):
        return None
    unit = node.text("unit").upper()
    if unit not in (*DAYS, *MICROSECONDS, *more):
        known = ", ".join(found.lower() for found in (*DAYS, *MICROSECONDS, *more))
        raise refused(node, "date_diff counts these otherwise there", f"it with one of {known}")
    return unit, node.expression, node.this


def is_aware(node: exp.AtTimeZone) -> bool:
    """Tell whether AT TIME ZONE is asked of an instant, or else of a time that has no zone yet.

    Raises:
        UnsupportedError: That cannot be told.
    """
    kind = _MOMENTS.get(node.this.type.this) if node.this.type else None
    if kind is None:
        raise refused(node, "AT TIME ZONE of what may have a zone or not", "CAST(… AS TIMESTAMPTZ) or TIMESTAMP in it")
    return kind


def in_zone(zone: exp.Expr, first: exp.Expr, local: exp.Expr, told: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Choose the second of the two instants that an hour has when clocks go back, as DuckDB does.

    Args:
        zone: Its name.
        first: The instant, or the first of two.
        local: The time that clocks show.
        told: What clocks show at an instant.
    """
    if is_utc(zone):
        return first
    hour = exp.Interval(this=exp.Literal.string("1"), unit=exp.var("HOUR"))
    second = exp.Add(this=first.copy(), expression=hour)
    return exp.case().when(exp.EQ(this=told(second), expression=local.copy()), second.copy()).else_(first)


def is_utc(zone: exp.Expr) -> bool:
    """Tell whether a zone is UTC by name."""
    return isinstance(zone, exp.Literal) and zone.name.upper() == "UTC"


def whole_of(node: exp.Expr) -> exp.Expr | None:
    """Return what is cast to a whole number where it may hold a fraction, which DuckDB rounds; None for anything else.

    Raises:
        UnsupportedError: Whether it is a number cannot be told.
    """
    if not isinstance(node, exp.Cast) or not node.to.is_type(*exp.DataType.INTEGER_TYPES):
        return None
    value: exp.Expr = node.this
    if value.is_type(*_FLOATS, exp.DType.DECIMAL):
        return value
    untyped = value.type is None or value.is_type(exp.DType.UNKNOWN)
    if untyped and not isinstance(value, exp.Placeholder | exp.Null):
        raise refused(node, "fractions are rounded otherwise there, and whether this has any cannot be told",
                      "CAST(… AS DOUBLE) in it if it is a number, AS VARCHAR if it is a text")  # fmt: skip
    return None


def to_the_even(value: exp.Expr) -> exp.Expr:
    """Round as DuckDB rounds what is cast: a half of a DOUBLE to the even number, one of a DECIMAL away from zero."""
    rounded = call("round", value)
    if not value.is_type(*_FLOATS):
        return rounded
    half = exp.EQ(
        this=exp.func("abs", exp.Mod(this=exp.paren(value.copy()), expression=number(1))),
        expression=exp.Literal.number("0.5"),
    )
    halved = exp.Div(this=exp.paren(value.copy()), expression=number(2))
    even = exp.Mul(this=number(2), expression=call("round", halved))
    return exp.case().when(half, even).else_(rounded)


def no_braces(node: exp.Expr) -> exp.Expr:
    """Refuse format(), which has placeholders of its own in every engine."""
    if isinstance(node, exp.Format):
        raise refused(node, "format() has other placeholders there", "printf('%d %s', …)")
    return node
