"""Expire: decide, move what is due from hot to the archive, bring back what is active again (R2, R8-R10)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.engines.duckdb import open_status_session
from perennial.moves.finish import LEAVING, sources_decided
from perennial.moves.move_plan import EXPIRE, RESTORE, WRITTEN_TABLES, read_plan
from perennial.moves.plan import plan_sources
from perennial.moves.recovery import abandon_restores, plan_again
from perennial.moves.restore import plan_return
from perennial.moves.thaw import request_thaw
from perennial.operations import OperationStore, Run, refuse_future_run, restore_lock, sources_under_way, wall_clock
from perennial.policy.decisions import decide_all, refuse_stale_metadata
from perennial.policy.guard import weigh_expiry
from perennial.policy.referrers import explain_unread
from perennial.reports import STANDARD, ExpiredSource, ExpiryReport
from perennial.statements import statement
from perennial.tables import EXPIRY_DECISIONS, INTERACTIONS
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecidedExpiry:
    """What a run decided.

    Attributes:
        uri: Address of the sources to move, for the next step.
        counts: Sources by decision.
        unread_referrers: How many active referrers cannot be read and could name any source, so that nothing expires.
        reasons: Why a person has to approve what expires; empty where nobody is asked (R21).
    """

    uri: str
    counts: dict[str, int]
    unread_referrers: int = 0
    reasons: tuple[str, ...] = ()


def decide_expiry(warehouse: Warehouse, run: Run, ask: bool = False) -> DecidedExpiry:
    """Decide about every source and store the decisions, even if nothing is moved.

    Args:
        warehouse: Where.
        run: Whose decisions they are.
        ask: Whether a person is there to approve what moves unusually much (R21); otherwise the caller has approved it.
    """
    refuse_stale_metadata(warehouse, wall_clock())
    warehouse.refuse_unwritable((*WRITTEN_TABLES, EXPIRY_DECISIONS.name))
    decided = decide_all(warehouse, run.now, locked=sources_under_way(warehouse, RESTORE.name))
    decisions = decided.rows
    _keep_decisions(warehouse, run, decisions)
    chosen = {name: sources_decided(decisions, name) for name in (*LEAVING, "reactivated")}
    moves = {EXPIRE.name: chosen["expire"] + chosen["late"], RESTORE.name: chosen["reactivated"]}
    counts = dict(Counter(decisions["decision"].to_pylist()))
    log.info("%s: %s", run.run_id, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    if warning := explain_unread(decided.unread_referrers):
        log.warning("%s: %s", run.run_id, warning)
    reasons = _reasons_to_ask(warehouse, run, chosen["expire"]) if ask else ()
    for reason in reasons:
        log.warning("%s waits for approval. %s", run.run_id, reason)
    document = {"moves": moves, "expire": chosen["expire"], "reasons": reasons}
    uri = OperationStore.of(warehouse).put("decided", document)
    return DecidedExpiry(uri, counts, len(decided.unread_referrers), reasons)


def _reasons_to_ask(warehouse: Warehouse, run: Run, due: Sequence[str]) -> tuple[str, ...]:
    if not due:
        return ()
    totals = warehouse.source_totals(INTERACTIONS.name)
    hot_rows = {source_id: total.row_count for source_id, total in totals.items()}
    return weigh_expiry(warehouse, due, hot_rows, run.run_id, run.now).reasons(warehouse.settings)


def plan_expiry(warehouse: Warehouse, decided_uri: str, run: Run, unfinished: Sequence[str] = ()) -> list[str]:
    """Plan both directions; what a person has to approve first is left to `plan_approved`.

    Args:
        warehouse: Where.
        decided_uri: Address of the stored decisions.
        run: Whose plans they are.
        unfinished: Plans of dead restores that are not finished, from `recover_interrupted_moves`.

    Returns:
        The addresses of the plans that have something to move.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
        TerminalDataError: A table was set back; nothing was moved.
    """
    refuse_future_run(run)
    refuse_losses(warehouse)
    document = OperationStore.get(decided_uri)
    moves = document["moves"]
    asked = set(document["expire"]) if document.get("reasons") else set()
    expiring = plan_sources(warehouse, EXPIRE, [name for name in moves[EXPIRE.name] if name not in asked])
    returning = [*plan_again(warehouse, unfinished, run), *plan_return(warehouse, moves[RESTORE.name], run)]
    return [*expiring, *_readable_plans(warehouse, returning)]


def plan_approved(warehouse: Warehouse, decided_uri: str, run: Run) -> list[str]:
    """Plan what a person has approved: what was shown to them, less what is not due any more (R21).

    Args:
        warehouse: Where.
        decided_uri: Address of the decisions that were shown.
        run: The run that was approved.

    Returns:
        The addresses of the plans that have something to move.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
        TerminalMetadataError: The metadata is stale by now: sync it, then clear the task.
        TerminalDataError: A table was set back; nothing was moved.
    """
    refuse_future_run(run)
    refuse_stale_metadata(warehouse, wall_clock())
    refuse_losses(warehouse)
    shown = OperationStore.get(decided_uri)["expire"]
    decided = decide_all(warehouse, run.now, locked=sources_under_way(warehouse, RESTORE.name))
    due = set(sources_decided(decided.rows, "expire"))
    if gone := [source_id for source_id in shown if source_id not in due]:
        log.warning("%s: left out, because not due any more since they were shown: %s", run.run_id, ", ".join(gone))
    return [*plan_sources(warehouse, EXPIRE, [source_id for source_id in shown if source_id in due])]


def _readable_plans(warehouse: Warehouse, plan_uris: Collection[str]) -> list[str]:
    """Leave sources that have to be thawed out of the plans of restores (R10).

    Their thaw is requested, and the next run finds them readable: thawing takes less than a day, and thawed files stay
    readable for several days. So neither this run nor its expiries have to wait.
    """
    readable: list[str] = []
    again: set[str] = set()
    for plan_uri in plan_uris:
        plan = read_plan(plan_uri)
        cold = request_thaw(warehouse, plan, STANDARD).source_ids
        if not cold:
            readable.append(plan_uri)
            continue
        frozen = pluralize(len(cold), "source")
        log.warning("%s: %s must be thawed first; the next run restores them", plan.operation("plan"), frozen)
        abandon_restores(warehouse, [plan_uri])
        # The rest of an earlier move must come back completely, because it makes the sources of that move visible.
        again |= set(plan.source_ids) - cold if not plan.earlier else set()
    with restore_lock(warehouse, again):
        return [*readable, *plan_sources(warehouse, RESTORE, sorted(again))]


def expiry_report(warehouse: Warehouse, run: Run, dry_run: DecidedExpiry | None = None) -> ExpiryReport:
    """Report what a run expired, or what a dry run would expire."""
    would = OperationStore.get(dry_run.uri)["expire"] if dry_run else []
    binds = {"run_id": run.run_id, "as_of": run.now, "would_expire": would}
    with open_status_session(warehouse) as session:
        rows = session.execute(statement("moves/report_expired_sources"), binds).fetchall()
        of_run = {"run_id": run.run_id, "as_of": run.now}
        held = session.execute(statement("moves/report_held_sources"), of_run).fetchall()
    fields = ("source_id", "name", "kind", "owner_email", "reason", "row_count", "total_bytes", "file_count")
    return ExpiryReport(
        run_id=run.run_id,
        as_of=run.now,
        sources=tuple(ExpiredSource(**dict(zip(fields, row, strict=True))) for row in rows),
        held=tuple(ExpiredSource(**dict(zip(fields[:5], row, strict=True))) for row in held),
        retention_months=warehouse.settings.retention_months,
        dry_run=dry_run is not None,
    )


def _keep_decisions(warehouse: Warehouse, run: Run, decisions: pa.Table) -> None:
    import pyarrow as pa

    of_run = {"as_of": run.now, "run_id": run.run_id}
    known = {*of_run, *decisions.column_names}
    # Columns that somebody has added are left out and read as null.
    schema = pa.schema(field for field in warehouse.arrow_schema(EXPIRY_DECISIONS.name) if field.name in known)
    columns = [
        pa.repeat(pa.scalar(of_run[field.name], field.type), len(decisions))
        if field.name in of_run
        else decisions[field.name].cast(field.type)
        for field in schema
    ]
    rows = pa.Table.from_arrays(columns, schema=schema)
    warehouse.append_table(EXPIRY_DECISIONS.name, rows, f"decide:{run.run_id}:{wall_clock().isoformat()}")
