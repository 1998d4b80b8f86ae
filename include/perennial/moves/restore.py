"""Restore: move what was requested from the archive to hot, and show it only when all of it is there (R10-R13)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from perennial.errors import TerminalCancelledError
from perennial.moves.audit_trail import record_restored
from perennial.moves.cancel import stop_moves
from perennial.moves.cancellation import Cancellation, find_cancellation, refuse_cancelled_run
from perennial.moves.ceiling import refuse_unusable_ceiling
from perennial.moves.move_plan import DIRECTIONS, RESTORE, WRITTEN_TABLES, MovePlan, read_plan
from perennial.moves.plan import plan_sources
from perennial.moves.recovery import plan_again, resume_moves
from perennial.moves.requests import (
    RequestedSource,
    RestoreRequest,
    read_request,
    refuse_deleted,
    resolve_request,
    write_request,
)
from perennial.moves.restore_start import note_restore
from perennial.moves.restored_rows import RestoredRows, find_restored_rows
from perennial.moves.verify import Verification, read_verification, whole_sources
from perennial.operations import Run, pending_records, refuse_future_run, restore_lock
from perennial.reports import CANCELLED, DELETED, RestoreReport, RestoreState, SourceOutcome
from perennial.warehouse import SourceTotal, Warehouse
from perennial.warehouse.heads import refuse_losses


def check_request(warehouse: Warehouse, params: Mapping[str, Any], run_id: str = "") -> str:
    """Check a request and resolve its tags, before anything moves (R11, R12).

    Args:
        warehouse: Where.
        params: Those of the DAG.
        run_id: The run by which the restore can be cancelled.

    Returns:
        Address of the request and its resolved sources.

    Raises:
        TerminalRequestError: The request cannot be carried out; the text names everything that is wrong with it.
        TerminalSettingError: Another writer has changed a table so that it cannot be written.
    """
    request = RestoreRequest.from_params(params)
    refuse_unusable_ceiling(warehouse, request)
    warehouse.refuse_unwritable(WRITTEN_TABLES)
    uri = write_request(warehouse, resolve_request(warehouse, request))
    if run_id:
        note_restore(warehouse, run_id, uri)
    return uri


def plan_restore(warehouse: Warehouse, request_uri: str, run: Run) -> list[str]:
    """Carry out step 1 for a request; returns the plans' addresses, none if no file has to move, or in a dry run.

    Raises:
        TerminalCancelledError: The run was cancelled; nothing of it is left.
        TerminalDataError: A table was set back; nothing was moved.
    """
    resolved = read_request(request_uri)
    if resolved.request.dry_run:
        return []
    refuse_losses(warehouse)
    refuse_deleted(resolved.sources)
    refuse_cancelled_run(warehouse, run.run_id)
    planned = plan_return(warehouse, [source.source_id for source in resolved.coming], run)
    if (cancellation := find_cancellation(warehouse, run.run_id)) is not None:
        # It was cancelled before the plans could be found.
        stop_moves(warehouse, run.run_id)
        raise TerminalCancelledError(str(cancellation))
    return planned


def plan_return(warehouse: Warehouse, source_ids: Collection[str], run: Run) -> list[str]:
    """Plan to bring back some sources. Those without files in the archive are available again at once.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
    """
    refuse_future_run(run)
    with restore_lock(warehouse, source_ids, run.run_id):
        # The plan would omit copies of an expiry (M4), and no event would record what another restore brought back.
        records = [record for record in pending_records(warehouse) if record.kind in DIRECTIONS]
        others = [record for record in records if not set(record.source_ids).isdisjoint(source_ids)]
        unfinished = resume_moves(warehouse, others, run).unfinished
        plan_uris = plan_again(warehouse, unfinished, run)
        # The move that brings back the rest records all sources of the earlier move, also those without a rest.
        begun = [read_plan(uri).first_uri for uri in unfinished]
        continued = {source_id for uri in begun for source_id in whole_sources(read_plan(uri))}
        fresh = [source_id for source_id in source_ids if source_id not in continued]
        planned = plan_sources(warehouse, RESTORE, fresh, run.run_id)
    moving = {source_id for sources in planned.values() for source_id in sources}
    empty = [SourceTotal(source_id, 0, 0, 0) for source_id in fresh if source_id not in moving]
    record_restored(warehouse, run, f"restore:{uuid.uuid4().hex}:record-empty", empty)
    return [*plan_uris, *planned]


def restore_report(
    warehouse: Warehouse, request_uri: str, run: Run, finished_at: datetime, plan_uris: Collection[str] = ()
) -> RestoreReport:
    """Report the outcome of every requested source (R12) according to the warehouse now."""
    resolved = read_request(request_uri)
    request, sources = resolved.request, resolved.sources
    verified = _verified(plan_uris)
    cancellation = find_cancellation(warehouse, run.run_id)
    damaged = {key: texts for _, verification in verified for key, texts in verification.damaged.items()}
    asked = [source.source_id for source in sources]
    found = find_restored_rows(warehouse, run, asked, [plan for plan, _ in verified], finished_at)
    outcomes = tuple(
        _outcome(source, found[source.source_id], damaged, request.dry_run, cancellation) for source in sources
    )
    return RestoreReport(
        run_id=run.run_id,
        requested_by=run.requested_by or "unknown",
        reason=request.reason,
        requested_at=run.requested_at or run.now,
        finished_at=finished_at,
        state=_state(outcomes),
        sources=outcomes,
        source_ids=request.source_ids,
        tags=request.tags,
        notify=request.notify,
        report_uri=verified[-1][1].report_uri if verified else None,
        dry_run=request.dry_run,
        cancelled=str(cancellation) if cancellation else "",
    )


def _outcome(
    source: RequestedSource,
    found: RestoredRows,
    damaged: Mapping[str, list[str]],
    dry_run: bool,
    cancellation: Cancellation | None,
) -> SourceOutcome:
    named: dict[str, Any] = {"source_id": source.source_id, "name": source.name, "kind": source.kind}
    if not source.comes_back or dry_run:
        rows = source.archived_rows if source.comes_back else 0
        return SourceOutcome(**named | {"outcome": source.outcome}, row_count=rows)
    if not found.is_back(source.was_expired):
        if cancellation is not None and source.source_id not in damaged:
            return SourceOutcome(**named, outcome=CANCELLED, detail="It stays expired exactly as before.")
        detail = "; ".join(damaged.get(source.source_id, ["The run ended before it was done; run it again."]))
        return SourceOutcome(**named, outcome="failed", detail=detail)
    return SourceOutcome(
        **named,
        outcome="restored",
        row_count=found.total.row_count,
        total_bytes=found.total.total_bytes,
        file_count=found.total.file_count,
        expires_at=found.expires_at,
    )


def _state(outcomes: tuple[SourceOutcome, ...]) -> RestoreState:
    if outcomes and all(outcome.outcome == DELETED for outcome in outcomes):
        return "failed"
    found = {outcome.outcome for outcome in outcomes}
    if found.isdisjoint({"failed", CANCELLED}):
        return "finished"
    if "restored" in found:
        return "finished in part"
    return "failed" if "failed" in found else "cancelled"


def _verified(plan_uris: Collection[str]) -> list[tuple[MovePlan, Verification]]:
    verified = []
    for plan_uri in plan_uris:
        with suppress(FileNotFoundError):
            plan = read_plan(plan_uri)
            verified.append((plan, read_verification(plan)))
    return verified
