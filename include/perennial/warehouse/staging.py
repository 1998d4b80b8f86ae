"""Tables that an engine writes to before this project takes the files over: made like another table, found, dropped."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import IdentityTransform

from perennial.tables import TABLES
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.schemas import same_columns

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from perennial.warehouse.catalog import Warehouse

_NAME = re.compile(r"compaction_[0-9a-f]{32}")
_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # Spark: all rows of a source go to one task, so that they fill as few files as they can.
    "write.distribution-mode": "hash",
    "comment": "Rows on their way into fewer files. Dropped when they are there; nothing reads it.",
}


def create_staging(warehouse: Warehouse, table: Table) -> Table:
    """Create an empty table like a loaded one, in its namespace, under a name that is never used twice."""
    declared = next(known for known in TABLES if known.name == table.name()[-1])
    fields = [table.schema().find_field(name).field_id for name in declared.sort_by]
    name = f"compaction_{uuid.uuid4().hex}"
    with catalog_errors(warehouse.settings.catalog):
        return warehouse.catalog.create_table(
            (warehouse.settings.namespace, name),
            schema=table.schema(),
            partition_spec=table.spec(),
            # Trino and Spark keep an order that the table declares, and drop that of a statement.
            sort_order=SortOrder(*(SortField(field, IdentityTransform()) for field in fields)),
            properties=_PROPERTIES,
        )


def is_like(staging: Table, table: Table) -> bool:
    """Whether a file of the one can be listed by the other: the same columns, field ids and partitioning.

    A catalog numbers the columns of a new table itself, which differs where a table's columns were ever changed.
    """
    return same_columns(staging.schema(), table.schema()) and staging.spec() == table.spec()


def staging_names(warehouse: Warehouse) -> list[str]:
    """Name the staging tables that the catalog has."""
    with catalog_errors(warehouse.settings.catalog):
        found = warehouse.catalog.list_tables(warehouse.settings.namespace)
    return [name for *_, name in found if _NAME.fullmatch(name)]


def find_staging(warehouse: Warehouse, name: str) -> Table | None:
    """Load a staging table; None where it has just been dropped."""
    with catalog_errors(warehouse.settings.catalog), suppress(NoSuchTableError):
        return warehouse.catalog.load_table((warehouse.settings.namespace, name))
    return None


def drop_staging(warehouse: Warehouse, name: str) -> None:
    """Take a staging table out of the catalog; whether its files stay is the catalog's matter. Gone is no error."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no staging table")
    with catalog_errors(warehouse.settings.catalog), suppress(NoSuchTableError):
        warehouse.catalog.drop_table((warehouse.settings.namespace, name))


def changed_at(table: Table) -> datetime:
    """When a table's metadata was last written (wall clock)."""
    return datetime.fromtimestamp(table.metadata.last_updated_ms / 1000, UTC)
