"""The types of expressions as DuckDB has them, where sqlglot has others or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.optimizer.annotate_types import annotate_types

_CALLS = {
    "date_part": exp.DType.DOUBLE,
    "datepart": exp.DType.DOUBLE,
    "epoch_us": exp.DType.BIGINT,
    "hash": exp.DType.UBIGINT,
    "now": exp.DType.TIMESTAMPTZ,
    "to_days": exp.DType.INTERVAL,
    "to_hours": exp.DType.INTERVAL,
    "to_minutes": exp.DType.INTERVAL,
    "to_months": exp.DType.INTERVAL,
    "to_years": exp.DType.INTERVAL,
}


def _call(annotator: Any, node: exp.Anonymous) -> Any:
    return annotator._set_type(node, _CALLS.get(node.name.lower(), exp.DType.UNKNOWN))


def _literal(annotator: Any, node: exp.Literal) -> Any:
    # 2.5 is a DECIMAL, 25e-1 a DOUBLE.
    if not node.is_string and "." in node.name and "e" not in node.name.lower():
        return annotator._set_type(node, exp.DType.DECIMAL)
    return annotator._annotate_literal(node)


def _like_its_argument(annotator: Any, node: exp.Expr) -> Any:
    return annotator._set_type(node, node.this.type)


_LIKE_ARGUMENT: dict[type[exp.Expr], Callable[..., Any]] = dict.fromkeys(
    (exp.ArgMax, exp.ArgMin, exp.First, exp.Last, exp.Round, exp.Trunc), _like_its_argument
)
_KNOWN: dict[Any, Any] = {
    **DuckDB.EXPRESSION_METADATA,
    **{kind: {"annotator": annotator} for kind, annotator in _LIKE_ARGUMENT.items()},
    exp.Anonymous: {"annotator": _call},
    exp.Literal: {"annotator": _literal},
    exp.CurrentTimestamp: {"returns": exp.DType.TIMESTAMPTZ},
    exp.UnixToTime: {"returns": exp.DType.TIMESTAMPTZ},
    exp.Median: {"returns": exp.DType.DOUBLE},
    exp.JSONExtractScalar: {"returns": exp.DType.VARCHAR},
}


def with_types(query: exp.Expr, schema: Mapping[str, Any]) -> exp.Expr:
    """Note the type of every expression of a statement whose names are resolved."""
    return annotate_types(query, schema=dict(schema), expression_metadata=_KNOWN, dialect="duckdb")
