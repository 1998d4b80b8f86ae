"""Expire: decide, move hot → archive what is due, bring back what became active again (R2, R8-R10)."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.engines.duckdb import open_status_session
from perennial.moves.daily import plan_readable_return
from perennial.moves.finish import LEAVING, sources_decided
from perennial.moves.plan import EXPIRE, RESTORE, WRITTEN_TABLES
from perennial.moves.runs import Run, read_note, refuse_future_run, wall_clock, write_note
from perennial.moves.steps import plan_sources
from perennial.operations import sources_under_way
from perennial.policy.decisions import decide, refuse_stale_metadata
from perennial.policy.referrers import kept_sources
from perennial.reports import ExpiredSource, ExpiryReport
from perennial.sql import statement
from perennial.tables import EXPIRY_DECISIONS
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecidedExpiry:
    """What a run decided.

    Attributes:
        note_uri: Address of the sources to move, for the next step.
        counts: Sources by decision.
        unread_referrers: How many active referrers cannot be read and could name any source, so that none expires.
    """

    note_uri: str
    counts: dict[str, int]
    unread_referrers: int = 0


def decide_expiry(warehouse: Warehouse, run: Run) -> DecidedExpiry:
    """Decide about every source and keep the decisions, whether anything is moved or not."""
    refuse_stale_metadata(warehouse, wall_clock())
    warehouse.refuse_unwritable((*WRITTEN_TABLES, EXPIRY_DECISIONS.name))
    decisions = decide(warehouse, run.now, held=sources_under_way(warehouse, RESTORE.name))
    _keep_decisions(warehouse, run, decisions)
    chosen = {name: sources_decided(decisions, name) for name in (*LEAVING, "reactivated")}
    moves = {EXPIRE.name: chosen["expire"] + chosen["late"], RESTORE.name: chosen["reactivated"]}
    counts = dict(Counter(decisions["decision"].to_pylist()))
    log.info("%s: %s", run.run_id, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())))
    kept = kept_sources(warehouse)
    if kept.told:
        log.warning("%s: %s", run.run_id, kept.told)
    note_uri = write_note(warehouse, "decided", {"moves": moves, "expire": chosen["expire"]})
    return DecidedExpiry(note_uri, counts, len(kept.unread))


def plan_expiry(warehouse: Warehouse, note_uri: str, run: Run) -> list[str]:
    """Plan both directions; returns the addresses of the plans that have something to move.

    Raises:
        TerminalRequestError: The run is dated after the wall clock (R24).
        TerminalDataError: A table was set back; nothing was moved.
    """
    refuse_future_run(run)
    refuse_losses(warehouse)
    moves = read_note(note_uri)["moves"]
    expiry = plan_sources(warehouse, EXPIRE, moves[EXPIRE.name])
    return [*expiry, *plan_readable_return(warehouse, moves[RESTORE.name], run)]


def expiry_report(warehouse: Warehouse, run: Run, dry_run: DecidedExpiry | None = None) -> ExpiryReport:
    """Say what a run expired; of a dry run, what it would have."""
    would = read_note(dry_run.note_uri)["expire"] if dry_run else []
    binds = {"run_id": run.run_id, "as_of": run.now, "would_expire": would}
    with open_status_session(warehouse) as session:
        rows = session.execute(statement("lifecycle/report_expired_sources"), binds).fetchall()
    fields = ("source_id", "name", "kind", "owner_email", "reason", "row_count", "total_bytes", "file_count")
    return ExpiryReport(
        run_id=run.run_id,
        as_of=run.now,
        sources=tuple(ExpiredSource(**dict(zip(fields, row, strict=True))) for row in rows),
        retention_months=warehouse.settings.retention_months,
        dry_run=dry_run is not None,
    )


def _keep_decisions(warehouse: Warehouse, run: Run, decisions: pa.Table) -> None:
    import pyarrow as pa

    of_run = {"as_of": run.now, "run_id": run.run_id}
    known = {*of_run, *decisions.column_names}
    # A column that somebody has added is left out: that reads as null.
    schema = pa.schema(field for field in warehouse.arrow_schema(EXPIRY_DECISIONS.name) if field.name in known)
    columns = [
        pa.repeat(pa.scalar(of_run[field.name], field.type), len(decisions))
        if field.name in of_run
        else decisions[field.name].cast(field.type)
        for field in schema
    ]
    rows = pa.Table.from_arrays(columns, schema=schema)
    warehouse.append_table(EXPIRY_DECISIONS.name, rows, f"decide:{run.run_id}:{wall_clock().isoformat()}")
