"""Figures of the whole workspace: bytes over time, what expires soon, how long restores took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from perennial.sql import statement
from perennial.web.access import RESTORE_DAG
from perennial.web.dependencies import PageContext
from perennial.web.listing import DUE_DAYS, count_kept
from perennial.web.source_details import airflow_runs

MONTHS_BACK_DAYS = 183
_YEAR_DAYS = 365
_LEAST_DAYS = 30


@dataclass(frozen=True)
class StateSum:
    """How many sources are in a state, and how much data they have."""

    state: str
    source_count: int
    hot_bytes: int
    archived_bytes: int


@dataclass(frozen=True)
class HeldOn:
    """Bytes at the end of a day, bytes moved that day, and bytes loaded, estimated from the mean interaction size."""

    day: date
    hot_bytes: int
    archived_bytes: int
    moved_to_archive: int
    restored: int
    loaded: int


@dataclass(frozen=True)
class ExpiringOn:
    """What expires on a day; without a day: what is due already."""

    day: date | None
    source_count: int
    row_count: int
    total_bytes: int


@dataclass(frozen=True)
class Restored:
    """A run that restored something.

    Attributes:
        run_id: Id of the run in Airflow, or of a direct call.
        restored_at: When its last source was recorded as restored.
        requested_by: Who asked.
        took: Time from the request until then; None if Airflow has no such run of the restore DAG.
    """

    run_id: str
    restored_at: datetime
    requested_by: str | None
    source_count: int
    row_count: int
    total_bytes: int
    took: timedelta | None


@dataclass(frozen=True)
class Overview:
    """Everything the overview shows.

    Attributes:
        states: Figures of each state.
        held: Figures of each day.
        expiring: What expires soon.
        kept_count: Sources that would expire as soon if no filter or hold kept them (R4, R19).
        undecided: Why nothing expires; empty if expiries are possible.
        restores: The latest first.
    """

    states: Mapping[str, StateSum]
    held: Sequence[HeldOn]
    expiring: Sequence[ExpiringOn]
    kept_count: int
    undecided: str
    restores: Sequence[Restored]

    @property
    def hot_bytes(self) -> int:
        return sum(state.hot_bytes for state in self.states.values())

    @property
    def archived_bytes(self) -> int:
        return sum(state.archived_bytes for state in self.states.values())


def read_overview(context: PageContext, now: datetime) -> Overview:
    """Read the figures as of a moment."""
    listed = context.snapshot.now()
    states = [StateSum(*row) for row in listed.states]
    binds = {"now": now, "soon": now + timedelta(days=DUE_DAYS)}
    with listed.connection.cursor() as cursor:
        expiring = [ExpiringOn(*row) for row in cursor.execute(statement("web/list_expiring_days"), binds).fetchall()]
    since = now - timedelta(days=MONTHS_BACK_DAYS)
    restores = [row for row in listed.restores if row[1] >= since]
    hot, archived = sum(state.hot_bytes for state in states), sum(state.archived_bytes for state in states)
    return Overview(
        states={state.state: state for state in states},
        held=_held(listed.moves, hot, archived, int(listed.rows["row_count"].sum()), now.astimezone(UTC).date()),
        expiring=expiring,
        kept_count=count_kept(listed),
        undecided=listed.kept.undecided,
        restores=_timed(context, restores),
    )


def _held(
    moves: Sequence[tuple[date, int, int, int]], hot: int, archived: int, row_count: int, today: date
) -> list[HeldOn]:
    """Walk back from today's bytes, undoing each day's moves and loads."""
    # The size of a file that compaction has merged is not recorded.
    row_bytes = (hot + archived) / row_count if row_count else 0
    moved = {day: (gone, back, round(rows * row_bytes)) for day, gone, back, rows in moves}
    # Runs can be dated after today.
    last = max([today, *moved])
    first = min([today - timedelta(days=_LEAST_DAYS), *(day - timedelta(days=1) for day in moved)])
    found = []
    for back in range(min((last - first).days, _YEAR_DAYS) + 1):
        day = last - timedelta(days=back)
        to_archive, restored, loaded = moved.get(day, (0, 0, 0))
        found.append(HeldOn(day, hot, archived, to_archive, restored, loaded))
        # Compaction rewrites files, so the restored bytes can differ slightly from the archived bytes.
        hot, archived = max(0, hot + to_archive - restored - loaded), max(0, archived - to_archive + restored)
    return found[::-1]


def _timed(context: PageContext, rows: Sequence[tuple[Any, ...]]) -> list[Restored]:
    asked = airflow_runs(context.session, [row[0] for row in rows])
    timed: list[list[Any]] = [[*row, _took(row[1], asked.get((RESTORE_DAG, row[0])))] for row in rows]
    return [Restored(*values) for values in timed]


def _took(restored_at: datetime, asked_at: datetime | None) -> timedelta | None:
    return None if asked_at is None else max(timedelta(0), restored_at - asked_at)
