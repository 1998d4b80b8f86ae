"""Rows that another program has put into the archive although their source is available: answers must name them (R16).

An answer must not need the archive's manifests, whose number grows with the archive. So the row count of the archive's
last writer is compared with the rows that recorded moves put there; the manifests are read only if they differ.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from perennial.statements import statement
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse.files import record_count, rows_by_source

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

# Names of copies (M1). Copies of an available source belong to a move under way, and its rows are still in hot.
_COPY = re.compile(r"[0-9a-f]{64}(?:-\d+)?\.parquet")


def show_misplaced(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, source_ids: Collection[str] | None
) -> None:
    """Create relation `misplaced_rows`: source_id, row_count, of the available sources that have any.

    Args:
        connection: A connection with `source_states` and `lifecycle_events`.
        warehouse: Where the archive is.
        source_ids: Check only these sources; None: all.
    """
    connection.register("misplaced_rows", _misplaced(connection, warehouse, source_ids))


def _misplaced(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, source_ids: Collection[str] | None
) -> pa.Table:
    import pyarrow as pa

    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    ((expected,),) = connection.execute(statement("engines/count_archived_rows")).fetchall()
    rows: Counter[str] = Counter()
    if record_count(archive) != expected:
        away = connection.execute("SELECT source_id FROM source_states WHERE state <> 'available'").fetchall()
        elsewhere = {source_id for (source_id,) in away}
        for live in warehouse.live_files(archive, source_ids):
            if not _COPY.fullmatch(live.uri.rpartition("/")[2]):
                rows.update(rows_by_source(archive, live))
        rows = Counter({source_id: count for source_id, count in rows.items() if source_id not in elsewhere})
    columns = {"source_id": pa.array(list(rows), pa.string()), "row_count": pa.array(list(rows.values()), pa.int64())}
    return pa.table(columns)
