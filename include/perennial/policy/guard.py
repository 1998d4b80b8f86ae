"""The guard: whether a run would move so much that a person has to approve it first (R21)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.settings import PREFIX
from perennial.statements import statement
from perennial.tables import EXPIRY_DECISIONS, LIFECYCLE_EVENTS
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

# Before that many runs have moved something, nobody knows what is usual; and what is small is never unusual.
_RUNS_TO_KNOW, _SMALL_SHARE = 5, 0.01
_NAMED = 5
_SHARE, _SOURCES = f"{PREFIX}APPROVE_ABOVE_SHARE", f"{PREFIX}APPROVE_ABOVE_SOURCES"
_USUAL, _SURPRISES = f"{PREFIX}APPROVE_ABOVE_USUAL", f"{PREFIX}APPROVE_ABOVE_SURPRISES"


@dataclass(frozen=True)
class Weight:
    """What a run is about to move.

    Attributes:
        source_count: Sources that are due.
        row_count: Their interactions.
        hot_row_count: All interactions in the hot table.
        usual_row_count: Interactions that the largest of the last 30 runs moved.
        run_count: How many of those runs there are.
        is_first: Whether no run has decided before this one.
        surprises: Due sources that the last run did not foresee: their metadata changed since.
    """

    source_count: int
    row_count: int
    hot_row_count: int
    usual_row_count: int
    run_count: int
    is_first: bool
    surprises: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.row_count / self.hot_row_count if self.hot_row_count else 0.0

    def reasons(self, settings: Settings) -> tuple[str, ...]:
        """Say which limits it exceeds, in sentences; empty where nobody has to be asked."""
        found = []
        share, sources = settings.approve_above_share, settings.approve_above_sources
        if share is not None and self.share > share:
            found.append(
                f"It would move {self.share:.0%} of the hot interactions; the limit ({_SHARE}) is {share:.0%}."
            )
        if sources is not None and self.source_count > sources:
            found.append(
                f"It would move {pluralize(self.source_count, 'source')}; the limit ({_SOURCES}) is {sources:,}."
            )
        if self._is_unusual(settings.approve_above_usual):
            found.append(
                f"It would move {self.row_count / max(self.usual_row_count, 1):.1f} times as many interactions as the "
                f"largest of the last {pluralize(self.run_count, 'run')}; the limit ({_USUAL}) is "
                f"{settings.approve_above_usual:g}."
            )
        limit = settings.approve_above_surprises
        if limit is not None and len(self.surprises) > limit:
            found.append(self._unforeseen(limit))
        return tuple(found)

    def _unforeseen(self, limit: int) -> str:
        more = len(self.surprises) - _NAMED
        named = ", ".join(map(repr, self.surprises[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
        due = f"{pluralize(len(self.surprises), 'source')} would be due ({named})"
        limited = f"the limit ({_SURPRISES}) is {limit:,}."
        if self.is_first:
            return f"This is the first run, so no run before it foresaw that {due}; {limited}"
        return f"The run before did not foresee that {due}; {limited} Look whether a sync went wrong."

    def _is_unusual(self, times: float | None) -> bool:
        return (
            times is not None
            and self.run_count >= _RUNS_TO_KNOW
            and self.share > _SMALL_SHARE
            and self.row_count > times * self.usual_row_count
        )


def weigh_expiry(
    warehouse: Warehouse, due: Collection[str], hot_rows: Mapping[str, int], run_id: str, as_of: datetime
) -> Weight:
    """Compare what a run would move with what there is, what is usual, and what was foreseen.

    Args:
        warehouse: Its `expiry_decisions` say what earlier runs foresaw, its `lifecycle_events` what they moved.
        due: The sources that are due.
        hot_rows: Interactions in the hot table, by source.
        run_id: The run, whose own decisions and moves do not count.
        as_of: The run's own now.
    """
    import pyarrow as pa

    from perennial.engines.duckdb import open_session

    totals = {"source_id": pa.array(list(hot_rows), pa.string()), "row_count": pa.array(hot_rows.values(), pa.int64())}
    with open_session(warehouse, [EXPIRY_DECISIONS.name, LIFECYCLE_EVENTS.name]) as session:
        session.register("hot_totals", pa.table(totals))
        binds = {"as_of": as_of, "run_id": run_id, "due": sorted(due)}
        (row,) = session.execute(statement("policy/weigh_expiry"), binds).fetchall()
    return Weight(
        source_count=row[0],
        row_count=row[1],
        hot_row_count=row[2],
        usual_row_count=row[3],
        run_count=row[4],
        is_first=row[5],
        surprises=tuple(row[6] or ()),
    )
