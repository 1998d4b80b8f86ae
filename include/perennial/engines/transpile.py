"""From a statement in DuckDB's dialect to the same statement in another engine's, every value still a bind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError, UnsupportedError
from sqlglot.optimizer.qualify import qualify

from perennial.engines.columns import declared_type
from perennial.engines.dialects import Dialect, Rewrite
from perennial.engines.typing import with_types
from perennial.errors import TerminalEngineError
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES

_CANONICAL = "duckdb"
_COUNTS = {"source_id": "VARCHAR", "file_count": "BIGINT", "row_count": "BIGINT", "total_bytes": "BIGINT"}
_COLUMNS = {
    **{table.name: {column.name: declared_type(column.type) for column in table.columns} for table in TABLES},
    **{f"{table.name}_partitions": _COUNTS for table in (INTERACTIONS, INTERACTIONS_ARCHIVE)},
}


@dataclass(frozen=True)
class Rendered:
    """A statement as an engine takes it.

    Attributes:
        sql: In its dialect; binds are `:name`.
        binds: Their values, as its driver takes them.
    """

    sql: str
    binds: dict[str, Any]


@dataclass(frozen=True)
class TableAtSnapshot:
    """A table of the catalog as of one snapshot.

    Attributes:
        name: Its name; of one that is not of the contract, that of the table whose columns it has.
        path: Catalog (where the engine needs one), namespace and name; the namespace is one word.
        snapshot_id: None for a table that never had a snapshot: no rows, whatever is committed meanwhile.
    """

    name: str
    path: tuple[str, ...]
    snapshot_id: int | None

    def reference(self, alias: str) -> exp.Expr:
        """Write the table as a statement reads it."""
        if self.snapshot_id is None:
            columns = _COLUMNS[self.name].items()
            nothing = [exp.cast(exp.null(), kind, dialect=_CANONICAL).as_(name) for name, kind in columns]
            return exp.select(*nothing).where(exp.false()).subquery(alias)
        table = _table(*self.path)
        table.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(self.snapshot_id)))
        return exp.alias_(table, alias, table=True)


@dataclass(frozen=True)
class Partitions:
    """What the manifests of a table partitioned by source say of each, as Trino and Athena show it.

    There is no such table of an earlier snapshot: the newest is meant.

    Attributes:
        name: By which statements read it: source_id, file_count, row_count, total_bytes.
        table: Whose manifests.
    """

    name: str
    table: TableAtSnapshot

    def reference(self, alias: str) -> exp.Expr:
        """Write it as a statement reads it."""
        source_id = exp.Dot.build([exp.column("partition", quoted=True), exp.to_identifier("source_id")])
        counts = {"file_count": "file_count", "record_count": "row_count", "total_size": "total_bytes"}
        columns = [source_id.as_("source_id"), *(exp.column(name).as_(ours) for name, ours in counts.items())]
        *parents, name = self.table.path
        return exp.select(*columns).from_(_table(*parents, f"{name}$partitions")).subquery(alias)


@dataclass
class Relations:
    """What statements can read by name.

    Attributes:
        tables: Tables of the catalog, by name.
        kept: Relations that are statements themselves, with their binds; each reads tables and those kept before it.
        held: Relations that the engine holds for this session under their own names: columns and types.
    """

    tables: dict[str, TableAtSnapshot | Partitions] = field(default_factory=dict)
    kept: dict[str, tuple[exp.Query, dict[str, Any]]] = field(default_factory=dict)
    held: dict[str, dict[str, str]] = field(default_factory=dict)

    def upload(self, name: str, columns: Mapping[str, str]) -> None:
        """Let later statements read a relation that the engine holds: DuckDB's types by column."""
        self.held[name] = dict(columns)

    def define(self, name: str, sql: str, params: Mapping[str, Any]) -> None:
        """Let later statements read a statement under a name; of a CREATE, what it creates is kept."""
        query = self._unshadowed(sql)
        renamed = {old: f"{name}_{old}" for old in params}
        for place in query.find_all(exp.Placeholder):
            place.set("this", renamed.get(place.name, place.name))
        self.kept[name] = query, {renamed[old]: value for old, value in params.items()}

    def render(self, sql: str, params: Mapping[str, Any], dialect: Dialect) -> Rendered:
        """Write a statement for an engine.

        Raises:
            TerminalEngineError: It cannot be read, names what is not there, or the dialect has no words for it.
        """
        whole, binds = self._whole(self._unshadowed(sql), params)
        others = {name: _COLUMNS[table.name] for name, table in self.tables.items() if name not in _COLUMNS}
        schema: dict[str, object] = {**_COLUMNS, **others, **self.held}
        try:
            query = qualify(
                _lists_spread(whole, binds),
                schema=schema,
                dialect=_CANONICAL,
                quote_identifiers=False,
                identify=False,
            )
            _unite_by_position(with_types(query, schema))
            _group_explicitly(query)
            for rewrite in dialect.rewrites:
                query = _rewritten(query, rewrite)
            self._pin(query)
            used = _bound(query, binds, dialect)
            text = query.sql(dialect.name, pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE)
        except SqlglotError as error:
            raise TerminalEngineError(
                f"The statement cannot be written for {dialect.name}: {error}. It was: {_shown(sql)}"
            ) from error
        return Rendered(text, used)

    def _unshadowed(self, sql: str) -> exp.Query:
        """Read a statement; a part of it that is named like what it can read gets a name of its own."""
        query = _parsed(sql)
        for number, cte in enumerate(list(query.find_all(exp.CTE)), start=1):
            if cte.alias.lower() in self.tables.keys() | self.kept.keys() | self.held.keys():
                _rename(cte, f"own_{cte.alias}_{number}")
        return query

    def _whole(self, query: exp.Query, params: Mapping[str, Any]) -> tuple[exp.Query, dict[str, Any]]:
        """Put the relations that a statement reads, itself or through others, before it."""
        binds = dict(params)
        wanted = _named(query)
        for name in reversed(self.kept):
            if name not in wanted:
                continue
            kept, kept_binds = self.kept[name]
            wanted |= _named(kept)
            binds |= kept_binds
            # The last one that is put before is the first one that is read.
            query = _put_before(query, name, kept.copy())
        return query, binds

    def _pin(self, query: exp.Expr) -> None:
        """Put the tables of the catalog in the place of their names."""
        kept = {cte.alias for cte in query.find_all(exp.CTE)}
        for table in list(query.find_all(exp.Table)):
            if not table.db and table.name in self.tables.keys() - kept:
                table.replace(self.tables[table.name].reference(table.alias_or_name))


