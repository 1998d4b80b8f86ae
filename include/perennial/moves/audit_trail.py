"""The audit trail, table `lifecycle_events`: it alternates between expired and restored for each source.

Two runs may finish the same move, and two moves may bring back the same rows. So the last event of a source when a new
one is committed decides whether that is still true.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from perennial.engines.duckdb import create_view, open_connection
from perennial.operations import Run, wall_clock
from perennial.policy.holds import held_sources
from perennial.statements import statement
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import SourceTotal, Warehouse

if TYPE_CHECKING:
    from pyiceberg.table import Table

Event = Literal["expired", "restored", "late_archived"]


@dataclass(frozen=True)
class LastEvent:
    """The last entries of a source in the audit trail.

    Attributes:
        move: Its last move, expired or restored; None if it was never moved.
        recorded_at: When its last event of any kind was recorded.
    """

    move: str | None = None
    recorded_at: datetime | None = None


def last_events(warehouse: Warehouse, source_ids: Collection[str], table: Table | None = None) -> dict[str, LastEvent]:
    """Return the last entries of each source, now or according to a loaded table."""
    table = table or warehouse.table(LIFECYCLE_EVENTS.name)
    with open_connection() as connection:
        create_view(connection, LIFECYCLE_EVENTS.name, list(warehouse.live_files(table)), table)
        connection.execute(statement("views/create_source_moves"))
        rows = connection.execute(statement("moves/list_last_events"), {"source_ids": list(source_ids)}).fetchall()
    return {source_id: LastEvent(move, recorded_at) for source_id, move, recorded_at in rows}


def record_expired(
    warehouse: Warehouse,
    run: Run,
    operation: str,
    reasons: Mapping[str, str | None],
    totals: Iterable[SourceTotal],
    seen: Mapping[str, LastEvent],
) -> list[SourceTotal]:
    """Record once per operation that sources have expired, or that late rows of expired ones were archived (R9).

    Args:
        warehouse: The warehouse.
        run: The run that the events belong to.
        operation: Identifies the events, so that a repetition does nothing.
        reasons: The reason for each source.
        totals: What was moved of each source.
        seen: The last entries from before the decision. If somebody has recorded an event of a source since, the
            decision about it is out of date.

    Returns:
        The totals of the sources that may leave hot; the decisions about the others are out of date.
    """
    outdated: set[str] = set()
    moved = list(totals)

    def look() -> None:
        # After the trail was loaded: `place_hold` changes it too, so a hold that is missed here makes the commit fail.
        held = held_sources(warehouse, run.now)
        outdated.update(each.source_id for each in moved if each.source_id in held and not is_away(each))

    def is_away(total: SourceTotal) -> bool:
        return seen[total.source_id].move == "expired"

    def event_of(total: SourceTotal, last: LastEvent) -> Event | None:
        if last != seen[total.source_id]:
            outdated.add(total.source_id)
        if total.source_id in outdated:
            return None
        return "late_archived" if is_away(total) else "expired"

    _record(warehouse, run, operation, reasons, moved, event_of, look)
    # An earlier attempt may have recorded fewer sources: only those that the trail says have expired may leave.
    last = last_events(warehouse, [total.source_id for total in moved])
    return [total for total in moved if total.source_id not in outdated and last[total.source_id].move == "expired"]


def record_restored(warehouse: Warehouse, run: Run, operation: str, totals: Collection[SourceTotal]) -> None:
    """Record once per operation that sources are back, which starts their clocks again (R13).

    Sources that another run has recorded as restored are left out, and so are sources that were never away.
    """

    def event_of(total: SourceTotal, last: LastEvent) -> Event | None:
        # Other programs may have put rows into the archive of a source that no run has expired.
        is_away = last.move == "expired" or (last.move is None and total.file_count > 0)
        return "restored" if is_away else None

    _record(warehouse, run, operation, {total.source_id: run.reason for total in totals}, totals, event_of)


def event_id(operation: str, source_id: str) -> str:
    """Return the id of the event that an operation records of a source."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{operation}\n{source_id}"))


def _record(
    warehouse: Warehouse,
    run: Run,
    operation: str,
    reasons: Mapping[str, str | None],
    totals: Collection[SourceTotal],
    event_of: Callable[[SourceTotal, LastEvent], Event | None],
    look: Callable[[], None] = lambda: None,
) -> None:
    def rows(table: Table) -> list[dict[str, object]]:
        look()
        last = last_events(warehouse, [total.source_id for total in totals], table)
        events = ((total, event_of(total, last[total.source_id])) for total in totals)
        return [
            {
                "event_id": event_id(operation, total.source_id),
                "event": event,
                "source_id": total.source_id,
                "occurred_at": run.now,
                "run_id": run.run_id,
                "requested_by": run.requested_by,
                "reason": reasons[total.source_id],
                "file_count": total.file_count,
                "row_count": total.row_count,
                "total_bytes": total.total_bytes,
                "recorded_at": _after(last[total.source_id]),
            }
            for total, event in events
            if event is not None
        ]

    if totals:
        warehouse.append_decided(LIFECYCLE_EVENTS.name, rows, operation)


def _after(last: LastEvent) -> datetime:
    """Now, but later than the last event, because the clock of the machine that recorded it may be ahead."""
    now = wall_clock()
    return now if last.recorded_at is None else max(now, last.recorded_at + timedelta(microseconds=1))
