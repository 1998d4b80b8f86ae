"""What the next run would do, as a difference to the last one, and why it changed (R19-R21)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from perennial.policy.decisions import Rules, SyncedMetadata, WarehouseState, decide_from
from perennial.policy.holds import Hold, standing_holds
from perennial.statements import statement
from perennial.tables import EXPIRY_DECISIONS
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.warehouse import Warehouse

NEW = "new"
CHANGES = ("newly due", "no longer due", "newly referenced", "newly held", "reactivated", NEW)
"""Kinds of change, in the order in which they are shown."""
# The daily run, dags/expire_interactions.py.
_DAILY_AT = time(4, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """One source about which the next run would decide otherwise than the last.

    Attributes:
        source_id: Campaign or Canvas.
        name: Its name on the platform.
        kind: campaign or canvas.
        change: One of CHANGES.
        cause: status, reference, hold, tag, clock, metadata (it appeared or vanished) or data.
        why: The cause, as a sentence.
        reason: The reason of the coming decision.
        before: The decision of the last run; None if it did not know the source.
        after: The decision of the next run.
        hot_rows: Interactions in the hot table.
    """

    source_id: str
    name: str
    kind: str
    change: str
    cause: str
    why: str
    reason: str
    before: str | None
    after: str
    hot_rows: int


@dataclass(frozen=True)
class Preview:
    """What the next run would do.

    Attributes:
        as_of: When the next run decides.
        last_run_id: The run it is compared with; None if none has decided yet.
        last_as_of: That run's date.
        counts: How many sources have each decision.
        due_rows: How many interactions would move.
        changes: What changes, in the order of CHANGES.
        due: Ids of the sources that would expire.
    """

    as_of: datetime
    last_run_id: str | None
    last_as_of: datetime | None
    counts: Mapping[str, int]
    due_rows: int
    changes: tuple[Change, ...]
    due: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The whole of it in a sentence."""
        due = pluralize(len(self.due), "source")
        rows = pluralize(self.due_rows, "interaction")
        compared = (
            f"{pluralize(len(self.changes), 'decision differs', 'decisions differ')} from the run of "
            f"{self.last_as_of:%Y-%m-%d %H:%M} UTC."
            if self.last_as_of
            else "No run has decided yet."
        )
        return f"The run of {self.as_of:%Y-%m-%d %H:%M} UTC would move {due} with {rows} to the archive. {compared}"

    @property
    def change_counts(self) -> dict[str, int]:
        """How many changes there are of each kind."""
        found = Counter(change.change for change in self.changes)
        return {change: found[change] for change in CHANGES if change in found}


def next_run_at(now: datetime) -> datetime:
    """Return when the next daily run decides."""
    today = datetime.combine(now.astimezone(UTC).date(), _DAILY_AT)
    return today if today > now else today + timedelta(days=1)


def preview(warehouse: Warehouse, as_of: datetime, locked: frozenset[str] = frozenset()) -> Preview:
    """Decide as the next run would, and compare with what the last run decided.

    Args:
        warehouse: The warehouse.
        as_of: When the next run decides; any date.
        locked: Sources that a restore is bringing back.

    Raises:
        TerminalMetadataError: As `decide_all`.
    """
    from perennial.engines.duckdb import open_session

    metadata, state = SyncedMetadata.read(warehouse), WarehouseState.read(warehouse, locked)
    decided = decide_from(metadata, state, as_of, Rules.from_settings(warehouse)).rows
    with open_session(warehouse, [EXPIRY_DECISIONS.name]) as session:
        last = session.execute(statement("policy/find_last_decision"), {"as_of": as_of}).fetchone()
        run_id, last_as_of = last or (None, None)
        binds = {"run_id": run_id, "as_of": last_as_of}
        session.execute(statement("policy/create_last_decisions"), binds)
        session.register("next_decisions", decided)
        result = session.execute(statement("policy/list_changed_decisions"))
        columns = [column[0] for column in result.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    holds = [hold for hold in standing_holds(warehouse) if hold.until is None or hold.until > as_of]
    changes = [_change(row, holds, last_as_of) for row in rows if run_id is not None or row["change"] == "newly due"]
    due = decided.filter(_is_due(decided))
    return Preview(
        as_of=as_of,
        last_run_id=run_id,
        last_as_of=last_as_of,
        counts=dict(Counter(decided["decision"].to_pylist())),
        due_rows=sum(due["hot_rows"].to_pylist()),
        changes=tuple(sorted(changes, key=lambda change: (CHANGES.index(change.change), change.source_id))),
        due=tuple(due["source_id"].to_pylist()),
    )


def _is_due(decided: pa.Table) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.equal(decided["decision"], "expire")


def _change(row: Mapping[str, Any], holds: Sequence[Hold], last_as_of: datetime | None) -> Change:
    names = ("source_id", "name", "kind", "change", "reason", "hot_rows")
    cause, why = _hold_cause(row, holds, last_as_of) if row["cause"] == "hold" else (row["cause"], _why(row))
    return Change(
        **{name: row[name] for name in names},
        before=None if row["decision_before"] == NEW else row["decision_before"],
        after=row["decision"],
        cause=cause,
        why=why,
    )


def _hold_cause(row: Mapping[str, Any], holds: Sequence[Hold], last_as_of: datetime | None) -> tuple[str, str]:
    """Tell a hold that was placed, lifted or has ended from a tag that was given or taken away."""
    is_held = row["decision"] == "held"
    named = [hold for hold in holds if f"hold {hold.hold_id} of" in row["reason" if is_held else "reason_before"]]
    tagged = [hold for hold in named if hold.tag is not None and last_as_of is not None and hold.held_at < last_as_of]
    if tagged:
        return "tag", f"It {'carries' if is_held else 'no longer carries'} the tag {tagged[0].tag!r}, which is held."
    return "hold", "A hold keeps it." if is_held else "The hold on it has ended or was lifted."


def _why(row: Mapping[str, Any]) -> str:
    before, after, dropped = row["decision_before"], row["decision"], row["dropped"]
    match row["cause"]:
        case "metadata":
            return "The last run did not know it." if before == NEW else "It vanished from the platform."
        case "status":
            return "It is active again." if after in ("active", "reactivated") else "It was stopped."
        case "reference" if after == "referenced":
            return "An active referrer names it."
        case "reference":
            return f"A reference was removed: {dropped[0]}."
        case "clock" if row["expires_at"] == row["expires_before"]:
            return "Its clock has ended."
        case "clock":
            return "Its clock has changed: it was sent, stopped or restored."
    return "It has interactions in hot now." if after == "expire" else "It has no interactions in hot any more."
