"""The overview: hot and archived bytes over time, what expires soon, restores and how long they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from perennial import text as formatting
from perennial.drills.report import latest_report
from perennial.notify import Undelivered, list_undelivered, run_url
from perennial.statements import statement
from perennial.web.access import READ, RESTORE_DAG
from perennial.web.airflow_runs import Waiting, waiting_runs
from perennial.web.charts import Chart, Narrow, Theme, drawn
from perennial.web.dependencies import PageContext, PageContextDep
from perennial.web.listing import DUE_DAYS, count_kept
from perennial.web.pages import render
from perennial.web.source_details import airflow_runs

router = APIRouter(dependencies=[READ], tags=["overview"])

_SHOWN_UNDELIVERED = 100
_RESTORES_DAYS = 183
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


class Restored(BaseModel):
    """A run that restored something."""

    run_id: str = Field(description="Id of the run in Airflow, or of a direct call")
    restored_at: datetime = Field(description="When its last source was recorded as restored")
    requested_by: str | None
    source_count: int
    row_count: int
    total_bytes: int
    took_seconds: float | None = Field(description="From the request until then; null if Airflow has no such run")


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


class OverviewAnswer(BaseModel):
    """Figures of the whole workspace."""

    states: list[StateSum]
    held: list[HeldOn]
    expiring: list[ExpiringOn]
    kept_count: int = Field(description="Sources that would expire in that time if no filter or hold kept them")
    undecided: str = Field(description="Why nothing expires; empty if expiries are possible")
    undelivered: list[Undelivered] = Field(description="Undelivered e-mails, at most the latest 100")
    waiting: list[Waiting] = Field(description="Runs that wait until a person approves them")
    restores: Sequence[Restored] = Field(description="Restores of the last six months, latest first, at most 50")


@router.get("/overview", response_class=HTMLResponse, include_in_schema=False)
def overview_page(request: Request, context: PageContextDep) -> HTMLResponse:
    """Show the overview."""
    found = _now(context)
    airflow = request.scope.get("root_path", "").rpartition("/")[0]
    restores = [
        (restore, _duration(restore.took_seconds), run_url(airflow, RESTORE_DAG, restore.run_id))
        if restore.took_seconds is not None
        else (restore, "", "")
        for restore in found.restores
    ]
    moved = [day for day in reversed(found.held) if day.moved_to_archive or day.restored or day.loaded]
    return render(
        request, "overview.html.j2", found=found, moved=moved, restores=restores, undelivered=_undelivered(context),
        archive=latest_report(context.warehouse), waiting=waiting_runs(context.session), airflow=airflow,
    )  # fmt: skip


@router.get("/api/overview", summary="Bytes over time, what expires soon, restores and how long they took")
def show_overview(context: PageContextDep) -> OverviewAnswer:
    """Return the figures of the whole workspace."""
    found = _now(context)
    return OverviewAnswer(
        states=list(found.states.values()),
        held=list(found.held),
        expiring=list(found.expiring),
        kept_count=found.kept_count,
        undecided=found.undecided,
        undelivered=_undelivered(context),
        waiting=waiting_runs(context.session),
        restores=found.restores,
    )


@router.get("/charts/overview.svg", response_class=Response, include_in_schema=False)
def overview_chart(
    context: PageContextDep,
    figures: Literal["held", "expiring", "restores"],
    theme: Theme = "light",
    narrow: Narrow = False,
) -> Response:
    """Draw one of the charts."""
    found = _now(context)
    charts = {"held": lambda: _held_chart(found.held), "expiring": lambda: _expiring_chart(found.expiring),
              "restores": lambda: _restores_chart(found.restores)}  # fmt: skip
    return drawn(charts[figures](), theme, narrow)


def _undelivered(context: PageContextDep) -> list[Undelivered]:
    return list_undelivered(context.warehouse)[:_SHOWN_UNDELIVERED]


def _now(context: PageContextDep) -> Overview:
    """Read the figures as of now."""
    now = datetime.now(UTC)
    listed = context.snapshot.now()
    states = [StateSum(*row) for row in listed.states]
    binds = {"now": now, "soon": now + timedelta(days=DUE_DAYS)}
    with listed.connection.cursor() as cursor:
        expiring = [ExpiringOn(*row) for row in cursor.execute(statement("web/list_expiring_days"), binds).fetchall()]
    since = now - timedelta(days=_RESTORES_DAYS)
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
    names = tuple(Restored.model_fields)
    return [
        Restored(**dict(zip(names, (*row, _took(row[1], asked.get((RESTORE_DAG, row[0])))), strict=True)))
        for row in rows
    ]


def _took(restored_at: datetime, asked_at: datetime | None) -> float | None:
    return None if asked_at is None else max(0.0, (restored_at - asked_at).total_seconds())


def _duration(seconds: float) -> str:
    return formatting.duration(timedelta(seconds=seconds))


def _held_chart(days: Sequence[HeldOn]) -> Chart:
    series = {"hot": [day.hot_bytes for day in days], "long-term storage": [day.archived_bytes for day in days]}
    return Chart([day.day.isoformat() for day in days], series, "lines", _size)


def _expiring_chart(days: Sequence[ExpiringOn]) -> Chart:
    labels = [day.day.isoformat() if day.day else "due already" for day in days]
    return Chart(labels, {"sources": [day.source_count for day in days]}, "bars", "{:,.0f}".format, whole=True)


def _restores_chart(restores: Sequence[Restored]) -> Chart:
    timed = [(each.restored_at, each.took_seconds) for each in reversed(restores) if each.took_seconds is not None]
    minutes = [seconds / 60 for _, seconds in timed]
    return Chart([formatting.moment(at) for at, _ in timed], {"minutes": minutes}, "bars", "{:,.1f} min".format)


def _size(figure: float) -> str:
    return formatting.format_bytes(round(figure))
