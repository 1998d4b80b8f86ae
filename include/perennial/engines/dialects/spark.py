"""Spark, through Spark Connect; Sail runs what is written here too."""

from __future__ import annotations

from sqlglot import exp

from perennial.audiences.compiling import LAYER
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


def _choose_by_group(node: exp.Expr) -> exp.Expr:
    # Without MATERIALIZED a condition on the last of many layers is pushed into all of them, and doubles in each: Sail
    # takes a minute to plan sixteen. Nothing is pushed through a group, and a group here is one user. Of an analyst's
    # own MATERIALIZED nobody knows what a row is, and equal rows would become one.
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


SPARK = Dialect("spark", (_choose_by_group, not_materialized, _add_months, _count_microseconds))
