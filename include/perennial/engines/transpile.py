"""Translates our statements from DuckDB's dialect to another engine's; every value stays a bind.

Statements of analysts are in the engine's own dialect: they only get the tables and views that they name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from perennial.engines.columns import declared_type
from perennial.engines.dialects import Dialect, Rewrite
from perennial.engines.snapshots import COLUMNS, Partitions, TableAtSnapshot
from perennial.errors import TerminalEngineError, TerminalRequestError
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from perennial.settings import Settings

_CANONICAL = "duckdb"


@dataclass(frozen=True)
class Rendered:
    """A statement in an engine's form.

    Attributes:
        sql: The statement in its dialect; binds are `:name`.
        binds: The values in its driver's form.
    """

    sql: str
    binds: dict[str, Any]


@dataclass
class Relations:
    """The relations that statements can read by name.

    Attributes:
        tables: Tables of the catalog, by name.
        kept: Relations that are statements themselves, with their binds; each reads tables and those kept before it.
        held: Relations that the engine holds for this session under their own names: columns and types.
    """

    tables: dict[str, TableAtSnapshot | Partitions] = field(default_factory=dict)
    kept: dict[str, tuple[exp.Query, dict[str, Any]]] = field(default_factory=dict)
    held: dict[str, dict[str, str]] = field(default_factory=dict)

    def upload(self, name: str, columns: Mapping[str, str]) -> None:
        """Let later statements read a relation that the engine holds: the types of the contract by column."""
        self.held[name] = {column: declared_type(kind) for column, kind in columns.items()}

    def define(self, name: str, sql: str, params: Mapping[str, Any]) -> None:
        """Let later statements read a statement under a name; of a CREATE, what it creates is kept."""
        query = _parsed(sql)
        _prefix_parts(query, name)
        renamed = {old: f"{name}_{old}" for old in params}
        for place in query.find_all(exp.Placeholder):
            place.set("this", renamed.get(place.name, place.name))
        self.kept[name] = query, {renamed[old]: value for old, value in params.items()}

    def render(self, sql: str, params: Mapping[str, Any], dialect: Dialect) -> Rendered:
        """Translate a statement of ours for an engine.

        Raises:
            TerminalEngineError: It cannot be parsed, names an unknown relation, or cannot be expressed in the dialect.
        """
        with _refusing(f"The statement cannot be written for {dialect.name}", sql):
            query, binds = self._translated(_parsed(sql), params, dialect)
            return self._finished(query, binds, dialect)

    def complete(self, sql: str, params: Mapping[str, Any], dialect: Dialect) -> Rendered:
        """Insert the tables and views into a statement in the engine's own dialect that names them.

        Args:
            sql: One SELECT; `:name` for a value.
            params: The values.
            dialect: The engine's.

        Raises:
            TerminalRequestError: It is not a SELECT, or a part of it has the name of a table or view.
            TerminalEngineError: It cannot be parsed, or written again.
        """
        query = _question(sql, dialect)
        parts = {cte.alias.lower() for cte in query.find_all(exp.CTE)}
        if taken := parts & (self.tables.keys() | self.kept.keys() | self.held.keys()):
            raise TerminalRequestError(
                f"WITH {taken.pop()} has the name of a table or view of the warehouse; give that part another name."
            )
        _call_views(query, {name: name for name in self.kept.keys() | self.held.keys()})
        views = exp.select("1")
        for view in sorted(_named(query) & self.kept.keys()):
            views = views.join(view, join_type="cross") if views.args.get("from_") else views.from_(view)
        with _refusing(f"The statement cannot be written for {dialect.name}", sql):
            ours, binds = self._translated(views, params, dialect)
            with_views = ours.args.get("with_")
            for view in reversed(with_views.expressions if with_views else []):
                _put_before(query, view)
            return self._finished(query, binds, dialect)

    def _translated(
        self, query: exp.Query, params: Mapping[str, Any], dialect: Dialect
    ) -> tuple[exp.Expr, dict[str, Any]]:
        """Put the relations of our statement before it, resolve names, and rewrite what the dialect cannot express."""
        whole, binds = self._whole(query, params)
        translated: exp.Expr = qualify(
            _lists_spread(whole, binds),
            schema={**COLUMNS, **self.held},
            dialect=_CANONICAL,
            quote_identifiers=False,
            identify=False,
        )
        translated = annotate_types(translated, schema={**COLUMNS, **self.held}, dialect=_CANONICAL)
        _unite_by_position(translated)
        for rewrite in dialect.rewrites:
            translated = _rewritten(translated, rewrite)
        return translated, binds

    def _finished(self, query: exp.Expr, binds: Mapping[str, Any], dialect: Dialect) -> Rendered:
        self._pin(query)
        used = _bound(query, binds, dialect)
        text = query.sql(dialect.name, pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE)
        return Rendered(text, used)

    def _whole(self, query: exp.Query, params: Mapping[str, Any]) -> tuple[exp.Query, dict[str, Any]]:
        """Put the relations that a statement reads, directly or through others, before it."""
        binds = dict(params)
        wanted = _named(query)
        for name in reversed(self.kept):
            if name not in wanted:
                continue
            kept, kept_binds = self.kept[name]
            wanted |= _named(kept)
            binds |= kept_binds
            # Each is put first, so the last one comes first in the statement.
            _put_before(query, exp.CTE(this=kept.copy(), alias=exp.TableAlias(this=exp.to_identifier(name))))
        return query, binds

    def _pin(self, query: exp.Expr) -> None:
        """Replace the names of catalog tables by the tables."""
        kept = {cte.alias for cte in query.find_all(exp.CTE)}
        for table in list(query.find_all(exp.Table)):
            name = table.name.lower()
            if not table.db and name in self.tables.keys() - kept:
                table.replace(self.tables[name].reference(table.alias_or_name))


@contextmanager
def _refusing(said: str, sql: str) -> Iterator[None]:
    try:
        yield
    except SqlglotError as error:
        raise TerminalEngineError(f"{said}: {error}. It was: {_shown(sql)}") from error


def _parsed(sql: str) -> exp.Query:
    with _refusing("The statement cannot be read", sql):
        found = sqlglot.parse_one(sql, dialect=_CANONICAL)
    query = found.expression if isinstance(found, exp.Create) else found
    if not isinstance(query, exp.Query):
        raise TerminalEngineError(f"An engine only runs a SELECT. It was: {_shown(sql)}")
    return query


def _question(sql: str, dialect: Dialect) -> exp.Query:
    """Parse an analyst's query."""
    with _refusing("The statement cannot be read", sql):
        statements = sqlglot.parse(sql, dialect=dialect.name)
    query = statements[0]
    if len(statements) != 1 or not isinstance(query, exp.Query) or query.find(exp.DML, exp.Into):
        raise TerminalRequestError(
            f"perennial.query() is read only and accepts one SELECT in {dialect.name}'s SQL; nothing was run. "
            f"It was: {_shown(sql)}"
        )
    return query


