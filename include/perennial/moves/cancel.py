"""Cancels a restore: before its copies are in the hot table nothing of it is left, after that it is finished (R23)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from perennial.engines.duckdb import open_session
from perennial.errors import TerminalRequestError
from perennial.moves.cancellation import record_cancellation
from perennial.moves.commit import forestall
from perennial.moves.move_plan import RESTORE, find_plan
from perennial.moves.restore_start import find_restore, unended_runs
from perennial.operations import OperationRecord, pending_records, remove_pending
from perennial.refusals import nearest_name, not_known
from perennial.statements import statement
from perennial.tables import LIFECYCLE_EVENTS
from perennial.text import pluralize
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CancelOutcome:
    """What a cancellation found.

    Attributes:
        stopped: Sources whose moves were given up.
        arrived: Sources whose data is in the hot table already, so that their restore is finished.
    """

    stopped: tuple[str, ...] = ()
    arrived: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.arrived:
            return "Cancelled. Nothing was moved: everything stays in the archive, expired exactly as before."
        if not self.stopped:
            return "Too late: the data is in the hot table already. The restore is finished."
        return (
            f"Cancelled for {pluralize(len(self.stopped), 'source')}, expired exactly as before. The data of "
            f"{pluralize(len(self.arrived), 'source')} is in the hot table already; their restore is finished."
        )


def cancel_restore(warehouse: Warehouse, run_id: str, by: str) -> CancelOutcome:
    """Cancel a restore that is under way, wherever it runs.

    Raises:
        TerminalRequestError: No such restore is under way; nothing was cancelled.
    """
    start = find_restore(warehouse, run_id)
    if start is None:
        raise TerminalRequestError(_unknown(warehouse, run_id))
    if start.ended:
        raise TerminalRequestError(f"The restore {run_id!r} has ended; there is nothing to cancel.")
    # First: a move that is planned after the moves were listed finds it.
    record_cancellation(warehouse, run_id, by)
    outcome = stop_moves(warehouse, run_id)
    with open_session(warehouse, [LIFECYCLE_EVENTS.name]) as session:
        back = session.execute(statement("moves/list_restored_by_run"), {"run_id": run_id}).fetchall()
    return replace(outcome, arrived=tuple(sorted({*outcome.arrived, *(source_id for (source_id,) in back)})))


def stop_moves(warehouse: Warehouse, run_id: str) -> CancelOutcome:
    """Give up every move of a cancelled run that has not reached the hot table, and release its sources."""
    stopped: list[str] = []
    arrived: list[str] = []
    for record in records_of(warehouse, run_id):
        plan = find_plan(record.plan_uri) if record.plan_uri else None
        if plan is not None and (plan.earlier or not forestall(warehouse, plan)):
            arrived += plan.source_ids
            continue
        remove_pending(warehouse, record.kind, record.id)
        stopped += plan.source_ids if plan else ()
    log.info("%s: %s stopped, %s arrived", run_id, pluralize(len(stopped), "source"), pluralize(len(arrived), "source"))
    return CancelOutcome(tuple(sorted(set(stopped))), tuple(sorted(set(arrived))))


def records_of(warehouse: Warehouse, run_id: str) -> list[OperationRecord]:
    """Return the moves and locks of a restore that have not ended, oldest first."""
    return [record for record in pending_records(warehouse, RESTORE.name) if record.run_id == run_id]


def _unknown(warehouse: Warehouse, run_id: str) -> str:
    otherwise = "nothing was cancelled. A run in Airflow's queue is cancelled on its page, or by marking it failed."
    return not_known(run_id, "restore that is under way", nearest_name(run_id, unended_runs(warehouse)), otherwise)
