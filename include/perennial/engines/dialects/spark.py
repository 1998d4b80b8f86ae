"""Spark, through Spark Connect; Sail runs what is written here too."""

from __future__ import annotations

from sqlglot import exp

from perennial.engines.dialects import Dialect, microseconds, months_added, not_materialized


def _add_months(node: exp.Expr) -> exp.Expr:
    # add_months() returns a date and loses the time of day.
    added = months_added(node)
    if added is None:
        return node
    moment, count = added
    return exp.Add(this=moment, expression=exp.func("make_ym_interval", exp.Literal.number(0), count))


def _count_microseconds(node: exp.Expr) -> exp.Expr:
    moment = microseconds(node)
    return node if moment is None else exp.func("unix_micros", moment)


SPARK = Dialect("spark", (not_materialized, _add_months, _count_microseconds))
