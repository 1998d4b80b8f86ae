"""Where an engine finds the tables, and at which snapshot: the one that decisions were made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perennial.engines.transpile import Partitions, Relations, TableAtSnapshot
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from perennial.settings import Settings


def engine_path(settings: Settings, table: IcebergTable) -> tuple[str, ...]:
    """Say what an engine calls a table: catalog (where it needs one), namespace and name."""
    catalog = (settings.engine_catalog,) if settings.engine_catalog else ()
    return (*catalog, *table.name())


def table_at_snapshot(settings: Settings, table: IcebergTable, columns_of: str | None = None) -> TableAtSnapshot:
    """Describe a loaded table for an engine.

    Args:
        settings: What the engine calls the catalog.
        table: As loaded.
        columns_of: The table of the contract that it has the columns of, if it is none itself.
    """
    snapshot = table.current_snapshot()
    snapshot_id = snapshot.snapshot_id if snapshot else None
    return TableAtSnapshot(columns_of or table.name()[-1], engine_path(settings, table), snapshot_id)


def relations_at_snapshots(settings: Settings, tables: Iterable[IcebergTable]) -> Relations:
    """Describe loaded tables for an engine; a later commit by anybody is not seen."""
    relations = Relations()
    for table in tables:
        name = table.name()[-1]
        relations.tables[name] = described = table_at_snapshot(settings, table)
        if name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
            relations.tables[f"{name}_partitions"] = Partitions(f"{name}_partitions", described)
    return relations
