"""Rows that another program has put into the archive although their source is available: answers must name them (R16).

An answer must not cost a look at the archive's manifests, which are as many as it is large. So the number of rows that
the archive's last writer has counted is held against what the recorded moves put there; only where they differ the
manifests are read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from perennial.sql import statement
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.warehouse.files import record_count, rows_by_source

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse

# What moves name their copies (M1). Those of an available source are on their way, and its rows are still in hot.
_COPY = re.compile(r"[0-9a-f]{64}(?:-\d+)?\.parquet")


def show_misplaced(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, source_ids: Collection[str] | None
) -> None:
    """Put relation `misplaced_rows` in place: source_id, row_count, of the available sources that have any.

    Args:
        connection: With `source_states` and `lifecycle_events` in place.
        warehouse: Where the archive is.
        source_ids: Look for these sources only; None: for all.
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
