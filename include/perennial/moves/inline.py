"""Whole use cases in one process, made of the steps that Airflow runs as tasks."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from perennial.errors import PerennialError, TerminalError
from perennial.moves.expire import decide_expiry, expiry_report, plan_expiry
from perennial.moves.finish import finish_move
from perennial.moves.notifications import Attempt, notify_of_thaw, send_report
from perennial.moves.plan import read_plan
from perennial.moves.recovery import recover_interrupted_moves
from perennial.moves.requests import read_resolution
from perennial.moves.restore import abandon_restore, check_request, plan_restore, restore_report
from perennial.moves.runs import Run, read_note, wall_clock
from perennial.moves.steps import add_copies, chunk_count, copy_files, verify_copies
from perennial.moves.thaw import wait_for_thaw
from perennial.moves.thaw_status import ThawStatus, end_thaw, find_thaw_status
from perennial.notify import Delivery, airflow_url, page_url
from perennial.reports import ExpiryReport, RestoreReport
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

Watch = Callable[[str, int, int], object]
"""Called with what is being done, and how much of how many files or steps of it is done."""


def expire_sources(warehouse: Warehouse, run: Run, dry_run: bool = False) -> ExpiryReport:
    """Run a whole expiry.

    Raises:
        TerminalRequestError: The run is dated after the wall clock and no dry run (R24).
        TerminalMetadataError: The metadata is stale, or has a value that must not be guessed about.
        TerminalDataError: Copies differ from their originals. Nothing was removed.
        TransientError: Trying again may help. Nothing was lost.
    """
    if not dry_run:
        recover_interrupted_moves(warehouse, run)
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
        end_thaw(warehouse, run.run_id)
    return restore_report(warehouse, request_uri, run, wall_clock(), plan_uris)


def restore_and_notify(
    warehouse: Warehouse,
    params: Mapping[str, Any],
    run: Run,
    watch: Watch,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[RestoreReport, Delivery]:
    """Run a whole restore and send its mails, as the DAG `restore_interactions` does.

    Once the request is accepted, the requesters have one mail of how it ended, whatever went wrong (R12).

    Args:
        warehouse: Where.
        params: Those of the DAG.
        run: Whose restore it is.
        watch: Sees how far it is.
        sleep: As in `restore_sources`.

    Returns:
        What became of every source, and of the mail.

    Raises:
        TerminalRequestError: The request cannot be done; nothing was moved, and nobody was told.
    """
    watch("Checking the request", 0, 0)
    request_uri = check_request(warehouse, params)
    plan_uris: list[str] = []
    error = ""
    try:
        _restore_watched(warehouse, request_uri, run, plan_uris, watch, sleep)
    except PerennialError as failed:
        error = str(failed)
    except Exception as failed:
        log.exception("%s failed", run.run_id)
        error = f"{type(failed).__name__}: {failed}"
    watch("Sending the e-mail", 0, 0)
    attempt = Attempt(request_uri, tuple(plan_uris), error, page_url=_page_url())
    return send_report(warehouse, run, params, attempt)


def _restore_watched(
    warehouse: Warehouse,
    request_uri: str,
    run: Run,
    plan_uris: list[str],
    watch: Watch,
    sleep: Callable[[float], object],
) -> None:
    """Carry out a request; `plan_uris` is filled with its plans as soon as there are any."""
    request, _ = read_resolution(read_note(request_uri))
    if request.dry_run:
        return
    watch("Planning", 0, 0)
    plan_uris += plan_restore(warehouse, request_uri, run)

    def asked(thawing: ThawStatus) -> None:
        watch("Thawing", thawing.thawed_count, thawing.file_count)
        notify_of_thaw(warehouse, run, request_uri, thawing, page_url=_page_url())

    def pause(seconds: float) -> None:
        if thawing := find_thaw_status(warehouse, run.run_id):
            watch("Thawing", thawing.thawed_count, thawing.file_count)
        sleep(seconds)

    wait_for_thaw(warehouse, run, plan_uris, request.thaw_tier, pause, asked)
    _move(warehouse, plan_uris, run, watch)


def _move(warehouse: Warehouse, plan_uris: list[str], run: Run, watch: Watch = lambda *_: None) -> None:
    file_count = sum(len(read_plan(plan_uri).steps) for plan_uri in plan_uris)
    copied = itertools.count(1)
    for done, plan_uri in enumerate(plan_uris):
        for chunk in range(chunk_count(plan_uri)):
            copy_files(warehouse, plan_uri, chunk, lambda: watch("Copying", next(copied), file_count))
        watch("Verifying", done, len(plan_uris))
        verify_copies(warehouse, plan_uri)
        watch("Committing", done, len(plan_uris))
        add_copies(warehouse, plan_uri)
        finish_move(warehouse, plan_uri, run)


def _page_url() -> str | None:
    # Airflow is imported for it, and so only when a mail is written, which needs Airflow's connection anyway.
    try:
        return page_url(base_url) if (base_url := airflow_url()) else None
    except Exception:  # whatever it is, without the link the mail says the same
        log.warning("Airflow does not say where the page is", exc_info=True)
        return None
