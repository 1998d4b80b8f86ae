"""Catalog tables in an engine's SQL, at the snapshot that decisions were made from."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from perennial.engines.columns import SOURCE_COUNTS, declared_type
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES

COLUMNS = {
    **{table.name: {column.name: declared_type(column.type) for column in table.columns} for table in TABLES},
    **{
        f"{table.name}_partitions": {name: declared_type(kind) for name, kind in SOURCE_COUNTS.items()}
        for table in (INTERACTIONS, INTERACTIONS_ARCHIVE)
    },
}


@dataclass(frozen=True)
class TableAtSnapshot:
    """A table of the catalog as of one snapshot.

    Attributes:
        name: Its name.
        path: Catalog (where the engine needs one), namespace and name; the namespace is one word.
        snapshot_id: None for a table without a snapshot: it has no rows, whatever is committed later.
    """

    name: str
    path: tuple[str, ...]
    snapshot_id: int | None

    def reference(self, alias: str) -> exp.Expr:
        """Return the table as an expression of a statement."""
        if self.snapshot_id is None:
            columns = COLUMNS[self.name].items()
            nothing = [exp.cast(exp.null(), kind, dialect="duckdb").as_(name) for name, kind in columns]
            return exp.select(*nothing).where(exp.false()).subquery(alias)
        table = _table(*self.path)
        table.set("version", exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(self.snapshot_id)))
        return exp.alias_(table, alias, table=True)


@dataclass(frozen=True)
class Partitions:
    """The totals of each source in the manifests of a table, as Trino and Athena show them.

    They are only available for the newest snapshot.

    Attributes:
        name: Name in statements; columns source_id, file_count, row_count, total_bytes.
        table: The table.
    """

    name: str
    table: TableAtSnapshot

    def reference(self, alias: str) -> exp.Expr:
        """Return it as an expression of a statement."""
        source_id = exp.Dot.build([exp.column("partition", quoted=True), exp.to_identifier("source_id")])
        counts = {"file_count": "file_count", "record_count": "row_count", "total_size": "total_bytes"}
        columns = [source_id.as_("source_id"), *(exp.column(name).as_(ours) for name, ours in counts.items())]
        *parents, name = self.table.path
        return exp.select(*columns).from_(_table(*parents, f"{name}$partitions")).subquery(alias)


def _table(*path: str) -> exp.Table:
    parts = [exp.to_identifier(part, quoted=True) for part in reversed(path)]
    return exp.Table(**dict(zip(("this", "db", "catalog"), parts, strict=False)))
