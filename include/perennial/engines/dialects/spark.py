"""Spark, through Spark Connect; Sail runs what is written here too."""

from __future__ import annotations

from sqlglot import exp

from perennial.engines.dialects import Dialect, hashed, microseconds, months_added, not_materialized


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


def _hash_rows(node: exp.Expr) -> exp.Expr:
    # It has another hash, which passes over nulls: without saying where they are, a value could change its column.
    columns = hashed(node)
    if columns is None:
        return node
    told = [part for column in columns for part in (column, exp.Is(this=column.copy(), expression=exp.Null()))]
    return exp.Sum(this=exp.cast(exp.Anonymous(this="xxhash64", expressions=told), "DECIMAL(38, 0)"))


def _choose_by_group(node: exp.Expr) -> exp.Expr:
    # Without MATERIALIZED a condition on the last of many layers is pushed into all of them, and doubles in each: Sail
    # takes a minute to plan sixteen. Nothing is pushed through a group, and a group here is one user.
    if not isinstance(node, exp.Select) or not node.args.get("where"):
        return node
    layers = {cte.alias for cte in node.ctes if cte.args.get("materialized")}
    if node.args["from_"].this.name not in layers:
        return node
    condition = node.args["where"].this
    node.set("where", None)
    return node.group_by(*(projection.unalias().copy() for projection in node.selects)).having(
        exp.func("bool_or", condition)
    )


SPARK = Dialect("spark", (_choose_by_group, not_materialized, _add_months, _count_microseconds, _hash_rows))