def _table(*path: str) -> exp.Table:
    parts = [exp.to_identifier(part, quoted=True) for part in reversed(path)]
    return exp.Table(**dict(zip(("this", "db", "catalog"), parts, strict=False)))


def _parsed(sql: str) -> exp.Query:
    try:
        found = sqlglot.parse_one(sql, dialect=_CANONICAL)
    except SqlglotError as error:
        raise TerminalEngineError(f"The statement cannot be read: {error}. It was: {_shown(sql)}") from error
    query = found.expression if isinstance(found, exp.Create) else found
    if not isinstance(query, exp.Query):
        raise TerminalEngineError(f"Only a SELECT can be asked of an engine. It was: {_shown(sql)}")
    return query


def _rewritten(query: exp.Expr, rewrite: Rewrite) -> exp.Expr:
    """Rewrite every node, those inside first: what is rewritten keeps the type that it had."""
    for node in reversed(list(query.dfs())):
        parent, key, index = node.parent, node.arg_key, node.index
        written = rewrite(node)
        if written is node:
            continue
        written.type = node.type
        if parent is None:
            query = written
        elif key:
            parent.set(key, written, index)
    return query


def _rename(cte: exp.CTE, name: str) -> None:
    """Give a part of a statement another name, where it is read too."""
    whole = cte.find_ancestor(exp.Query)
    if whole is None or not isinstance(cte.parent, exp.With):
        return
    others = cte.parent.expressions
    # What stands before it, and without RECURSIVE itself, reads the relation whose name it takes.
    unaware = others[: others.index(cte) + (not cte.parent.args.get("recursive"))]
    old = cte.alias.lower()
    for table in list(whole.find_all(exp.Table)):
        if table.db or table.name.lower() != old or any(_is_within(table, other) for other in unaware):
            continue
        if any(inner.alias.lower() == old for inner in _ctes_between(table, whole)):
            continue
        if not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        table.set("this", exp.to_identifier(name))
    cte.args["alias"].set("this", exp.to_identifier(name))


