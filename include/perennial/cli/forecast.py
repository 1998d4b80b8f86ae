"""`forecast`: what the daily runs of the next days will move, what it saves, and which audiences it changes (R20)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_rows
from perennial.text import format_bytes

if TYPE_CHECKING:
    from perennial.moves.forecast import Forecast, ForecastDay

app = typer.Typer()
# Audiences that are listed; all of them are counted.
_SHOWN_AUDIENCES = 50


@app.command()
def forecast(
    days: Annotated[int, typer.Option(help="How many daily runs to look ahead.")] = 30,
    audiences: Annotated[
        bool, typer.Option("--audiences", help="Count the users that each audience would lose and gain as well.")
    ] = False,
) -> None:
    """Show what will expire, day by day, if nothing changes. Nothing is moved."""
    from perennial.audiences.impact import find_impact
    from perennial.moves import forecast as forecasts

    now = datetime.now(UTC)
    with opened_warehouse() as warehouse:
        found = forecasts.forecast(warehouse, now, days)
        console.print(Text(found.sentence()), soft_wrap=True)
        if found.days:
            columns = ["day", "sources", "interactions", "size", "saved a month", "audiences"]
            print_rows(columns, [_row(day, found) for day in found.days])
        if audiences and found.days:
            due = [source_id for day in found.days for source_id in day.source_ids]
            impact = find_impact(warehouse, due, found.until)
            console.print(Text(impact.sentence()), soft_wrap=True)
            for audience in impact.changed[:_SHOWN_AUDIENCES]:
                console.print(Text(f"- {audience.sentence()}"), soft_wrap=True)
            if len(impact.changed) > _SHOWN_AUDIENCES:
                more = len(impact.changed) - _SHOWN_AUDIENCES
                console.print(f"{more:,} more are on the page Forecast and in its JSON.")


def _row(day: ForecastDay, found: Forecast) -> tuple[str, ...]:
    from perennial.cost import signed_money

    saved = "" if day.saved_per_month is None else signed_money(day.saved_per_month, found.currency)
    return (
        f"{day.day:%Y-%m-%d}",
        f"{len(day.source_ids):,}",
        f"{day.row_count:,}",
        format_bytes(day.total_bytes),
        saved,
        f"{day.audience_count:,}",
    )
