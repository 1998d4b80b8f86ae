"""Where an engine finds the tables, and at which snapshot: the one that decisions were made from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perennial.engines.rendering import Pinned, Relations

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

    from perennial.settings import Settings


def pinned_relations(settings: Settings, tables: Iterable[IcebergTable]) -> Relations:
    """Describe loaded tables for an engine; a later commit by anybody is not seen."""
    catalog = (settings.engine_catalog,) if settings.engine_catalog else ()
    found = {}
    for table in tables:
        *namespace, name = table.name()
        snapshot = table.current_snapshot()
        path = (*catalog, *namespace, name)
        found[name] = Pinned(name, path, snapshot.snapshot_id if snapshot else None)
    return Relations(tables=found)
