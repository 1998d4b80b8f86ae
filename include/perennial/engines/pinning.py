"""Where an engine finds the tables, and at which snapshot: the one that decisions were made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perennial.engines.rendering import Partitions, Pinned, Relations
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from perennial.settings import Settings


def pinned_relations(settings: Settings, tables: Iterable[IcebergTable]) -> Relations:
    """Describe loaded tables for an engine; a later commit by anybody is not seen."""
    catalog = (settings.engine_catalog,) if settings.engine_catalog else ()
    relations = Relations()
    for table in tables:
        *namespace, name = table.name()
        snapshot = table.current_snapshot()
        pinned = Pinned(name, (*catalog, *namespace, name), snapshot.snapshot_id if snapshot else None)
        relations.tables[name] = pinned
        if name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name):
            relations.tables[f"{name}_partitions"] = Partitions(f"{name}_partitions", pinned)
    return relations
