"""Expire: decide, move hot → archive what is due, bring back what became active again (R2, R8-R10)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.counting import count
from perennial.engines.duckdb import open_status_session
from perennial.lifecycle.audit_trail import last_events, record_expired
from perennial.lifecycle.moving import REPLANS, moved_totals, plan_sources, prepare_move
from perennial.lifecycle.reactivating import plan_readable_return
from perennial.lifecycle.restore import finish_restore
from perennial.lifecycle.runs import Run, read_note, refuse_future_run, wall_clock, write_note
from perennial.moves.committing import commit_origin, withdraw_kept
from perennial.moves.copying import read_results
from perennial.moves.plan import EXPIRE, RESTORE, WRITTEN_TABLES, MovePlan, read_plan
from perennial.moves.records import remove_pending, sources_under_way
from perennial.outcomes import ExpiredSource, ExpiryReport
from perennial.platform import read_adopted, read_metadata
from perennial.policy import Metadata, SyncedMetadata, decide, refuse_stale_metadata
from perennial.referrers import kept_sources
from perennial.settings import dag_id
from perennial.statements import statement
from perennial.tables import ARCHIVED_FILES, AUDIENCES, EXPIRY_DECISIONS, SOURCES
from perennial.vanished import find_losses
from perennial.warehouse import SourceTotal, Warehouse
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

# The decisions that take rows out of hot.
LEAVING = ("expire", "late")


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
    chosen = {name: _sources_decided(decisions, name) for name in (*LEAVING, "reactivated")}
    moves = {EXPIRE.name: chosen["expire"] + chosen["late"], RESTORE.name: chosen["reactivated"]}
    counts = dict(Counter(decisions["decision"].to_pylist()))
    log.info("%s: %s", run.run_id, ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
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
    seen = last_events(warehouse, plan.source_ids)
    due = still_due(warehouse, plan, run)
    _note_checksums(warehouse, plan, due)
    moved = record_expired(warehouse, run, plan.operation("record"), due, moved_totals(plan, due), seen)
    leaving = {total.source_id for total in moved}
    withdraw_kept(warehouse, plan, set(plan.source_ids) - leaving)
    left = commit_origin(warehouse, plan, leaving)
    remove_pending(warehouse, plan.direction.name, plan.move_id)
    if left and replans:
        changed = count(len(left), "source")
        log.warning("%s: another writer changed %s, planning again", plan.operation("plan"), changed)
        for again in prepare_move(warehouse, EXPIRE, left):
            finish_expiry(warehouse, again, run, replans - 1)
    return moved


def still_due(warehouse: Warehouse, plan: MovePlan, run: Run) -> dict[str, str]:
    """Decide again about a plan's sources, from metadata read now (R7).

    A source stays where it is if the warehouse's tables or the platform's own database say so: a filter may have been
    saved after the last sync, or a source started again (R1). An audience that can no longer be read keeps what it
    could name (R4); the others go. All stay where the platform's database looks broken, because it lacks too much of
    what the last sync found.

    Returns:
        The sources that are to leave hot, each with the reason.
    """
    held = sources_under_way(warehouse, RESTORE.name)
    synced = SyncedMetadata.read(warehouse)
    decided = {
        row["source_id"]: row["reason"]
        for row in decide(warehouse, run.now, held=held, metadata=synced).to_pylist()
        if row["decision"] in LEAVING
    }
    platform = read_metadata(warehouse.settings, read_adopted(warehouse))
    if platform is not None and (losses := find_losses(_by_table(synced), _by_table(platform))):
        log.error(
            "%s: nothing leaves hot: the platform's database lacks %s, as if it were broken; run %s, which says "
            "what to do",
            plan.operation("recheck"),
            " and ".join(map(str, losses)),
            dag_id("sync_sources"),
        )
        return {}
    if platform is not None:
        fresh = decide(warehouse, run.now, held=held, metadata=platform)
        known = set(fresh["source_id"].to_pylist())
        moving = {source_id for name in LEAVING for source_id in _sources_decided(fresh, name)}
        # A source that the platform has dropped since the last sync is judged by the synced tables alone: no sync has
        # missed it yet, so its clock is its own.
        decided = {key: due for key, due in decided.items() if key in moving or key not in known}
    kept = [source_id for source_id in plan.source_ids if source_id not in decided]
    if kept:
        log.info("%s: kept after a second look: %s", plan.operation("recheck"), count(len(kept), "source"))
    return {source_id: decided[source_id] for source_id in plan.source_ids if source_id in decided}


def _by_table(metadata: Metadata) -> dict[str, pa.Table]:
    return {SOURCES.name: metadata.sources, AUDIENCES.name: metadata.audiences}


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
