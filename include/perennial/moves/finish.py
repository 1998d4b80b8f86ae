"""The end of a move: an event records that the data has moved, then the origin's files are removed (R7, R8, R10).

Every step finds out for itself what is left to do. So each can be repeated, and another run can finish the move of a
dead one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from perennial.errors import TransientConflictError
from perennial.metrics import send
from perennial.moves.audit_trail import last_events, record_expired, record_restored
from perennial.moves.commit import commit_origin, withdraw_kept
from perennial.moves.copy import moved_totals, read_results
from perennial.moves.move_plan import RESTORE, CopyStep, MovePlan, find_plan
from perennial.moves.plan import sources_left
from perennial.moves.verify import whole_sources
from perennial.operations import OperationStore, Run, heartbeat, remove_pending, sources_under_way, wall_clock
from perennial.platform import read_legacy_deletions, read_metadata
from perennial.platform.vanished import find_mass_vanishing
from perennial.policy.decisions import Metadata, SyncedMetadata, decide
from perennial.settings import dag_id
from perennial.tables import ARCHIVED_FILES, AUDIENCES, SOURCES
from perennial.text import pluralize
from perennial.warehouse import SourceTotal, Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

LEAVING = ("expire", "late")
"""The decisions after which rows leave hot."""


@dataclass(frozen=True)
class MoveOutcome:
    """The outcome of one move.

    Attributes:
        direction: expire or restore.
        source_count: Sources that have moved.
        row_count: Their rows.
        total_bytes: Size of their files.
        file_count: Number of their files.
        left: Sources that other writers changed meanwhile: their remaining files have to be planned again.
    """

    direction: str
    source_count: int
    row_count: int
    total_bytes: int = 0
    file_count: int = 0
    left: tuple[str, ...] = ()

    def refuse_rest(self) -> None:
        """Fail a restore that could not move everything; the rest of an expiry moves with the next run.

        Raises:
            TransientConflictError: Names the sources.
        """
        if self.left and self.direction == RESTORE.name:
            raise TransientConflictError(
                f"Other writers changed archived files of {', '.join(self.left)} again and again; run the restore "
                "again when they have finished. Nothing was lost."
            )


def count_moved(moved: MoveOutcome) -> None:
    """Add a move to the metrics; once, though its steps may be repeated."""
    name = "restored" if moved.direction == RESTORE.name else "expired"
    counts = {"sources": moved.source_count, "rows": moved.row_count, "bytes": moved.total_bytes}
    send({f"{name}_{unit}_total": count for unit, count in counts.items()})


def finish_move(warehouse: Warehouse, plan: MovePlan, run: Run) -> MoveOutcome:
    """Carry out steps 5 and 6 in either direction; `recovery.plan_again` handles what is left.

    Raises:
        TerminalSettingError: Another writer has changed a table so that it cannot be written; nothing was recorded.
    """
    warehouse.refuse_unwritable([plan.direction.origin])
    return (finish_restore if plan.direction is RESTORE else finish_expiry)(warehouse, plan, run)


def finish_expiry(warehouse: Warehouse, plan: MovePlan, run: Run) -> MoveOutcome:
    """Check the references once more, record that the data has expired, and only then remove it from hot.

    The event comes before the removal: from then on features leave the source out and say so, whatever happens next.
    """
    seen = last_events(warehouse, plan.source_ids)
    due = _still_due(warehouse, plan, run)
    _record_checksums(warehouse, plan, due)
    moved = record_expired(warehouse, run, plan.record_operation, due, moved_totals(plan, due), seen)
    leaving = {total.source_id for total in moved}
    withdraw_kept(warehouse, plan, set(plan.source_ids) - leaving)
    steps = commit_origin(warehouse, plan, leaving)
    outcome = _outcome(plan, moved, {step.source_id for step in steps}, steps)
    remove_pending(warehouse, plan.direction.name, plan.move_id)
    return outcome


def finish_restore(warehouse: Warehouse, plan: MovePlan, run: Run) -> MoveOutcome:
    """Remove what is in hot now from the archive, and record that it is back when nothing is left in the archive.

    Until the event is recorded, features leave the source out, so nobody sees half of it (M5). If something is left,
    because another writer has replaced or added archived files, the move stays under way. The move that brings back the
    rest then records the event for both, with the totals of both.
    """
    whole = whole_sources(plan)
    steps = commit_origin(warehouse, plan, whole)
    unfinished = _outcome(plan, [], sources_left(warehouse, plan, whole), steps)
    if unfinished.left:
        heartbeat(warehouse, plan.record)
        return unfinished
    moves = [*filter(None, map(find_plan, plan.earlier_uris)), plan]
    restored = _restored_totals(moves)
    record_restored(warehouse, run, plan.record_operation, restored)
    for move in moves:
        remove_pending(warehouse, move.direction.name, move.move_id)
    return _outcome(plan, restored)


@dataclass(frozen=True)
class LeftBehind:
    """What other writers changed while a plan was carried out.

    Attributes:
        sources: Sources that have to be planned again.
        withdrawn: Addresses of copies whose rows are still in the origin.
    """

    sources: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


def read_left(plan: MovePlan) -> LeftBehind:
    """Read what other writers changed; for most plans, nothing."""
    uri = f"{plan.uri}/left.json"
    try:
        fields = OperationStore.get(uri)
    except FileNotFoundError:
        return LeftBehind()
    return LeftBehind(tuple(fields["sources"]), tuple(fields["withdrawn"]))


def _outcome(
    plan: MovePlan, moved: Sequence[SourceTotal], sources: Collection[str] = (), steps: Iterable[CopyStep] = ()
) -> MoveOutcome:
    left = LeftBehind(tuple(sorted(sources)), tuple(step.copy_uri for step in steps))
    if left != LeftBehind():
        OperationStore.write(f"{plan.uri}/left.json", asdict(left))
        log.warning("%s: other writers changed %s", plan.operation("remove"), pluralize(len(left.sources), "source"))
    return MoveOutcome(
        direction=plan.direction.name,
        source_count=len(moved),
        row_count=sum(total.row_count for total in moved),
        total_bytes=sum(total.total_bytes for total in moved),
        file_count=sum(total.file_count for total in moved),
        left=left.sources,
    )


def _restored_totals(moves: Iterable[MovePlan]) -> list[SourceTotal]:
    """Add up by source what the moves of a restore brought back, except sources with damaged files."""
    totals: dict[str, SourceTotal] = {}
    for move in moves:
        whole = whole_sources(move)
        for source_id in set(move.source_ids).difference(whole):
            totals.pop(source_id, None)
        for total in moved_totals(move, whole, read_left(move).withdrawn):
            before = totals.get(total.source_id)
            totals[total.source_id] = before + total if before else total
    return list(totals.values())


def _still_due(warehouse: Warehouse, plan: MovePlan, run: Run) -> dict[str, str]:
    """Decide again about a plan's sources, based on metadata read now (R7).

    A source stays where it is if the warehouse's tables or the platform's own database say so: a filter may have been
    saved after the last sync, a source may have been started again (R1), or a hold placed (R19). An audience that can
    no longer be read keeps every source that it could name (R4). No source leaves if the platform's database looks
    broken, because much of what the last sync found is missing.

    Returns:
        The sources that leave hot, each with the reason.
    """
    locked = sources_under_way(warehouse, RESTORE.name)
    synced = SyncedMetadata.read(warehouse)
    decided = {
        row["source_id"]: row["reason"]
        for row in decide(warehouse, run.now, synced, locked, plan.source_ids).to_pylist()
        if row["decision"] in LEAVING
    }
    platform = read_metadata(warehouse.settings, read_legacy_deletions(warehouse))
    if platform is not None and (losses := find_mass_vanishing(_by_table(synced), _by_table(platform))):
        log.error(
            "%s: nothing leaves hot: the platform's database lacks %s, as if it were broken; run %s, which says "
            "what to do",
            plan.operation("recheck"),
            " and ".join(map(str, losses)),
            dag_id("sync_sources"),
        )
        return {}
    if platform is not None:
        fresh = decide(warehouse, run.now, platform, locked, plan.source_ids)
        known = set(fresh["source_id"].to_pylist())
        moving = {source_id for name in LEAVING for source_id in sources_decided(fresh, name)}
        # A source that has vanished from the platform since the last sync is decided by the synced tables alone,
        # because no sync has missed it yet.
        decided = {key: due for key, due in decided.items() if key in moving or key not in known}
    kept = [source_id for source_id in plan.source_ids if source_id not in decided]
    if kept:
        log.info("%s: kept after a second look: %s", plan.operation("recheck"), pluralize(len(kept), "source"))
    return {source_id: decided[source_id] for source_id in plan.source_ids if source_id in decided}


def _by_table(metadata: Metadata) -> dict[str, pa.Table]:
    return {SOURCES.name: metadata.sources, AUDIENCES.name: metadata.audiences}


def _record_checksums(warehouse: Warehouse, plan: MovePlan, source_ids: Collection[str]) -> None:
    """Record the checksum of each archived file, so that a restore recognises damaged files."""
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
    """Return the sources for which `decide` made a given decision."""
    import pyarrow.compute as pc

    chosen: list[str] = decisions.filter(pc.field("decision") == name)["source_id"].to_pylist()
    return chosen
