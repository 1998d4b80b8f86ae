"""Whole use cases in one process, made of the steps that Airflow runs as tasks."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perennial.errors import PerennialError, TerminalCancelledError, TerminalError
from perennial.moves.cancel import records_of, stop_moves
from perennial.moves.cancellation import find_cancellation, record_cancellation
from perennial.moves.ceiling import refuse_above_ceiling
from perennial.moves.commit import commit_destination, refuse_cancelled
from perennial.moves.copy import copy_chunk
from perennial.moves.expire import decide_expiry, expiry_report, plan_expiry
from perennial.moves.finish import MoveOutcome, finish_move
from perennial.moves.move_plan import MovePlan, read_plan
from perennial.moves.notifications import Attempt, notify_of_thaw, send_report
from perennial.moves.recovery import abandon_restores, plan_next_round, recover_interrupted_moves, resume_moves
from perennial.moves.requests import read_request
from perennial.moves.restore import check_request, plan_restore, restore_report
from perennial.moves.thaw import wait_for_thaw
from perennial.moves.thaw_status import ThawStatus, end_thaw, find_thaw_status
from perennial.moves.verify import verify_move
from perennial.notify import Delivery, airflow_url, describe, page_url
from perennial.operations import Run, wall_clock
from perennial.reports import ExpiryReport, RestoreReport
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

# How often, at most, files are planned that other writers change while they are moved.
ROUNDS = 2

Watch = Callable[[str, int, int], object]
"""Called with the current activity, how many of its files or steps are done, and how many there are."""


def expire_sources(warehouse: Warehouse, run: Run, dry_run: bool = False) -> ExpiryReport:
    """Run a whole expiry; whoever calls it approves it, so that nobody is asked (R21).

    Raises:
        TerminalRequestError: The run is dated after the wall clock and no dry run (R24).
        TerminalMetadataError: The metadata is stale, or has a value that cannot be interpreted safely.
        TerminalDataError: Copies differ from their originals. Nothing was removed.
        TransientError: Trying again may help. Nothing was lost.
    """
    unfinished = [] if dry_run else recover_interrupted_moves(warehouse, run)
    decided = decide_expiry(warehouse, run)
    if not dry_run:
        _move(warehouse, plan_expiry(warehouse, decided.uri, run, unfinished), run)
    return expiry_report(warehouse, run, decided if dry_run else None)


def restore_sources(
    warehouse: Warehouse, params: Mapping[str, Any], run: Run, sleep: Callable[[float], object] = time.sleep
) -> RestoreReport:
    """Run a whole restore; params are those of the DAG `restore_interactions`.

    Args:
        warehouse: Where.
        params: Of the request.
        run: Whose restore it is.
        sleep: Waits the given seconds between checks of files that have to be thawed, which may take hours.

    Raises:
        TerminalRequestError: The request cannot be done, or the run is dated after the wall clock and no dry run (R24);
            nothing was moved.
        TerminalDataError: All requested sources are damaged. Nothing was moved.
        TransientError: Trying again may help. Nothing was lost.
    """
    request_uri = check_request(warehouse, params, run.run_id)
    plan_uris: list[str] = []
    try:
        _restore(warehouse, request_uri, run, plan_uris, sleep=sleep)
    except TerminalError:
        abandon_restores(warehouse, plan_uris)
        raise
    end_thaw(warehouse, run.run_id)
    return restore_report(warehouse, request_uri, run, wall_clock(), plan_uris)


def restore_and_notify(
    warehouse: Warehouse,
    params: Mapping[str, Any],
    run: Run,
    watch: Watch,
    sleep: Callable[[float], object] = time.sleep,
) -> tuple[RestoreReport, Delivery]:
    """Run a whole restore and send its e-mails, as the DAG `restore_interactions` does.

    Once the request is accepted, the requesters get one e-mail about the outcome, whatever goes wrong (R12).

    Args:
        warehouse: Where.
        params: Those of the DAG.
        run: Whose restore it is.
        watch: Is called with the progress.
        sleep: As in `restore_sources`.

    Returns:
        The outcome of every source, and of the e-mail.

    Raises:
        TerminalRequestError: The request cannot be done; nothing was moved, and nobody was notified.
    """
    watch("Checking the request", 0, 0)
    request_uri = check_request(warehouse, params, run.run_id)
    plan_uris: list[str] = []
    error = ""

    def asked(thawing: ThawStatus) -> None:
        notify_of_thaw(warehouse, run, request_uri, thawing, page_url=_page_url())

    try:
        _restore(warehouse, request_uri, run, plan_uris, watch, sleep, asked)
    except PerennialError as failed:
        error = str(failed)
    except Exception as failed:
        log.exception("%s failed", run.run_id)
        error = f"{type(failed).__name__}: {failed}"
    watch("Sending the e-mail", 0, 0)
    attempt = Attempt(request_uri, tuple(plan_uris), error, page_url=_page_url())
    return send_report(warehouse, run, params, attempt)


def undelivered_here(delivery: Delivery) -> str:
    """Say who could not be notified of a restore in this process, and why that may be; empty if everybody was."""
    if not delivery.undelivered:
        return ""
    return (
        f"{describe(delivery.undelivered)} The restore itself is not affected: inform them another way. Outside "
        "Airflow the connection is read from AIRFLOW_CONN_SMTP_DEFAULT or a secrets backend, not from its database."
    )


def end_stopped_run(warehouse: Warehouse, run: Run, by: str | None, planned: bool) -> None:
    """Do what a stopped run cannot do any more: finish the moves that have reached the hot table, give up the others.

    Its tasks may still be running somewhere, until Airflow has stopped them, which changes nothing (M2).

    Args:
        warehouse: Where.
        run: The run.
        by: Who has stopped it, as far as known; None if nobody has.
        planned: Whether its plans were made.
    """
    if by is not None and (by or not planned or records_of(warehouse, run.run_id)):
        record_cancellation(warehouse, run.run_id, by)
    if find_cancellation(warehouse, run.run_id) is None:
        return
    stop_moves(warehouse, run.run_id)
    resumed = resume_moves(warehouse, records_of(warehouse, run.run_id), run)
    if resumed.unfinished:
        _move(warehouse, plan_next_round(warehouse, resumed.unfinished, run), run)


def _restore(
    warehouse: Warehouse,
    request_uri: str,
    run: Run,
    plan_uris: list[str],
    watch: Watch = lambda *_: None,
    sleep: Callable[[float], object] = time.sleep,
    asked: Callable[[ThawStatus], object] = lambda _: None,
) -> None:
    """Carry out a checked request; its plans are appended to `plan_uris` as soon as there are any."""

    def show_thaw(thawing: ThawStatus) -> None:
        watch("Thawing", thawing.thawed_count, thawing.file_count)
        asked(thawing)

    def pause(seconds: float) -> None:
        if thawing := find_thaw_status(warehouse, run.run_id):
            watch("Thawing", thawing.thawed_count, thawing.file_count)
        sleep(seconds)

    watch("Planning", 0, 0)
    refuse_above_ceiling(warehouse, request_uri, run)
    try:
        plan_uris += plan_restore(warehouse, request_uri, run)
        wait_for_thaw(warehouse, run, plan_uris, read_request(request_uri).request.thaw_tier, pause, show_thaw)
        _move(warehouse, plan_uris, run, watch)
    except TerminalCancelledError:
        stop_moves(warehouse, run.run_id)
        raise


def _move(warehouse: Warehouse, plan_uris: Sequence[str], run: Run, watch: Watch = lambda *_: None) -> None:
    """Carry out plans, and plan again what other writers change meanwhile, in as many rounds as the DAGs have."""
    for _ in range(ROUNDS - 1):
        outcomes = carry_out(warehouse, plan_uris, run, watch)
        unfinished = [uri for uri, outcome in outcomes.items() if outcome.left]
        if not unfinished:
            return
        plan_uris = plan_next_round(warehouse, unfinished, run)
    for outcome in carry_out(warehouse, plan_uris, run, watch).values():
        outcome.refuse_rest()


def carry_out(
    warehouse: Warehouse, plan_uris: Sequence[str], run: Run, watch: Watch = lambda *_: None
) -> dict[str, MoveOutcome]:
    """Carry out plans, one after the other; returns the outcome of each.

    What other writers change meanwhile is left for `plan_next_round`.
    """
    outcomes = {}
    for done, plan_uri in enumerate(plan_uris):
        plan = read_plan(plan_uri)
        refuse_cancelled(warehouse, plan)
        prepare_move(warehouse, plan, watch, (done, len(plan_uris)))
        outcomes[plan_uri] = finish_move(warehouse, plan, run)
    return outcomes


def prepare_move(
    warehouse: Warehouse, plan: MovePlan, watch: Watch = lambda *_: None, progress: tuple[int, int] = (0, 1)
) -> None:
    """Carry out a plan as far as both tables list its rows: copy, verify, commit to the destination.

    Args:
        warehouse: Where.
        plan: The plan.
        watch: Sees how far it is.
        progress: How many plans of how many are carried out already.
    """
    _copy(warehouse, plan, watch)
    watch("Verifying", *progress)
    verify_move(warehouse, plan)
    watch("Committing", *progress)
    commit_destination(warehouse, plan)


def _copy(warehouse: Warehouse, plan: MovePlan, watch: Watch) -> None:
    copied = itertools.count(1)
    for chunk in range(plan.chunk_count):
        copy_chunk(warehouse, plan, chunk, lambda: watch("Copying", next(copied), len(plan.steps)))


def _page_url() -> str | None:
    # This imports Airflow, so it is only called when an e-mail is written, which needs Airflow's connection anyway.
    try:
        return page_url(base_url) if (base_url := airflow_url()) else None
    except Exception:  # whatever the error is: the e-mail says the same without the link
        log.warning("Airflow does not say where the page is", exc_info=True)
        return None
