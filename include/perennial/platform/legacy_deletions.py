"""Marks of what the previous policy deleted, applied to what the platform says of its sources (R18).

The platform itself need not know them: `perennial adopt` finds them in its history, and keeps them.
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


def read_legacy_deletions(warehouse: Warehouse) -> dict[str, datetime]:
    """Return when each marked source was deleted: its last mark counts, and one that was revoked is none."""
    marks = warehouse.read(ADOPTED_DELETIONS.name).sort_by("adopted_at")
    last = dict(zip(marks["source_id"].to_pylist(), marks["deleted_at"].to_pylist(), strict=True))
    return {source_id: deleted_at for source_id, deleted_at in last.items() if deleted_at is not None}


def with_legacy_deletions(sources: Rows, deleted_at: Mapping[str, datetime]) -> Rows:
    """Apply marks to `sources`; what the platform says itself stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not deleted_at:
        return sources
    marks = pa.array(map(deleted_at.get, sources["source_id"].to_pylist()), pa.timestamp("us", tz="UTC"))
    place = sources.schema.get_field_index(_COLUMN)
    merged = pc.coalesce(sources[_COLUMN], marks)
    return cast("Rows", sources.set_column(place, sources.schema.field(place), merged))


def apply_to_sources(warehouse: Warehouse, revoked: Mapping[str, datetime] | None = None) -> bool:
    """Apply the marks to the warehouse's own `sources`, so that they show before the next sync.

    A sync that ends at the same time may be overwritten by the earlier state; the next sync corrects that, and until
    then R7's check of the platform covers it.

    Args:
        warehouse: Where `sources` is.
        revoked: Marks that no longer count, to be removed again; what the platform says itself stands.

    Returns:
        Whether anything changed.
    """
    import pyarrow as pa

    before = warehouse.read(SOURCES.name)
    after = with_legacy_deletions(_without(before, revoked or {}), read_legacy_deletions(warehouse))
    if after.equals(before):
        return False
    stream = pa.RecordBatchReader.from_batches(after.schema, after.to_batches())
    warehouse.replace_rows(SOURCES.name, stream, operation=f"adopt:{SOURCES.name}:{uuid4().hex}")
    return True


def _without(sources: pa.Table, revoked: Mapping[str, datetime]) -> pa.Table:
    import pyarrow as pa

    if not revoked:
        return sources
    ids, moments = sources["source_id"].to_pylist(), sources[_COLUMN].to_pylist()
    kept = [None if moment == revoked.get(name) else moment for name, moment in zip(ids, moments, strict=True)]
    place = sources.schema.get_field_index(_COLUMN)
    field = sources.schema.field(place)
    return sources.set_column(place, field, pa.array(kept, field.type))