def _shown(sql: str) -> str:
    return sql if len(sql) <= 500 else f"{sql[:499]}…"


def _named(query: exp.Query) -> set[str]:
    return {table.name.lower() for table in query.find_all(exp.Table)}


def _prefix_parts(query: exp.Query, name: str) -> None:
    """Move nested WITH parts to the beginning of the statement, where some dialects need them."""
    parts = {cte.alias: f"{name}_{cte.alias}" for cte in query.find_all(exp.CTE)}
    _call_views(query, parts)
    for cte in query.find_all(exp.CTE):
        cte.args["alias"].set("this", exp.to_identifier(parts[cte.alias]))


def _call_views(query: exp.Query, names: Mapping[str, str]) -> None:
    """Read relations under other names, with the statement's own spelling as their alias."""
    for table in query.find_all(exp.Table):
        name = names.get(table.name.lower(), table.name)
        if name != table.name and not table.db:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.alias_or_name)))
            table.set("this", exp.to_identifier(name))


def _put_before(query: exp.Expr, part: exp.CTE) -> None:
    if not query.args.get("with_"):
        query.set("with_", exp.With(expressions=[]))
    query.args["with_"].set("expressions", [part, *query.args["with_"].expressions])


def _rewritten(query: exp.Expr, rewrite: Rewrite) -> exp.Expr:
    """Rewrite every node, inner nodes first."""
    for node in reversed(list(query.dfs())):
        written = rewrite(node)
        if written is not node:
            node.replace(written)
            query = written if node is query else query
    return query


