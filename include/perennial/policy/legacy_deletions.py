"""Legacy deletions: what the previous policy deleted before this project came, from the platform's history (R18)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from perennial.engines.duckdb import open_status_session
from perennial.errors import TerminalRequestError
from perennial.platform import apply_to_sources, read_legacy_deletions
from perennial.platform.times import EARLIEST
from perennial.policy.decisions import refuse_stale_metadata
from perennial.policy.referrers import create_source_referrers
from perennial.statements import statement
from perennial.tables import ADOPTED_DELETIONS, AUDIENCES, SOURCES
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

MONTHS = 25
REFERRERS = ("campaign", "canvas", "content_card")


@dataclass(frozen=True)
class LegacyDeletion:
    """What the previous policy would have done with one source.

    Attributes:
        decision: `mark`; or why not: `deleted` already; `unsent`: it never sent, so there was nothing to delete;
            `recent`: it had sent within 25 months of the cutoff;
            `referenced` by an active campaign, Canvas or Content Card; `stored`: the warehouse still has its
            interactions, which a mark would put out of reach.
        reason: The decision in words.
    """

    source_id: str
    kind: str
    name: str
    decision: Literal["mark", "deleted", "unsent", "recent", "referenced", "stored"]
    reason: str


def decide_legacy_deletions(warehouse: Warehouse, cutoff: date, now: datetime) -> list[LegacyDeletion]:
    """Decide about every source of the last sync; nothing is written.

    Today's audiences say who uses a source: the platform keeps no earlier ones.

    Args:
        warehouse: Where the metadata and the interactions are.
        cutoff: The first day on which the previous policy no longer deleted, UTC.
        now: Wall clock.

    Raises:
        TerminalRequestError: The cutoff is in the future, or before 2000.
        TerminalMetadataError: The metadata is stale.
    """
    if _midnight(cutoff) > now:
        raise TerminalRequestError(f"The cutoff {cutoff} is in the future; give the day the previous policy ended.")
    if cutoff < EARLIEST.date():
        raise TerminalRequestError(
            f"The cutoff {cutoff} cannot be right: a deletion before {EARLIEST:%Y} is not believed; give the day "
            "the previous policy ended."
        )
    refuse_stale_metadata(warehouse, now)
    marked = _relation(read_legacy_deletions(warehouse))
    with open_status_session(warehouse) as session:
        session.register("legacy_deletions", marked)
        create_source_referrers(
            session, warehouse.read(AUDIENCES.name), lambda: warehouse.read(SOURCES.name)["source_id"], REFERRERS
        )
        session.execute(statement("policy/create_source_keepers"))
        binds = {"cutoff": _midnight(cutoff), "months": MONTHS}
        rows = session.execute(statement("policy/decide_legacy_deletions"), binds).fetchall()
    return [LegacyDeletion(*row) for row in rows]


def import_legacy_deletions(
    warehouse: Warehouse, cutoff: date, now: datetime, requested_by: str | None = None
) -> list[LegacyDeletion]:
    """Mark the sources that the previous policy deleted, and show that at once.

    The marks come first, and every sync applies them to `sources`; killed in between, run it again. The platform's
    database is never written. A source is marked once; running it again changes nothing.

    Args:
        warehouse: Where the metadata and the interactions are.
        cutoff: When the marked sources count as deleted.
        now: Wall clock.
        requested_by: Recorded in the audit trail.

    Returns:
        The decision about every source.

    Raises:
        TerminalRequestError, TerminalMetadataError: As `decide_legacy_deletions`.
    """
    decided = decide_legacy_deletions(warehouse, cutoff, now)
    rows: list[dict[str, object]] = [
        {
            "source_id": deletion.source_id,
            "deleted_at": _midnight(cutoff),
            "reason": deletion.reason,
            "adopted_at": now,
            "requested_by": requested_by,
        }
        for deletion in decided
        if deletion.decision == "mark"
    ]
    warehouse.append_rows(ADOPTED_DELETIONS.name, rows, f"adopt:marks:{uuid4().hex}")
    apply_to_sources(warehouse)
    log.info("marked %s as of %s", pluralize(len(rows), "legacy deletion"), cutoff)
    return decided


def revoke(warehouse: Warehouse, source_ids: Collection[str], now: datetime, requested_by: str | None = None) -> None:
    """Revoke marks: the sources count as the platform says again, at once.

    Args:
        warehouse: Where the marks are.
        source_ids: Marked sources.
        now: Wall clock.
        requested_by: Recorded in the audit trail.

    Raises:
        TerminalRequestError: Names all that carry no mark; nothing was revoked.
    """
    marks = read_legacy_deletions(warehouse)
    if unmarked := sorted(set(source_ids) - marks.keys()):
        raise TerminalRequestError(
            f"No mark is on {', '.join(map(repr, unmarked))}, and nothing was revoked. Table "
            f"{ADOPTED_DELETIONS.name} has the marks; a date of the platform's own is corrected there."
        )
    rows: list[dict[str, object]] = [
        {"source_id": source_id, "reason": "taken back", "adopted_at": now, "requested_by": requested_by}
        for source_id in sorted(set(source_ids))
    ]
    warehouse.append_rows(ADOPTED_DELETIONS.name, rows, f"adopt:taken-back:{uuid4().hex}")
    apply_to_sources(warehouse, {source_id: marks[source_id] for source_id in source_ids})
    log.info("revoked %s", pluralize(len(rows), "legacy deletion"))


def _midnight(cutoff: date) -> datetime:
    return datetime.combine(cutoff, time(), UTC)


def _relation(marked: Mapping[str, datetime]) -> pa.Table:
    import pyarrow as pa

    moments = pa.array(list(marked.values()), pa.timestamp("us", tz="UTC"))
    return pa.table({"source_id": pa.array(list(marked), pa.string()), "deleted_at": moments})
