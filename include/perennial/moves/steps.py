"""The six steps of a move, for either direction; the last one differs by direction and lives with its use case."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable

from perennial.moves.commit import commit_destination
from perennial.moves.copy import CopyResult, copy_chunk, read_results
from perennial.moves.plan import RESTORE, Direction, MovePlan, batched_sources, plan_move, read_plan, touch_move
from perennial.moves.runs import wall_clock
from perennial.moves.thaw import refuse_cold
from perennial.moves.verify import Verification, read_verification, verify_move
from perennial.quality import check_move
from perennial.warehouse import SourceTotal, Warehouse

log = logging.getLogger(__name__)

# How often sources that another writer keeps changing are planned again before the run gives up.
REPLANS = 3
# Airflow maps a task over 1,024 items at most. This is how many copy tasks a run has for one direction; the daily run
# has both.
RUN_CHUNKS = 500


def plan_sources(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> list[str]:
    """Step 1: plan the move of some sources, in as many moves as keep each in bounds.

    Returns:
        The plans' addresses; none when there is nothing to move.
    """
    batches = batched_sources(warehouse, direction, source_ids)
    plans = (
        plan_move(warehouse, direction, batch, uuid.uuid4().hex, wall_clock(), RUN_CHUNKS // len(batches))
        for batch in batches
    )
    return [plan.uri for plan in plans if plan]


def chunk_count(plan_uri: str) -> int:
    """How many copy tasks a plan has."""
    return read_plan(plan_uri).chunk_count


def copy_files(warehouse: Warehouse, plan_uri: str, chunk: int, copied: Callable[[], object] = lambda: None) -> int:
    """Step 2: copy one chunk, calling `copied` after each file; returns the files copied."""
    return copy_chunk(warehouse, _touched(warehouse, plan_uri), chunk, copied)


def verify_copies(warehouse: Warehouse, plan_uri: str) -> Verification:
    """Step 3: compare every copy with its original."""
    return verify_move(_touched(warehouse, plan_uri), check_move)


def add_copies(warehouse: Warehouse, plan_uri: str) -> int:
    """Step 4: commit the destination; returns the files added."""
    plan = _touched(warehouse, plan_uri)
    return commit_destination(warehouse, plan, whole_sources(plan))


def prepare_move(warehouse: Warehouse, direction: Direction, source_ids: Collection[str]) -> list[str]:
    """Steps 1 to 4 in this process; returns the plans' addresses, none when there is nothing to move.

    Raises:
        TransientError: Files have to be thawed first, which has been asked for.
    """
    plan_uris = plan_sources(warehouse, direction, source_ids)
    if direction is RESTORE:
        refuse_cold(warehouse, plan_uris)
    for plan_uri in plan_uris:
        for chunk in range(chunk_count(plan_uri)):
            copy_files(warehouse, plan_uri, chunk)
        verify_copies(warehouse, plan_uri)
        add_copies(warehouse, plan_uri)
    return plan_uris


def whole_sources(plan: MovePlan) -> list[str]:
    """The sources of a verified plan none of whose files is damaged."""
    damaged = read_verification(plan).damaged
    return [source_id for source_id in plan.source_ids if source_id not in damaged]


def moved_totals(plan: MovePlan, source_ids: Collection[str]) -> list[SourceTotal]:
    """What a plan's copies come to, a source each."""
    by_source: dict[str, list[CopyResult]] = {source_id: [] for source_id in source_ids}
    for result in read_results(plan):
        if result.source_id in by_source:
            by_source[result.source_id].append(result)
    return [_total(source_id, results) for source_id, results in by_source.items()]


def _total(source_id: str, results: Iterable[CopyResult]) -> SourceTotal:
    copies = list(results)
    return SourceTotal(
        source_id,
        file_count=len(copies),
        row_count=sum(result.copied_rows for result in copies),
        total_bytes=sum(result.copied_bytes for result in copies),
    )


def _touched(warehouse: Warehouse, plan_uri: str) -> MovePlan:
    plan = read_plan(plan_uri)
    touch_move(warehouse, plan, wall_clock())
    return plan
