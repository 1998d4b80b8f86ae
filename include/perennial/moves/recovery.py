"""What dead runs left behind: finish what had reached its destination, forget what had not."""

from __future__ import annotations

import logging

from perennial.moves.commit import is_in_destination
from perennial.moves.finish import finish_move
from perennial.moves.plan import DIRECTIONS, RESTORE, MovePlan, find_plan
from perennial.moves.runs import Run, refuse_future_run, wall_clock
from perennial.moves.verify import is_verified
from perennial.operations import OperationRecord, pending_records, remove_pending
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses

log = logging.getLogger(__name__)

# A restore that has been silent so long is dead; an expiry needs no such patience, its runs take turns.
RESTORE_SILENT_SECONDS = 15 * 60
# A move that has been silent so long without reaching its destination will not go on: its plan is out of date.
ABANDONED_SECONDS = 24 * 60 * 60


def recover_interrupted_moves(warehouse: Warehouse, run: Run) -> int:
    """Finish every move that had reached its destination when its run died; forget the others after a day.

    Finishing is safe even while the run is still alive: every step finds out for itself what is left to do (M2).

    Returns:
        Moves finished.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
        TerminalDataError: A table was set back; nothing was moved.
    """
    refuse_future_run(run)
    refuse_losses(warehouse)
    settled = 0
    for direction in DIRECTIONS.values():
        for record in pending_records(warehouse, direction.name):
            silent = record.age_seconds(wall_clock())
            if direction is RESTORE and silent < RESTORE_SILENT_SECONDS:
                continue
            if resume_move(warehouse, record, run):
                settled += 1
            elif silent > ABANDONED_SECONDS:
                remove_pending(warehouse, direction.name, record.id)
    return settled


def resume_move(warehouse: Warehouse, record: OperationRecord, run: Run) -> bool:
    """Finish one move if its verified copies have reached their destination; returns whether they had."""
    plan = find_plan(record.plan_uri)
    if plan is None or not _has_arrived(warehouse, plan):
        return False
    log.warning("%s %s had not come to its end, finishing it", record.kind, record.id)
    finish_move(warehouse, plan.uri, run)
    return True


def _has_arrived(warehouse: Warehouse, plan: MovePlan) -> bool:
    return is_verified(plan) and is_in_destination(warehouse, plan)
