"""Expire: decide, move hot → archive what is due, bring back what became active again (R2, R8-R10)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.engines.duckdb import open_status_session
from perennial.lifecycle.moving import REPLANS, moved_totals, plan_sources, prepare_move
from perennial.lifecycle.reactivating import plan_readable_return
from perennial.lifecycle.restore import finish_restore
from perennial.lifecycle.runs import Event, Recorded, Run, read_note, record_events, wall_clock, write_note
from perennial.moves.committing import commit_origin, withdraw_kept
from perennial.moves.copying import read_results
from perennial.moves.plan import EXPIRE, RESTORE, MovePlan, read_plan
from perennial.moves.records import remove_pending, sources_under_way
from perennial.outcomes import ExpiredSource, ExpiryReport
from perennial.platform import read_adopted, read_metadata
from perennial.policy import decide, refuse_stale_metadata
from perennial.statements import statement
from perennial.tables import ARCHIVED_FILES, EXPIRY_DECISIONS
from perennial.warehouse import SourceTotal, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

EVENTS: dict[str, Event] = {"expire": "expired", "late": "late_archived"}


@dataclass(frozen=True)
class DecidedExpiry:
    """What a run decided.

    Attributes:
        note_uri: Address of the sources to move, for the next step.
        counts: Sources by decision.
    """

    note_uri: str
    counts: dict[str, int]


def decide_expiry(warehouse: Warehouse, run: Run) -> DecidedExpiry:
    """Decide about every source and keep the decisions, whether anything is moved or not."""
    refuse_stale_metadata(warehouse, wall_clock())
    decisions = decide(warehouse, run.now, held=sources_under_way(warehouse, RESTORE.name))
    _keep_decisions(warehouse, run, decisions)
    chosen = {name: _sources_decided(decisions, name) for name in ("expire", "late", "reactivated")}
    moves = {EXPIRE.name: chosen["expire"] + chosen["late"], RESTORE.name: chosen["reactivated"]}
    counts = dict(Counter(decisions["decision"].to_pylist()))
    log.info("%s: %s", run.run_id, ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    return DecidedExpiry(write_note(warehouse, "decided", {"moves": moves, "expire": chosen["expire"]}), counts)


def plan_expiry(warehouse: Warehouse, note_uri: str, run: Run) -> list[str]:
    """Plan both directions; returns the addresses of the plans that have something to move."""
    moves = read_note(note_uri)["moves"]
    expiry = plan_sources(warehouse, EXPIRE, moves[EXPIRE.name])
    return [*expiry, *plan_readable_return(warehouse, moves[RESTORE.name], run)]


@dataclass(frozen=True)
class MoveOutcome:
    """What one move came to."""

    direction: str
    source_count: int
    row_count: int


def finish_move(warehouse: Warehouse, plan_uri: str, run: Run) -> MoveOutcome:
    """Steps 5 and 6 of either direction."""
    direction = read_plan(plan_uri).direction
    moved = (finish_restore if direction is RESTORE else finish_expiry)(warehouse, plan_uri, run)
    return MoveOutcome(direction.name, len(moved), sum(total.row_count for total in moved))


def finish_expiry(warehouse: Warehouse, plan_uri: str, run: Run, replans: int = REPLANS) -> list[SourceTotal]:
    """Look at the references once more, say that the data has expired, and only then remove it from hot.

    The event comes before the removal: from then on features leave the source out and say so, whatever happens next.

    Returns:
        What has left hot, a source each.
    """
    plan = read_plan(plan_uri)
    due = still_due(warehouse, plan, run)
    withdraw_kept(warehouse, plan, set(plan.source_ids) - due.keys())
    _note_checksums(warehouse, plan, due)
    moved = moved_totals(plan, due)
    record_events(warehouse, run, plan.operation("record"), due, moved)
    left = commit_origin(warehouse, plan, due)
    remove_pending(warehouse, plan.direction.name, plan.move_id)
    if left and replans:
        log.warning("%s: another writer changed %d sources, planning them again", plan.operation("plan"), len(left))
        for again in prepare_move(warehouse, EXPIRE, left):
            finish_expiry(warehouse, again, run, replans - 1)
    return moved


def still_due(warehouse: Warehouse, plan: MovePlan, run: Run) -> dict[str, Recorded]:
    """Decide again about a plan's sources, from metadata read now (R7).

    A source stays where it is if the warehouse's tables or the platform's own database say so: a filter may have been
    saved after the last sync, or a source started again (R1).

    Returns:
        The sources that are to leave hot, each with the event it comes to and why.
    """
    held = sources_under_way(warehouse, RESTORE.name)
    decided = {
        row["source_id"]: Recorded(EVENTS[row["decision"]], row["reason"])
        for row in decide(warehouse, run.now, held=held).to_pylist()
        if row["decision"] in EVENTS
    }
    platform = read_metadata(warehouse.settings, read_adopted(warehouse))
    if platform is not None:
        fresh = decide(warehouse, run.now, held=held, metadata=platform)
        known = set(fresh["source_id"].to_pylist())
        moving = {source_id for name in EVENTS for source_id in _sources_decided(fresh, name)}
        # A source the platform has dropped since is judged by the synced tables alone.
        decided = {key: due for key, due in decided.items() if key in moving or key not in known}
    kept = [source_id for source_id in plan.source_ids if source_id not in decided]
    if kept:
        log.info("%s: %d sources stay after a second look", plan.operation("recheck"), len(kept))
    return {source_id: decided[source_id] for source_id in plan.source_ids if source_id in decided}


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


def _sources_decided(decisions: pa.Table, name: str) -> list[str]:
    import pyarrow.compute as pc

    chosen: list[str] = decisions.filter(pc.field("decision") == name)["source_id"].to_pylist()
    return chosen


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


def _note_checksums(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> None:
    """Note what each archived file is made of, so that a restore can tell a whole one from a damaged one."""
    made_of = {step.copy_uri: list(step.originals) for step in plan.steps}
    archived_at = wall_clock()
    rows: list[dict[str, object]] = [
        {
            "file_uri": result.copy_uri,
            "source_id": result.source_id,
            "original_uris": made_of[result.copy_uri],
            "row_count": result.copied_rows,
            "file_bytes": result.copied_bytes,
            "checksum": result.file_checksum,
            "move_id": plan.move_id,
            "archived_at": archived_at,
        }
        for result in read_results(plan)
        if result.source_id in source_ids and result.copied_bytes
    ]
    warehouse.append_rows(ARCHIVED_FILES.name, rows, plan.operation("checksums"))
