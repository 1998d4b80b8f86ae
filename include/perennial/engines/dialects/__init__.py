"""What differs between engines, one module each: statements are written once, in DuckDB's dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

LAYER = "perennial_layer_"
"""What the names of an audience's layers begin with: each has one row a user, and it may be grouped by (spark.py)."""
Rewrite = Callable[[exp.Expr], exp.Expr]


@dataclass(frozen=True)
class Dialect:
    """How one engine's SQL differs from DuckDB's, beyond what sqlglot knows of both.

    Attributes:
        name: The dialect, as sqlglot calls it.
        rewrites: Applied to every node of a statement, in order; a node that is not concerned comes back as it is.
        bound: Turns a value into what the driver is handed, and the place it is put into (a bind) into an expression.
    """

    name: str
    rewrites: tuple[Rewrite, ...]
    bound: Callable[[Any, exp.Expr], tuple[Any, exp.Expr]] = lambda value, place: (value, place)


def months_added(node: exp.Expr) -> tuple[exp.Expr, exp.Expr] | None:
    """Take `moment + to_months(count)` apart; None for anything else."""
    if isinstance(node, exp.Add) and _is_call(node.expression, "to_months"):
        return node.this, node.expression.expressions[0]
    return None


def microseconds(node: exp.Expr) -> exp.Expr | None:
    """Return the moment in `epoch_us(moment)`; None for anything else."""
    return node.expressions[0] if _is_call(node, "epoch_us") else None


def hashed(node: exp.Expr) -> list[exp.Expr] | None:
    """Return the columns in `sum(hash(columns)::HUGEINT)`, a hash of rows in any order; None for anything else."""
    if isinstance(node, exp.Sum) and isinstance(node.this, exp.Cast) and _is_call(node.this.this, "hash"):
        return list(node.this.this.expressions)
    return None


def not_materialized(node: exp.Expr) -> exp.Expr:
    """Leave MATERIALIZED out, for engines that have no word for it."""
    if isinstance(node, exp.CTE):
        node.set("materialized", None)
    return node


def _is_call(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.lower() == name
