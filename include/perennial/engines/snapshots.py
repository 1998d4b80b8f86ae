"""Where an engine finds the tables, and at which snapshot: the one that decisions were made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perennial.engines.transpile import Partitions, Relations, TableAtSnapshot
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from perennial.settings import Settings


def relations_at_snapshots(settings: Settings, tables: Iterable[IcebergTable]) -> Relations:
    """Describe loaded tables for an engine; a later commit by anybody is not seen."""
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
