"""Recovers what dead runs and lost races left behind: finishes moves, continues them with a new plan, or drops them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from perennial.errors import TransientConflictError, TransientError
from perennial.moves.commit import is_in_destination
from perennial.moves.finish import count_moved, finish_move, finish_restore, read_left
from perennial.moves.move_plan import DIRECTIONS, RESTORE, MovePlan, find_plan, read_plan
from perennial.moves.plan import RUN_CHUNKS, plan_move
from perennial.moves.thaw import refuse_cold
from perennial.moves.verify import is_verified
from perennial.operations import OperationRecord, Run, pending_records, refuse_future_run, remove_pending, wall_clock
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses

log = logging.getLogger(__name__)

# A restore without a heartbeat for this long is dead. An expiry needs no such limit, because its runs take turns.
RESTORE_SILENT_SECONDS = 15 * 60
# A move without a heartbeat for this long that has not reached its destination is given up: its plan is out of date.
ABANDONED_SECONDS = 24 * 60 * 60


def recover_interrupted_moves(warehouse: Warehouse, run: Run) -> list[str]:
    """Finish every move that had reached its destination when its run died; give up the others after a day.

    This is safe even if the run is still alive, because every step finds out for itself what is left to do (M2).

    Returns:
        Addresses of the plans of restores that are not finished, for `plan_again`. Unfinished expiries are not among
        them, because the run's own decisions find what is left of those.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
        TerminalDataError: A table was set back; nothing was moved.
    """
    refuse_future_run(run)
    refuse_losses(warehouse)
    unfinished: list[str] = []
    for direction in DIRECTIONS.values():
        patience = RESTORE_SILENT_SECONDS if direction is RESTORE else 0
        records = list(pending_records(warehouse, direction.name))
        silent = [record for record in records if record.age_seconds(wall_clock()) >= patience]
        resumed = resume_moves(warehouse, silent, run)
        unfinished += resumed.unfinished
        for record in silent:
            if record.id not in resumed.arrived and record.age_seconds(wall_clock()) > ABANDONED_SECONDS:
                remove_pending(warehouse, direction.name, record.id)
    return unfinished


@dataclass(frozen=True)
class ResumedMoves:
    """The outcome of resumed moves.

    Attributes:
        arrived: Ids of the moves whose verified copies had reached their destination.
        unfinished: Addresses of the plans of restores whose files other writers have changed in part.
    """

    arrived: frozenset[str]
    unfinished: tuple[str, ...]


def resume_moves(warehouse: Warehouse, records: Sequence[OperationRecord], run: Run) -> ResumedMoves:
    """Finish moves whose verified copies have reached their destination.

    Args:
        warehouse: Where.
        records: The moves, oldest first.
        run: The run that finishes them.
    """
    arrived: set[str] = set()
    unfinished = []
    # The newest first: a move that continues earlier ones also finishes them, or has to be continued itself.
    for record in reversed(records):
        plan = find_plan(record.plan_uri)
        if record.id in arrived or plan is None or not _has_arrived(warehouse, plan):
            continue
        log.warning("%s %s was interrupted, finishing it", record.kind, record.id)
        outcome = finish_move(warehouse, plan, run)
        count_moved(outcome)
        arrived |= {plan.move_id, *plan.earlier}
        if outcome.left and plan.direction is RESTORE:
            unfinished.append(plan.uri)
    return ResumedMoves(frozenset(arrived), tuple(unfinished))


def _has_arrived(warehouse: Warehouse, plan: MovePlan) -> bool:
    return is_verified(plan) and is_in_destination(warehouse, plan)


def plan_next_round(warehouse: Warehouse, plan_uris: Sequence[str], run: Run) -> list[str]:
    """Plan the files of some moves again that other writers have changed; the new plans are to be carried out at once.

    Returns:
        The new plans' addresses.

    Raises:
        TransientError: Files that entered the archive meanwhile have to be thawed first, which has been requested.
    """
    planned = plan_again(warehouse, plan_uris, run)
    try:
        refuse_cold(warehouse, planned)
    except TransientError:
        abandon_restores(warehouse, planned)
        raise
    return planned


def plan_again(warehouse: Warehouse, plan_uris: Sequence[str], run: Run) -> list[str]:
    """Plan what is left of some moves; returns the new plans' addresses.

    Raises:
        TransientConflictError: Other writers are still changing the archive.
    """
    plans = (_plan_rest(warehouse, read_plan(uri), run, RUN_CHUNKS // len(plan_uris)) for uri in plan_uris)
    return [plan.uri for plan in plans if plan]


def _plan_rest(warehouse: Warehouse, plan: MovePlan, run: Run, max_chunks: int) -> MovePlan | None:
    # The rest of an expiry is a move of its own, because the expiry of its sources has been recorded already.
    earlier = (*plan.earlier, plan.move_id) if plan.direction is RESTORE else ()
    rest = plan_move(warehouse, plan.direction, read_left(plan).sources, max_chunks=max_chunks, earlier=earlier)
    if rest is None and plan.direction is RESTORE and finish_restore(warehouse, plan, run).left:
        # Another run had moved the rest, but now there are more files.
        raise TransientConflictError(f"Other writers changed the archive while {plan.uri} was continued; run it again.")
    return rest


def abandon_restores(warehouse: Warehouse, plan_uris: Collection[str]) -> None:
    """Give up failed restores that have not reached hot, so that they do not prevent expiries."""
    for record in pending_records(warehouse, RESTORE.name):
        if record.plan_uri not in plan_uris:
            continue
        plan = find_plan(record.plan_uri)
        if plan is not None and not is_in_destination(warehouse, plan):
            remove_pending(warehouse, record.kind, record.id)