def _lists_spread(query: exp.Query, binds: dict[str, Any]) -> exp.Expr:
    """Bind the elements of lists one by one, because not every driver accepts a list."""

    def spread(node: exp.Expr) -> exp.Expr:
        needle, name = _membership(node)
        if needle is None or not isinstance(binds.get(name), list | tuple | set | frozenset):
            return node
        places = [exp.Placeholder(this=f"{name}_{number}") for number in range(1, len(binds[name]) + 1)]
        binds.update((place.name, value) for place, value in zip(places, binds[name], strict=True))
        return exp.In(this=needle, expressions=places) if places else exp.false()

    return query.transform(spread)


def _membership(node: exp.Expr) -> tuple[exp.Expr | None, str]:
    """Take `x IN (SELECT unnest($list))` or `list_contains($list, x)` apart: x and the name of the list."""
    if isinstance(node, exp.In) and isinstance(node.args.get("query"), exp.Subquery):
        projections = node.args["query"].this.expressions
        if len(projections) == 1 and isinstance(projections[0], exp.Explode):
            place = projections[0].find(exp.Placeholder)
            return (node.this, place.name) if place else (None, "")
    if isinstance(node, exp.ArrayContains):
        place = node.this.find(exp.Placeholder)
        return (node.expression, place.name) if place else (None, "")
    return None, ""


def _unite_by_position(query: exp.Expr) -> None:
    """Write the UNION BY NAME of two SELECTs out: nulls where one side has no such column."""
    for union in query.find_all(exp.SetOperation):
        if not union.args.get("by_name"):
            continue
        sides = (union.this, union.expression)
        projections = {
            name: found for side in sides for name, found in zip(side.named_selects, side.selects, strict=True)
        }
        # Sail treats a column as untyped if the first side has only a null.
        nulls = {name: exp.cast(exp.null(), found.type).as_(name) for name, found in projections.items()}
        for side in sides:
            held = {found.alias_or_name: found for found in side.selects}
            side.set("expressions", [held.get(name) or nulls[name].copy() for name in projections])
        union.set("by_name", None)


def _bound(query: exp.Expr, binds: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Convert every value to the form of the engine's driver; returns those that are used."""
    used: dict[str, Any] = {}
    for place in list(query.find_all(exp.Placeholder)):
        if place.name not in binds:
            raise TerminalEngineError(f"The statement has a bind {place.name}, for which no value was given.")
        used[place.name], written = dialect.bound(binds[place.name], place.copy())
        place.replace(written)
    return used


def relations_at_snapshots(settings: Settings, tables: Iterable[IcebergTable]) -> Relations:
    """Describe loaded tables for an engine; later commits are not seen."""
    relations = Relations()
    catalog = (settings.engine_catalog,) if settings.engine_catalog else ()
    for table in tables:
        name = table.name()[-1]
        snapshot = table.current_snapshot()
        described = TableAtSnapshot(name, (*catalog, *table.name()), snapshot.snapshot_id if snapshot else None)
        relations.tables[name] = described
        if name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
            relations.tables[f"{name}_partitions"] = Partitions(f"{name}_partitions", described)
    return relations
