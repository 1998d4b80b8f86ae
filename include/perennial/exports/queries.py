"""What a query in SQL leaves out: whoever queries the warehouse directly gets to know it as well (R16)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from perennial.audiences.completeness import find_missing
from perennial.engines.duckdb import internals_in_sight
from perennial.engines.misplaced import show_misplaced
from perennial.notify.restore_advice import restore_command
from perennial.statements import statement
from perennial.text import pluralize

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

    from perennial.warehouse import Warehouse

NARROWED_VIEWS = {
    "available_interactions": ("campaign", "canvas"),
    "campaign_interactions": ("campaign",),
    "canvas_interactions": ("canvas",),
}
"""The views that leave out what is expired or deleted, and the kinds of source that they show."""

_VIEW_NAMES = re.compile(rf"\b(?:{'|'.join(NARROWED_VIEWS)})\b", re.IGNORECASE)
# These show what a query is, and no row of its answer.
_NO_ANSWER = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:EXPLAIN|DESCRIBE|DESC|SHOW)\b", re.IGNORECASE | re.DOTALL)
# Ids that a command shows.
_COMMAND_IDS = 20


@dataclass(frozen=True)
class NarrowedQuery:
    """A query that reads views which leave data out.

    Attributes:
        views: Which of them.
        words: The texts that it names, in the statement or bound to it: ids of sources may be among them.
        only_named: Whether it looks at nothing but the sources that it names.
    """

    views: frozenset[str]
    words: frozenset[str] = frozenset()
    only_named: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of source that it asks about; `source` is one of which nothing is known."""
        return frozenset({"source"}.union(*(NARROWED_VIEWS[view] for view in self.views)))


def narrowed_query(sql: str, params: Mapping[str, Any] | None = None, dialect: str = "duckdb") -> NarrowedQuery | None:
    """Find out what a statement reads of the views that leave data out; None where it reads none of them.

    Args:
        sql: The statement.
        params: The values of its binds.
        dialect: What it is written in, as sqlglot calls it.
    """
    from sqlglot.errors import SqlglotError

    mentioned = frozenset(name.lower() for name in _VIEW_NAMES.findall(sql))
    if not mentioned or _NO_ANSWER.match(sql):
        return None
    try:
        tree = _parsed(sql, dialect)
        read = _views_read(tree)
    except (SqlglotError, RecursionError):
        # Rather a line too many than one too few.
        return NarrowedQuery(mentioned)
    if not read:
        return None
    aliases = {table.alias_or_name for table in read}
    return NarrowedQuery(
        frozenset(table.name for table in read),
        frozenset(_words(tree, params or {})),
        all(_is_of_named_sources(table, aliases - {table.alias_or_name}) for table in read),
    )


def what_is_left_out(
    warehouse: Warehouse, connection: duckdb.DuckDBPyConnection, query: NarrowedQuery | None = None
) -> str:
    """Say in one line what a query leaves out, and how to get it back; empty where nothing is left out.

    Args:
        warehouse: What was asked.
        connection: With `source_states` and `lifecycle_events` in place, as of the moment of the answer.
        query: What it reads; None: whatever it likes.
    """
    asked = query or NarrowedQuery(frozenset(NARROWED_VIEWS))
    with internals_in_sight(connection):
        show_misplaced(connection, warehouse, None)
        try:
            return _named(connection, asked) or ("" if asked.only_named else _counted(connection, asked))
        finally:
            connection.unregister("misplaced_rows")


def _named(connection: duckdb.DuckDBPyConnection, query: NarrowedQuery) -> str:
    """Name the sources among the words of a query that it leaves out."""
    found = find_missing(connection, query.words)
    missing = replace(found, missing=tuple(source for source in found.missing if source.kind in query.kinds))
    ids = missing.restorable
    if missing.complete or not ids:
        return missing.sentence()
    if len(ids) > _COMMAND_IDS:
        return f"{missing.sentence()} Bring them back: `perennial restore` takes their ids."
    return f"{missing.sentence()} Bring them back: {restore_command(ids, (), ())}"


def _counted(connection: duckdb.DuckDBPyConnection, query: NarrowedQuery) -> str:
    """Count what the views of a query leave out that a restore brings back."""
    missing = connection.sql(statement("audiences/list_missing_sources"), params={"source_ids": None})
    counted = missing.filter("state <> 'deleted'").aggregate("kind, count(*)::BIGINT, sum(archived_rows)::BIGINT")
    found = [(sources, rows) for kind, sources, rows in counted.fetchall() if kind in query.kinds]
    if not found:
        return ""
    sources, rows = (sum(column) for column in zip(*found, strict=True))
    return (
        f"Left out of {_listed(sorted(query.views))}: {pluralize(rows, 'expired interaction')} of "
        f"{pluralize(sources, 'source')}. View source_availability lists them, with state 'expired'. Bring them back: "
        f"{restore_command(['ID'], (), ())}"
    )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _parsed(sql: str, dialect: str) -> exp.Expr:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError
    from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

    tree = sqlglot.parse_one(sql, dialect=dialect)
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Anonymous) and table.this.name.lower() in ("query", "query_table"):
            raise ParseError(f"{table.this.name} reads what a text names")
    return normalize_identifiers(tree, dialect=dialect)


def _views_read(tree: exp.Expr) -> list[exp.Table]:
    """List where a statement reads the views; a part of it that has the name of one is none of them."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    if isinstance(tree, exp.Query):
        sources = [source for scope in traverse_scope(tree) for source in scope.sources.values()]
        tables = [source for source in sources if isinstance(source, exp.Table)]
    else:
        # SUMMARIZE and PIVOT take a name as well as a query.
        tables = list(tree.find_all(exp.Table))
    return [table for table in tables if table.name in NARROWED_VIEWS]


def _words(tree: exp.Expr, params: Mapping[str, Any]) -> Iterator[str]:
    from sqlglot import exp

    yield from (literal.name for literal in tree.find_all(exp.Literal) if literal.is_string)
    for value in params.values():
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        yield from (each for each in values if isinstance(each, str))


def _is_of_named_sources(table: exp.Table, others: set[str]) -> bool:
    """Tell whether a view is asked about ids alone: `source_id = 'a'`, or one of several, is a condition of all rows.

    Args:
        table: Where the view is read.
        others: What other views that leave data out are called: a condition on them says nothing of this one.
    """
    from sqlglot import exp

    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select else None
    if where is None:
        return False
    conditions = list(where.this.flatten()) if isinstance(where.this, exp.And) else [where.this]
    return any(_names_sources(condition.unnest(), others) for condition in conditions)


def _names_sources(condition: exp.Expr, others: set[str]) -> bool:
    from sqlglot import exp

    columns = list(condition.find_all(exp.Column))
    return (
        isinstance(condition, exp.EQ | exp.In | exp.ArrayContains)
        and [column.name for column in columns] == ["source_id"]
        and columns[0].parent is condition
        and columns[0].table not in others
        and not condition.find(exp.Table)
    )
