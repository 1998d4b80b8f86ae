"""Differences between engines that sqlglot does not know: our statements are written once, in DuckDB's dialect.

It has only what those statements need; `tests/engines/golden/` has the results. A new function in `include/sql/` or in
the compiler of audiences may need a rewrite here: the tests on Spark show that, and for Trino and Athena a person has
to read the change of the golden file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from sqlglot import exp

LAYER = "perennial_layer_"
"""Prefix of an audience's layers: each has one row per user, so grouping by user changes nothing."""
Rewrite = Callable[[exp.Expr], exp.Expr]


@dataclass(frozen=True)
class Dialect:
    """How one engine's SQL differs from DuckDB's.

    Attributes:
        name: The dialect, as sqlglot calls it.
        rewrites: Applied to every node of a statement, in order; other nodes are returned unchanged.
        bound: Turns a value into the driver's form, and its bind into an expression.
    """

    name: str
    rewrites: tuple[Rewrite, ...]
    bound: Callable[[Any, exp.Expr], tuple[Any, exp.Expr]] = lambda value, place: (value, place)


# --- all but DuckDB ---------------------------------------------------------------------------------------------------


def _not_materialized(node: exp.Expr) -> exp.Expr:
    # They have no such function.
    if isinstance(node, exp.CTE):
        node.set("materialized", None)
    return node


def _in_utc(node: exp.Expr) -> exp.Expr:
    # It is for analysts who set a time zone in DuckDB. Sessions and tables are in UTC here, and AT TIME ZONE does not
    # take the zone away everywhere.
    return node.this if isinstance(node, exp.AtTimeZone) and node.args["zone"].name == "UTC" else node


def _months_added(node: exp.Expr) -> tuple[exp.Expr, exp.Expr] | None:
    """Take `moment + to_months(count)` apart; None for anything else."""
    if isinstance(node, exp.Add) and _is_call(node.expression, "to_months"):
        return node.this, node.expression.expressions[0]
    return None


def _microseconds(node: exp.Expr) -> exp.Expr | None:
    """Return the moment in `epoch_us(moment)`; None for anything else."""
    return node.expressions[0] if _is_call(node, "epoch_us") else None


def _is_call(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == name


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Write a call unchanged, because sqlglot would translate functions that it knows."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def _chosen_of_those_present(node: exp.Expr) -> exp.Expr:
    # DuckDB passes over rows whose value is null, and chooses among the others.
    if not isinstance(node, exp.ArgMax | exp.ArgMin):
        return node
    present = exp.Not(this=exp.Is(this=node.this.copy(), expression=exp.Null()))
    if not isinstance(node.parent, exp.Filter):
        return exp.Filter(this=node.copy(), expression=exp.Where(this=present))
    where = node.parent.expression
    if present not in where.find_all(exp.Not):
        where.set("this", exp.and_(where.this, present))
    return node


# --- Spark, through Spark Connect; Sail runs this dialect too ---------------------------------------------------------


def _add_months_in_spark(node: exp.Expr) -> exp.Expr:
    # add_months() returns a date and loses the time of day.
    added = _months_added(node)
    if added is None:
        return node
    moment, count = added
    return exp.Add(this=moment, expression=exp.func("make_ym_interval", exp.Literal.number(0), count))


def _without_zone_in_spark(node: exp.Expr) -> exp.Expr:
    # There a date with an interval stays a date, and date_trunc() returns a time with a zone.
    if isinstance(node, exp.TimestampTrunc | exp.Add | exp.Sub) and node.this.is_type("date", "timestamp"):
        with_interval = isinstance(node, exp.TimestampTrunc) or isinstance(node.expression, exp.Interval)
        return exp.cast(node.copy(), exp.DataType.Type.TIMESTAMPNTZ) if with_interval else node
    return node


def _count_boundaries_in_spark(node: exp.Expr) -> exp.Expr:
    # DuckDB counts the boundaries between two moments, Spark whole units. Between dates it is the same.
    if not isinstance(node, exp.DateDiff) or node.this.is_type("date"):
        return node
    for name in ("this", "expression"):
        node.set(name, exp.TimestampTrunc(this=node.args[name], unit=node.args["unit"].copy()))
    return node


def _count_microseconds_in_spark(node: exp.Expr) -> exp.Expr:
    moment = _microseconds(node)
    return node if moment is None else exp.func("unix_micros", moment)


def _choose_by_group(node: exp.Expr) -> exp.Expr:
    # Without MATERIALIZED a condition on the last of many layers is pushed into all of them, and doubles in each: Sail
    # takes a minute to plan sixteen. Nothing is pushed through a group, and a group here is one user.
    if not isinstance(node, exp.Select) or not node.args.get("where"):
        return node
    layers = {cte.alias for cte in node.ctes if cte.alias.startswith(LAYER)}
    if not layers or node.args["from_"].this.name not in layers:
        return node
    condition = node.args["where"].this
    node.set("where", None)
    return node.group_by(*(projection.unalias().copy() for projection in node.selects)).having(
        exp.func("bool_or", condition)
    )


SPARK = Dialect(
    "spark",
    (
        _choose_by_group,
        _not_materialized,
        _without_zone_in_spark,
        _in_utc,
        _add_months_in_spark,
        _count_microseconds_in_spark,
        _count_boundaries_in_spark,
        _chosen_of_those_present,
    ),
)


# --- Trino ------------------------------------------------------------------------------------------------------------

_MOMENT = exp.DataType.build("TIMESTAMP(6) WITH TIME ZONE", dialect="trino")
_DATE = exp.DataType.build("DATE")
_PRESENT = exp.Lambda(
    this=exp.Not(this=exp.Is(this=exp.column("x"), expression=exp.Null())), expressions=[exp.to_identifier("x")]
)


def _add_months_in_trino(node: exp.Expr) -> exp.Expr:
    # Intervals cannot take the number of months from a column, and sqlglot's own DATE_ADD has its arguments in
    # another order.
    added = _months_added(node)
    if added is None:
        return node
    moment, count = added
    return _call("date_add", exp.Literal.string("month"), count, moment)


def _count_microseconds_in_trino(node: exp.Expr) -> exp.Expr:
    # The only way to a number; a double holds microseconds until the year 2100 and beyond, but for the last digit.
    moment = _microseconds(node)
    if moment is None:
        return node
    seconds = _call("to_unixtime", moment)
    return exp.cast(exp.func("round", exp.Mul(this=seconds, expression=exp.Literal.number(1_000_000))), "BIGINT")


def _is_true(node: exp.Expr) -> exp.Expr:
    # There is no IS TRUE, and sqlglot's replacement is null if the operand is.
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
    return _call(name, _call("filter", exp.Array(expressions=[node.this, *node.expressions]), _PRESENT.copy()))


def _bound_in_trino(value: Any, place: exp.Expr) -> tuple[Any, exp.Expr]:
    # Times as text: drivers write them with milliseconds, or without their time zone.
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC", exp.cast(place, _MOMENT.copy())
    if isinstance(value, date):
        return value.isoformat(), exp.cast(place, _DATE.copy())
    return value, place


TRINO = Dialect(
    "trino",
    (
        _not_materialized,
        _in_utc,
        _add_months_in_trino,
        _count_microseconds_in_trino,
        _is_true,
        _greatest_of_those_present,
        _chosen_of_those_present,
    ),
    _bound_in_trino,
)
# Engine version 3 is Trino; what our statements become is the same text, which a test holds.
ATHENA = replace(TRINO, name="athena")
