"""Marks of what the previous policy deleted, laid over what the platform says of its sources (R18).

The platform itself need not know: its history tells, and `perennial adopt` keeps what it told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import uuid4

from perennial.tables import ADOPTED_DELETIONS, SOURCES

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import Warehouse

    Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

_COLUMN = "interaction_data_deleted_at"


def read_adopted(warehouse: Warehouse) -> dict[str, datetime]:
    """Return when each adopted source was deleted; of a source that was marked twice, the earlier."""
    rows = warehouse.read(ADOPTED_DELETIONS.name).select(["source_id", "deleted_at"]).group_by("source_id")
    earliest = rows.aggregate([("deleted_at", "min")])
    return dict(zip(earliest["source_id"].to_pylist(), earliest["deleted_at_min"].to_pylist(), strict=True))


def with_adopted(sources: Rows, adopted: Mapping[str, datetime]) -> Rows:
    """Lay marks over `sources`; what the platform says itself stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not adopted:
        return sources
    marks = pa.array(map(adopted.get, sources["source_id"].to_pylist()), pa.timestamp("us", tz="UTC"))
    place = sources.schema.get_field_index(_COLUMN)
    laid = pc.coalesce(sources[_COLUMN], marks)
    return cast("Rows", sources.set_column(place, sources.schema.field(place), laid))


def lay_over_sources(warehouse: Warehouse) -> bool:
    """Lay the marks over the warehouse's own `sources`, so that they show before the next sync.

    A sync that ends meanwhile may be overwritten by what was there before; the next one puts it right, and until then
    R7's look at the platform covers it.

    Returns:
        Whether that changed anything.
    """
    import pyarrow as pa

    before = warehouse.read(SOURCES.name)
    after = with_adopted(before, read_adopted(warehouse))
    if after.equals(before):
        return False
    stream = pa.RecordBatchReader.from_batches(after.schema, after.to_batches())
    warehouse.replace_rows(SOURCES.name, stream, operation=f"adopt:{SOURCES.name}:{uuid4().hex}")
    return True
