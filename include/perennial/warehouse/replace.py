"""Replaces a whole table, after a check of exactly the rows that the commit replaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.commits import FileChange, commit_change

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table as IcebergTable

    from perennial.warehouse.catalog import Warehouse


def replace_after_look(
    warehouse: Warehouse, name: str, data_files: Iterable[DataFile], look: Callable[[pa.Table], object], operation: str
) -> None:
    """Make staged data files a table's whole content, in one commit.

    Args:
        warehouse: Where the table is.
        name: Of the table.
        data_files: From `Warehouse.stage_rows`.
        look: Called with the rows that are about to be replaced, again after each lost race. If it raises, nothing is
            replaced.
        operation: As in `commit_change`.
    """
    added = list(data_files)

    def change(table: IcebergTable) -> FileChange:
        with catalog_errors(warehouse.settings.catalog):
            rows = table.scan().to_arrow()
        look(rows)
        return FileChange(add=added, remove=[live.data_file for live in warehouse.live_files(table)], forced=True)

    commit_change(warehouse, name, change, operation)


def make_snapshot(warehouse: Warehouse, name: str, operation: str) -> None:
    """Make a snapshot that changes nothing, as a sign that the table is up to date."""
    commit_change(warehouse, name, lambda _: FileChange(forced=True), operation)
