"""Whole use cases in one process, made of the steps that Airflow runs as tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from perennial.errors import TerminalError
from perennial.lifecycle.expire import decide_expiry, expiry_report, finish_move, plan_expiry
from perennial.lifecycle.moving import add_copies, chunk_count, copy_files, verify_copies
from perennial.lifecycle.requests import read_resolution
from perennial.lifecycle.restore import abandon_restore, check_request, plan_restore, restore_report
from perennial.lifecycle.runs import Run, read_note, wall_clock
from perennial.lifecycle.settling import settle_dead_moves
from perennial.lifecycle.thaw_notes import end_thawing
from perennial.lifecycle.thawing import wait_for_thaw
from perennial.outcomes import ExpiryReport, RestoreReport
from perennial.warehouse import Warehouse


def expire_sources(warehouse: Warehouse, run: Run, dry_run: bool = False) -> ExpiryReport:
    """Run a whole expiry.

    Raises:
        TerminalRequestError: The run is dated after the wall clock and no dry run (R24).
        TerminalMetadataError: The metadata is stale, or has a value that must not be guessed about.
        TerminalDataError: Copies differ from their originals. Nothing was removed.
        TransientError: Trying again may help. Nothing was lost.
    """
    if not dry_run:
        settle_dead_moves(warehouse, run)
    decided = decide_expiry(warehouse, run)
    if not dry_run:
        _move(warehouse, plan_expiry(warehouse, decided.note_uri, run), run)
    return expiry_report(warehouse, run, decided if dry_run else None)


def restore_sources(
    warehouse: Warehouse, params: Mapping[str, Any], run: Run, sleep: Callable[[float], object] = time.sleep
) -> RestoreReport:
    """Run a whole restore; params are those of the DAG `restore_interactions`.

    Args:
        warehouse: Where.
        params: Of the request.
        run: Whose restore it is.
        sleep: How to wait some seconds, between looks at files that have to be thawed; that may take hours.

    Raises:
        TerminalRequestError: The request cannot be done, or the run is dated after the wall clock and no dry run (R24);
            nothing was moved.
        TerminalDataError: Nothing that was asked for is whole. Nothing was moved.
        TransientError: Trying again may help. Nothing was lost.
    """
    request_uri = check_request(warehouse, params)
    plan_uris: list[str] = []
    request, _ = read_resolution(read_note(request_uri))
    if not request.dry_run:
        plan_uris = plan_restore(warehouse, request_uri, run)
        try:
            wait_for_thaw(warehouse, run, plan_uris, request.thaw_tier, sleep)
        except TerminalError:
            for plan_uri in plan_uris:
                abandon_restore(warehouse, plan_uri)
            raise
        _move(warehouse, plan_uris, run)
        end_thawing(warehouse, run.run_id)
    return restore_report(warehouse, request_uri, run, wall_clock(), plan_uris)


def _move(warehouse: Warehouse, plan_uris: list[str], run: Run) -> None:
    for plan_uri in plan_uris:
        for chunk in range(chunk_count(plan_uri)):
            copy_files(warehouse, plan_uri, chunk)
        verify_copies(warehouse, plan_uri)
        add_copies(warehouse, plan_uri)
        finish_move(warehouse, plan_uri, run)
