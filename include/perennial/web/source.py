"""One source: where its interaction data is, whether and why it expires, what has happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from perennial.audiences.completeness import MissingSource
from perennial.audiences.resume import AudienceProblem
from perennial.notify import run_url
from perennial.policy.decisions import Explanation
from perennial.web.access import READ
from perennial.web.charts import Chart, Narrow, Theme, by_period, drawn
from perennial.web.dependencies import PageContext, PageContextDep, SnapshotDep, WarehouseDep
from perennial.web.keepers import MOST_SHOWN, find_keepers, verdict
from perennial.web.listing import form_method
from perennial.web.pages import render
from perennial.web.source_details import (
    DailyCount,
    LifecycleEvent,
    SourceDetails,
    airflow_runs,
    find_referrers,
    known_source,
    load_source_details,
    recorded,
)
from perennial.web.sources import SourceItem

router = APIRouter(dependencies=[READ], tags=["sources"])

SourceId = Annotated[str, Query(alias="id", description="Id of a campaign or Canvas")]


class DecisionItem(BaseModel):
    """What an expiry would decide now, and why."""

    decision: str
    reason: str
    clock_started_at: datetime | None
    clock_started_by: str | None = Field(description="stopped, last sent, restored, vanished or created")
    expires_at: datetime | None
    referenced_by: tuple[str, ...]
    held_by: tuple[str, ...] = Field(description="The holds that keep it, due or not, the longest first")


class MissingItem(BaseModel):
    """A source that an audience needs and does not have."""

    part: str
    source_id: str
    kind: str
    name: str
    state: str
    since: datetime | None
    effects: list[str]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, part: str, source: MissingSource) -> MissingItem:
        return cls(part=part, effects=sorted(source.effects), **{
            name: getattr(source, name) for name in ("source_id", "kind", "name", "state", "since", "paths")
        })  # fmt: skip


class ResumeItem(BaseModel):
    """What a source would miss if it were started again now."""

    ready: bool
    missing: list[MissingItem]
    problems: tuple[AudienceProblem, ...]
    restorable: tuple[str, ...]


class SourceDetail(SourceItem):
    """Everything about one source; if the metadata allows no decision, the reason instead."""

    restoring_run: str = Field(description="The run that is bringing it back; empty if it is not one of Airflow's")
    decision: DecisionItem | None
    undecided: str
    history: tuple[LifecycleEvent, ...]
    daily: tuple[DailyCount, ...]
    resume: ResumeItem


@router.get("/source", response_class=HTMLResponse, include_in_schema=False)
def source_page(request: Request, context: PageContextDep, source_id: SourceId) -> HTMLResponse:
    """Show one source."""
    details = load_source_details(context, source_id)
    paths = details.explanation.decision.referenced_by if details.explanation else ()
    labels, series = _by_day(details.daily)
    table = [(label, [figures[position] for figures in series.values()]) for position, label in enumerate(labels)]
    return render(
        request, "source.html.j2", details=details, source=details.source, names=list(series), labels=labels,
        table=[row for row in reversed(table) if any(row[1])],
        verdict=_verdict(context, details),
        keepers=find_keepers(context.warehouse, source_id, find_referrers(context, paths[:MOST_SHOWN])),
        keeper_count=len(paths),
        history=_linked(request, context, details.history),
        method=form_method(details.resume.restorable), obstacle=context.obstacle, hold_obstacle=context.hold_obstacle,
    )  # fmt: skip


@router.get("/api/source", summary="One source: state, decision, history, daily analytics, resume check")
def show_source(context: PageContextDep, source_id: SourceId) -> SourceDetail:
    """Return everything about one source."""
    details = load_source_details(context, source_id)
    resume = details.resume
    return SourceDetail(
        **SourceItem.model_validate(details.source).model_dump(),
        restoring_run=details.restoring_run,
        decision=_decision(details.explanation),
        undecided=details.undecided,
        history=details.history,
        daily=details.daily,
        resume=ResumeItem(
            ready=resume.ready,
            missing=[MissingItem.of(part, source) for part, sources in resume.missing.items() for source in sources],
            problems=resume.problems,
            restorable=resume.restorable,
        ),
    )


def _decision(explanation: Explanation | None) -> DecisionItem | None:
    if explanation is None:
        return None
    return DecisionItem(
        **vars(explanation.decision), clock_started_by=explanation.clock_started_by, held_by=explanation.held_by
    )


@router.get("/charts/source.svg", response_class=Response, include_in_schema=False)
def source_chart(
    warehouse: WarehouseDep, snapshot: SnapshotDep, source_id: SourceId, theme: Theme = "light", narrow: Narrow = False
) -> Response:
    """Draw the daily analytics of a source; the same before an expiry, after it, and after a restore (R15)."""
    known_source(snapshot, source_id)
    _, daily = recorded(warehouse, source_id)
    labels, series = _by_day(daily)
    return drawn(Chart(labels, series, "lines", "{:,.0f}".format, whole=True), theme, narrow)


def _by_day(daily: Sequence[DailyCount]) -> tuple[list[str], dict[str, list[int]]]:
    return by_period((count.stat_date, count.interaction, count.event_count) for count in daily)


def _verdict(context: PageContext, details: SourceDetails) -> str:
    if details.explanation is None:
        return ""
    return verdict(details.explanation, context.warehouse.settings.retention_months, details.source.restoring)


def _linked(
    request: Request, context: PageContext, history: Sequence[LifecycleEvent]
) -> list[tuple[LifecycleEvent, str | None]]:
    runs = airflow_runs(context.session, {event.run_id for event in history})
    airflow = request.scope.get("root_path", "").rpartition("/")[0]
    dags = [(event, event.dag_in(runs)) for event in history]
    return [(event, run_url(airflow, dag_id, event.run_id) if dag_id else None) for event, dag_id in dags]
