"""What came back of the sources of a restore request, whichever run brought it back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from perennial.engines.duckdb import open_status_session
from perennial.moves.audit_trail import event_id
from perennial.moves.copy import moved_totals
from perennial.moves.move_plan import MovePlan
from perennial.operations import Run
from perennial.statements import statement
from perennial.warehouse import SourceTotal, Warehouse

# Events up to this long after a run's end count as what the run waited for, because the clocks of machines differ.
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True)
class RestoredRows:
    """What came back of one source, and where it is.

    Attributes:
        event_ids: The events by which the run itself has recorded that the source is back.
        total: What came back.
        last_move: Its last move by any run, expired or restored; None if it was never moved.
        is_archived: Whether the archive has rows of it now.
        expires_at: When it expires again; None while something keeps it.
    """

    event_ids: frozenset[str]
    total: SourceTotal
    last_move: str | None
    is_archived: bool
    expires_at: datetime | None

    def is_back(self, was_expired: bool) -> bool:
        """Whether the source, which had expired or only had archived rows when the request was checked, is back."""
        if self.event_ids:
            return True
        return self.last_move == "restored" if was_expired else not self.is_archived


def find_restored_rows(
    warehouse: Warehouse, run: Run, source_ids: Sequence[str], plans: Collection[MovePlan], finished_at: datetime
) -> dict[str, RestoredRows]:
    """Find out what came back of some sources.

    Args:
        warehouse: The warehouse.
        run: The run that was requested.
        source_ids: The sources.
        plans: The verified moves of the run; their rows count even if another run has recorded that they are back.
        finished_at: When the run ended.
    """
    binds = {"run_id": run.run_id, "now": run.now, "source_ids": source_ids, "until": finished_at + _CLOCKS_DIFFER}
    with open_status_session(warehouse) as session:
        rows = session.execute(statement("moves/report_restored_sources"), binds).fetchall()
    found = {
        source_id: RestoredRows(
            frozenset(event_ids), SourceTotal(source_id, *counts), last_move, is_archived, expires_at
        )
        for source_id, event_ids, *counts, last_move, is_archived, expires_at in rows
    }
    for plan in plans:
        unrecorded = [
            source_id
            for source_id in plan.source_ids
            if source_id in found and event_id(plan.record_operation, source_id) not in found[source_id].event_ids
        ]
        for total in moved_totals(plan, unrecorded) if unrecorded else ():
            before = found[total.source_id]
            found[total.source_id] = replace(before, total=before.total + total)
    return found
