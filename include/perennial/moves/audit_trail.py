"""The audit trail, table `lifecycle_events`: expired, restored, expired, … of each source, whoever records it and when.

Two runs may end the same move, and two moves may bring back the same rows. So an event is recorded by comparing: what
the trail says of a source when the event is committed decides whether the event is still true.
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
from perennial.sql import statement
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import SourceTotal, Warehouse

if TYPE_CHECKING:
    from pyiceberg.table import Table

Event = Literal["expired", "restored", "late_archived"]


@dataclass(frozen=True)
class LastEvent:
    """The end of a source's trail.

    Attributes:
        move: Which way it was moved last, expired or restored; None where it never was.
        recorded_at: When its last event was recorded, whichever it is.
    """

    move: str | None = None
    recorded_at: datetime | None = None


def last_events(warehouse: Warehouse, source_ids: Collection[str], table: Table | None = None) -> dict[str, LastEvent]:
    """Return the end of each source's trail, now or as a loaded table has it."""
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
    """Record that sources have expired, or that late rows of expired sources were archived (R9); once an operation.

    Args:
        warehouse: Where to.
        run: Whose events they are.
        operation: Makes a repetition do nothing, and the events' ids the same.
        reasons: Why, for each source.
        totals: What was moved of each.
        seen: The trails from before it was decided that the sources expire. Where somebody has recorded an event since,
            that decision is out of date.

    Returns:
        The totals of the sources that may leave hot; the decision about the others is out of date.
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
    # An earlier attempt may have recorded fewer sources: what the trail does not say to be away must not leave.
    last = last_events(warehouse, [total.source_id for total in moved])
    return [total for total in moved if total.source_id not in outdated and last[total.source_id].move == "expired"]


def record_restored(warehouse: Warehouse, run: Run, operation: str, totals: Collection[SourceTotal]) -> None:
    """Record that sources are back, which starts their clocks again (R13); once an operation.

    A source that another run has said to be back is left out, and so is one that was never away.
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
    """Now, but after the last event: the clock of the machine that recorded that one may be ahead of this one's."""
    now = wall_clock()
    return now if last.recorded_at is None else max(now, last.recorded_at + timedelta(microseconds=1))
