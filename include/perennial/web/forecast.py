"""The forecast: what the daily runs of the next days will move, what it saves, and which audiences it changes (R20)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from perennial.audiences.impact import AudienceImpact, find_impact
from perennial.cost import signed_money
from perennial.moves.costs import StorageCosts, storage_costs
from perennial.moves.forecast import MOST_DAYS, Forecast, forecast
from perennial.notify.restore_command import build_restore_command
from perennial.web.access import READ
from perennial.web.charts import Chart, Narrow, Theme, drawn
from perennial.web.dependencies import WarehouseDep
from perennial.web.pages import render

router = APIRouter(dependencies=[READ], tags=["forecast"])
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many daily runs to look ahead")]
_DAYS = 30
# Sources whose audiences are counted, and audiences that a page shows.
_SHOWN_AUDIENCES = 200


class ForecastDayItem(BaseModel):
    """What the run of one day will move."""

    day: date
    source_ids: list[str]
    row_count: int
    total_bytes: int
    saved_per_month: Decimal | None = Field(description="Null if the archive is not on S3; negative if it costs more")
    audience_count: int = Field(description="Audiences that look at one of the sources")


class CostAnswer(BaseModel):
    """What storage costs and saves; estimates from the price table."""

    currency: str
    today_per_month: Decimal
    saved_per_month: Decimal
    saved_so_far: Decimal
    next_per_month: Decimal = Field(description="Once what is forecast has moved")


class ForecastAnswer(BaseModel):
    """What expires if nothing changes."""

    sentence: str
    until: datetime
    undecided: str = Field(description="Why nothing expires; empty if expiries are possible")
    days: list[ForecastDayItem]
    costs: CostAnswer | None = Field(description="Null if the archive is not on S3")


class AudienceImpactItem(BaseModel):
    """What an expiry does to an audience."""

    owner_kind: str
    owner_id: str
    owner_name: str | None
    owner_status: str
    part: str
    sentence: str
    sources: list[str] = Field(description="The sources that it looks at and that expire")
    effects: list[str] = Field(description="What leaving them out can do: narrows, widens")
    users_now: int | None
    users_after: int | None
    lost: int | None
    gained: int | None
    problem: str = Field(description="Why it cannot be evaluated; empty if it can")
    restore: str | None = Field(description="The command that brings the sources back")


class AudiencesAnswer(BaseModel):
    """What the expiry of sources does to audiences."""

    sentence: str
    sampled: float = Field(description="The share of users that was looked at")
    audiences: list[AudienceImpactItem]


@router.get("/forecast", response_class=HTMLResponse, include_in_schema=False)
def forecast_page(
    request: Request, warehouse: WarehouseDep, days: Days = _DAYS, audiences: bool = False
) -> HTMLResponse:
    """Show what will expire, what storage costs, and on request which audiences change."""
    now = datetime.now(UTC)
    found = forecast(warehouse, now, days)
    impact = find_impact(warehouse, _due(found), found.until) if audiences and found.days else None
    return render(
        request, "forecast.html.j2", found=found, days=days, costs=_cost_lines(_costs(warehouse, now, found)),
        impact=impact, shown=impact.changed[:_SHOWN_AUDIENCES] if impact else (), saved=_saved(found),
    )  # fmt: skip


@router.get("/api/forecast", summary="What expires in the next days, what it saves, and what storage costs")
def show_forecast(warehouse: WarehouseDep, days: Days = _DAYS) -> ForecastAnswer:
    """Return what the daily runs will move if nothing changes."""
    now = datetime.now(UTC)
    found = forecast(warehouse, now, days)
    costs = _costs(warehouse, now, found)
    return ForecastAnswer(
        sentence=found.sentence(),
        until=found.until,
        undecided=found.undecided,
        days=[ForecastDayItem(**{**vars(day), "source_ids": list(day.source_ids)}) for day in found.days],
        costs=CostAnswer(**vars(costs)) if costs else None,
    )


@router.get("/api/forecast/audiences", summary="The users that audiences will lose and gain in the next days")
def show_audiences(warehouse: WarehouseDep, days: Days = _DAYS) -> AudiencesAnswer:
    """Count the users of every audience that looks at a source which expires, with and without it."""
    found = forecast(warehouse, datetime.now(UTC), days)
    impact = find_impact(warehouse, _due(found), found.until)
    return AudiencesAnswer(
        sentence=impact.sentence(), sampled=impact.sampled, audiences=[_item(each) for each in impact.audiences]
    )


@router.get("/charts/forecast.svg", response_class=Response, include_in_schema=False)
def forecast_chart(
    warehouse: WarehouseDep, days: Days = _DAYS, theme: Theme = "light", narrow: Narrow = False
) -> Response:
    """Draw the sources that expire, by day."""
    found = forecast(warehouse, datetime.now(UTC), days)
    labels = [day.day.isoformat() for day in found.days]
    figures = [len(day.source_ids) for day in found.days]
    return drawn(Chart(labels, {"sources": figures}, "bars", "{:,.0f}".format, whole=True), theme, narrow)


def _due(found: Forecast) -> list[str]:
    return [source_id for day in found.days for source_id in day.source_ids]


def _costs(warehouse: WarehouseDep, now: datetime, found: Forecast) -> StorageCosts | None:
    return storage_costs(warehouse, now, found.saved_per_month or Decimal(0))


def _cost_lines(costs: StorageCosts | None) -> Sequence[tuple[str, str]]:
    if costs is None:
        return ()
    amounts = {
        "a month, as stored now": costs.today_per_month,
        "saved a month by long-term storage": costs.saved_per_month,
        "saved so far": costs.saved_so_far,
        "a month, once this has expired": costs.next_per_month,
    }
    return [(signed_money(amount, costs.currency), label) for label, amount in amounts.items()]


def _saved(found: Forecast) -> dict[date, str]:
    return {
        day.day: "" if day.saved_per_month is None else signed_money(day.saved_per_month, found.currency)
        for day in found.days
    }


def _item(impact: AudienceImpact) -> AudienceImpactItem:
    restore = build_restore_command(impact.sources, (), (), f"Needed by {impact.name}")
    values = vars(impact) | {"sources": list(impact.sources), "effects": sorted(impact.effects)}
    return AudienceImpactItem(
        **impact.owner, **{key: value for key, value in values.items() if key != "owner"},
        sentence=impact.sentence(), restore=restore.command if restore else None,
    )  # fmt: skip