def _is_within(node: exp.Expr, other: exp.Expr) -> bool:
    found: exp.Expr | None = node
    while found is not None and found is not other:
        found = found.parent
    return found is other


def _ctes_between(node: exp.Expr, whole: exp.Expr) -> list[exp.CTE]:
    """List the parts that statements between a node and a whole declare."""
    found: list[exp.CTE] = []
    while node.parent is not None and node is not whole:
        node = node.parent
        if isinstance(node, exp.Query) and node is not whole:
            found += node.ctes
    return found


def _shown(sql: str) -> str:
    return sql if len(sql) <= 500 else f"{sql[:499]}…"


def _named(query: exp.Query) -> set[str]:
    return {table.name.lower() for table in query.find_all(exp.Table)}


def _put_before(query: exp.Query, name: str, kept: exp.Query) -> exp.Query:
    cte = exp.CTE(this=kept, alias=exp.TableAlias(this=exp.to_identifier(name)))
    following = query.args.get("with_")
    query.set("with_", exp.With(expressions=[cte, *(following.expressions if following else [])]))
    return query


def _lists_spread(query: exp.Query, binds: dict[str, Any]) -> exp.Expr:
    """Bind the elements of lists one by one: not every driver takes a list."""

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
    """Write UNION BY NAME out: nulls where one side has no such column."""
    # Those inside first: what stands on one side may be such a union itself.
    for union in reversed(list(query.find_all(exp.SetOperation))):
        if not union.args.get("by_name"):
            continue
        sides = [(side.named_selects, _united(side)) for side in (union.this, union.expression)]
        names = list(dict.fromkeys(name for found, _ in sides for name in found))
        kinds: dict[str, exp.Expr] = {}
        for found, selects in sides:
            for select in selects:
                for name, projection in zip(found, select.selects, strict=True):
                    if not _has_type(kinds.get(name)):
                        kinds[name] = projection
        for found, selects in sides:
            for select in selects:
                held = dict(zip(found, select.selects, strict=True))
                select.set("expressions", [held.get(name) or _null_like(kinds[name]).as_(name) for name in names])
        union.set("by_name", None)


def _united(side: exp.Expr) -> list[exp.Select]:
    """Find the statements that a side of a union is made of."""
    side = side.unnest()
    if isinstance(side, exp.SetOperation):
        return [*_united(side.this), *_united(side.expression)]
    if isinstance(side, exp.Select):
        return [side]
    raise UnsupportedError("UNION BY NAME takes SELECTs only; write SELECT … FROM around it")


def _has_type(projection: exp.Expr | None) -> bool:
    return projection is not None and projection.type is not None and not projection.is_type(exp.DType.UNKNOWN)


def _null_like(projection: exp.Expr) -> exp.Expr:
    # Of a null without a type some engines make a column without one.
    return exp.cast(exp.null(), projection.type.copy()) if _has_type(projection) and projection.type else exp.null()


def _group_explicitly(query: exp.Expr) -> None:
    """Write GROUP BY ALL out."""
    for group in query.find_all(exp.Group):
        select = group.parent
        if group.args.get("all") and isinstance(select, exp.Select):
            keys = [projection.unalias() for projection in select.selects if not _aggregates(projection)]
            select.set("group", exp.Group(expressions=[key.copy() for key in keys]) if keys else None)


def _aggregates(projection: exp.Expr) -> bool:
    return any(not isinstance(found.parent, exp.Window) for found in projection.find_all(exp.AggFunc))


def _bound(query: exp.Expr, binds: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    """Put every value into the form that the engine's driver takes; returns those that are used."""
    used: dict[str, Any] = {}
    for place in list(query.find_all(exp.Placeholder)):
        if place.name not in binds:
            raise TerminalEngineError(f"The statement names ${place.name}, for which no value was given.")
        used[place.name], written = dialect.bound(binds[place.name], place.copy())
        place.replace(written)
    return used
