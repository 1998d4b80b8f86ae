"""The overview: hot and archived bytes over time, what expires soon, restores and how long they took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from perennial import text as formatting
from perennial.drills.report import latest_report
from perennial.notify import list_undelivered, run_url
from perennial.web.access import READ, RESTORE_DAG
from perennial.web.charts import Chart, Narrow, Theme, drawn
from perennial.web.dependencies import PageContextDep
from perennial.web.overview_figures import ExpiringOn, HeldOn, Overview, Restored, StateSum, read_overview
from perennial.web.pages import render

router = APIRouter(dependencies=[READ], tags=["overview"])

_SHOWN_UNDELIVERED = 100


class RestoredItem(BaseModel):
    """A run that restored something."""

    run_id: str
    restored_at: datetime
    requested_by: str | None
    source_count: int
    row_count: int
    total_bytes: int
    took_seconds: float | None


class UndeliveredItem(BaseModel):
    """An e-mail that did not reach somebody."""

    model_config = ConfigDict(from_attributes=True)

    recipient: str = Field(description="The address, or what the platform has in its place; empty if it has nothing")
    subject: str
    topic: str = Field(description="restore, thaw, late, expiry, export or archive")
    run_id: str
    reason: str = Field(description="The mail server's words, or what is wrong with the address")
    for_good: bool = Field(description="Whether a retry is useless until somebody has changed something")
    tried_at: datetime


class DamagedItem(BaseModel):
    """An archived file that cannot be restored as it is."""

    model_config = ConfigDict(from_attributes=True)

    file_uri: str
    source_id: str
    outcome: str = Field(description="damaged or missing")
    detail: str = Field(description="What is wrong, for a person")


class DrillItem(BaseModel):
    """A source whose restore was rehearsed in tables that nobody else sees."""

    model_config = ConfigDict(from_attributes=True)

    source_id: str
    row_count: int
    total_bytes: int
    restore_seconds: float
    return_seconds: float
    error: str = Field(description="What went wrong; empty if every row was the same")


class ArchiveItem(BaseModel):
    """How much of the archive is proven readable, as of the latest run of check_archive."""

    model_config = ConfigDict(from_attributes=True)

    sentence: str = Field(description="The same in words")
    run_id: str
    checked_at: datetime
    archived_count: int = Field(description="Files that the archive lists")
    checked_count: int = Field(description="Those of them that were read in full in the 90 days before")
    cold_count: int = Field(description="Files of the run's sample that would have to be thawed first")
    damaged: list[DamagedItem]
    drill: DrillItem | None


class OverviewAnswer(BaseModel):
    """Figures of the whole workspace."""

    states: list[StateSum]
    held: list[HeldOn]
    expiring: list[ExpiringOn]
    kept_count: int = Field(description="Sources that would expire in that time if no filter or hold kept them")
    undecided: str = Field(description="Why nothing expires; empty if expiries are possible")
    archive: ArchiveItem | None = Field(description="What drills have proven; null before the first")
    undelivered: list[UndeliveredItem] = Field(description="Undelivered e-mails, at most the latest 100")
    restores: list[RestoredItem] = Field(description="Restores of the last six months, latest first, at most 50")


@router.get("/overview", response_class=HTMLResponse, include_in_schema=False)
def overview_page(request: Request, context: PageContextDep) -> HTMLResponse:
    """Show the overview."""
    found = _now(context)
    airflow = request.scope.get("root_path", "").rpartition("/")[0]
    restores = [
        (restore, formatting.duration(restore.took), run_url(airflow, RESTORE_DAG, restore.run_id))
        if restore.took is not None
        else (restore, "", "")
        for restore in found.restores
    ]
    moved = [day for day in reversed(found.held) if day.moved_to_archive or day.restored or day.loaded]
    return render(
        request, "overview.html.j2", found=found, moved=moved, restores=restores, undelivered=_undelivered(context),
        archive=latest_report(context.warehouse),
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
        archive=None if (report := latest_report(context.warehouse)) is None else ArchiveItem.model_validate(report),
        undelivered=_undelivered(context),
        restores=[
            RestoredItem(**vars(restore), took_seconds=None if restore.took is None else restore.took.total_seconds())
            for restore in found.restores
        ],
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
    charts = {"held": lambda: _held(found.held), "expiring": lambda: _expiring(found.expiring),
              "restores": lambda: _restores(found.restores)}  # fmt: skip
    return drawn(charts[figures](), theme, narrow)


def _undelivered(context: PageContextDep) -> list[UndeliveredItem]:
    return [
        UndeliveredItem.model_validate(missed) for missed in list_undelivered(context.warehouse)[:_SHOWN_UNDELIVERED]
    ]


def _now(context: PageContextDep) -> Overview:
    return read_overview(context, datetime.now(UTC))


def _held(days: Sequence[HeldOn]) -> Chart:
    series = {"hot": [day.hot_bytes for day in days], "long-term storage": [day.archived_bytes for day in days]}
    return Chart([day.day.isoformat() for day in days], series, "lines", _size)


def _expiring(days: Sequence[ExpiringOn]) -> Chart:
    labels = [day.day.isoformat() if day.day else "due already" for day in days]
    return Chart(labels, {"sources": [day.source_count for day in days]}, "bars", "{:,.0f}".format, whole=True)


def _restores(restores: Sequence[Restored]) -> Chart:
    timed = [(restore.restored_at, restore.took) for restore in reversed(restores) if restore.took is not None]
    minutes = [took.total_seconds() / 60 for _, took in timed]
    return Chart([formatting.moment(at) for at, _ in timed], {"minutes": minutes}, "bars", "{:,.1f} min".format)


def _size(figure: float) -> str:
    return formatting.format_bytes(round(figure))
