"""The audit trail of each source, as tests look at it."""

from __future__ import annotations

from perennial.warehouse import Warehouse
from tests.rows import shown


def trails(warehouse: Warehouse) -> dict[str, list[str]]:
    """The moves of each source in the order in which they are told; late rows apart."""
    with shown(warehouse, "lifecycle_events") as session:
        rows = session.execute(
            "SELECT source_id, list(event ORDER BY coalesce(recorded_at, occurred_at), occurred_at, event) "
            "FROM lifecycle_events WHERE event <> 'late_archived' GROUP BY source_id"
        ).fetchall()
    return dict(rows)


def assert_trails_alternate(warehouse: Warehouse) -> None:
    """Expired, restored, expired, … of every source."""
    found = trails(warehouse)
    assert found
    for source_id, events in found.items():
        assert events == (["expired", "restored"] * len(events))[: len(events)], source_id
