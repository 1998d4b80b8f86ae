"""The end of a move: its data is said to have moved, then it leaves where it was (R7, R8, R10).

Every step finds out for itself what is left to do, so that it may be repeated, and another run
finishes the move of a dead one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.errors import TransientConflictError
from perennial.moves.audit_trail import last_events, record_expired, record_restored
from perennial.moves.commit import commit_origin, withdraw_kept
from perennial.moves.copy import read_results
from perennial.moves.plan import EXPIRE, RESTORE, MovePlan, read_plan
from perennial.moves.runs import Run, wall_clock
from perennial.moves.steps import REPLANS, moved_totals, prepare_move, whole_sources
from perennial.operations import remove_pending, sources_under_way
from perennial.platform import read_legacy_deletions, read_metadata
from perennial.platform.vanished import find_losses
from perennial.policy.decisions import Metadata, SyncedMetadata, decide
from perennial.settings import dag_id
from perennial.tables import ARCHIVED_FILES, AUDIENCES, SOURCES
from perennial.text import pluralize
from perennial.warehouse import SourceTotal, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

LEAVING = ("expire", "late")
"""The decisions that take rows out of hot."""


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
        changed = pluralize(len(left), "source")
        log.warning("%s: another writer changed %s, planning again", plan.operation("plan"), changed)
        for again in prepare_move(warehouse, EXPIRE, left):
            finish_expiry(warehouse, again, run, replans - 1)
    return moved


def finish_restore(warehouse: Warehouse, plan_uri: str, run: Run) -> list[SourceTotal]:
    """Remove from the archive what is in hot now, and only then say that it is back.

    Until the event is recorded features leave the source out, so nobody sees half of it (M5). What entered the archive
    while the move went on is brought along.

    Returns:
        What was brought back, a source each.

    Raises:
        TransientConflictError: Other writers kept changing the archived files.
    """
    plan = read_plan(plan_uri)
    restored = _bring_back(warehouse, plan, REPLANS)
    record_restored(warehouse, run, plan.operation("record"), restored)
    remove_pending(warehouse, plan.direction.name, plan.move_id)
    return restored


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
    platform = read_metadata(warehouse.settings, read_legacy_deletions(warehouse))
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
        moving = {source_id for name in LEAVING for source_id in sources_decided(fresh, name)}
        # A source that the platform has dropped since the last sync is judged by the synced tables alone: no sync has
        # missed it yet, so its clock is its own.
        decided = {key: due for key, due in decided.items() if key in moving or key not in known}
    kept = [source_id for source_id in plan.source_ids if source_id not in decided]
    if kept:
        log.info("%s: kept after a second look: %s", plan.operation("recheck"), pluralize(len(kept), "source"))
    return {source_id: decided[source_id] for source_id in plan.source_ids if source_id in decided}


def _by_table(metadata: Metadata) -> dict[str, pa.Table]:
    return {SOURCES.name: metadata.sources, AUDIENCES.name: metadata.audiences}


def _bring_back(warehouse: Warehouse, plan: MovePlan, replans: int) -> list[SourceTotal]:
    whole = whole_sources(plan)
    commit_origin(warehouse, plan, whole)
    restored = {total.source_id: total for total in moved_totals(plan, whole)}
    for again in map(read_plan, prepare_move(warehouse, RESTORE, whole)):
        if not replans:
            raise TransientConflictError(
                f"Other writers changed archived files of {', '.join(again.source_ids)} again and again; "
                "run the restore again when they have finished. Nothing was lost."
            )
        for total in _bring_back(warehouse, again, replans - 1):
            restored[total.source_id] += total
        remove_pending(warehouse, again.direction.name, again.move_id)
    return list(restored.values())


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


def sources_decided(decisions: pa.Table, name: str) -> list[str]:
    """Return the sources about which `decide` came to a decision."""
    import pyarrow.compute as pc

    chosen: list[str] = decisions.filter(pc.field("decision") == name)["source_id"].to_pylist()
    return chosen
