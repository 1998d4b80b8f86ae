"""The forecast: what the daily runs of the next days will move if nothing changes, day by day (R1-R6, R19)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from perennial.audiences.impact import affected_sources
from perennial.cost import Objects, money, move_cost
from perennial.errors import TerminalRequestError
from perennial.moves.costs import hot_costs
from perennial.policy.decisions import Decisions, Rules, SyncedMetadata, WarehouseState, decide_from
from perennial.policy.holds import ends_by_source
from perennial.policy.preview import next_run_at
from perennial.policy.referrers import explain_unread
from perennial.tables import INTERACTIONS
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse
    from perennial.warehouse.files import SourceTotal

MOST_DAYS = 366


@dataclass(frozen=True)
class ForecastDay:
    """What the run of one day will move.

    Attributes:
        day: The day of the run.
        source_ids: The sources, in order.
        row_count: Their interactions.
        total_bytes: Size of their files.
        saved_per_month: What storing them costs less a month; negative if it costs more; None if the archive is not
            on S3.
        audience_count: Audiences that look at one of them.
    """

    day: date
    source_ids: tuple[str, ...]
    row_count: int
    total_bytes: int
    saved_per_month: Decimal | None
    audience_count: int


@dataclass(frozen=True)
class Forecast:
    """What the runs of some days will move.

    Attributes:
        days: The days on which something moves.
        until: The last moment that was looked at.
        undecided: Why nothing expires; empty if expiries are possible.
        currency: Of the savings.
    """

    days: tuple[ForecastDay, ...]
    until: datetime
    undecided: str
    currency: str

    @property
    def source_count(self) -> int:
        return sum(len(day.source_ids) for day in self.days)

    @property
    def row_count(self) -> int:
        return sum(day.row_count for day in self.days)

    @property
    def total_bytes(self) -> int:
        return sum(day.total_bytes for day in self.days)

    @property
    def saved_per_month(self) -> Decimal | None:
        """What storing all of it costs less a month; None if the archive is not on S3."""
        savings = [day.saved_per_month for day in self.days if day.saved_per_month is not None]
        return sum(savings, Decimal(0)) if savings else None

    def sentence(self) -> str:
        """Say it in one sentence."""
        if self.undecided:
            return f"Nothing expires at the moment. {self.undecided}"
        if not self.days:
            return f"Nothing expires until {self.until:%Y-%m-%d}."
        sources, rows = pluralize(self.source_count, "source"), pluralize(self.row_count, "interaction")
        saved = self.saved_per_month
        saving = "" if saved is None else f", and {describe_saving(saved, self.currency)} a month"
        return f"Until {self.until:%Y-%m-%d}, {rows} of {sources} expire{saving}, if nothing changes."


def describe_saving(amount: Decimal, currency: str) -> str:
    """Write a saving: `USD 1.20 is saved`, `USD 0.10 more is spent`."""
    return f"{money(amount, currency)} is saved" if amount >= 0 else f"{money(-amount, currency)} more is spent"


def forecast(warehouse: Warehouse, now: datetime, days: int) -> Forecast:
    """Work out what the daily runs will move, from what the warehouse knows now.

    Sources do not start, stop or send, nobody places or lifts a hold, and no audience changes: then the only thing that
    changes is the time. So the decisions at the end show which sources expire, and their clocks and holds show when.

    Args:
        warehouse: Where everything is.
        now: The moment it starts at.
        days: How many daily runs.

    Raises:
        TerminalRequestError: The number of days is not 1 to 366.
        TerminalSettingError: The price table cannot be used.
    """
    if not 1 <= days <= MOST_DAYS:
        raise TerminalRequestError(f"days is {days:,}; give 1 to {MOST_DAYS}.")
    until = next_run(now) + timedelta(days=days - 1)
    totals = warehouse.source_totals(INTERACTIONS.name)
    hot_rows = {source_id: total.row_count for source_id, total in totals.items()}
    metadata, state = SyncedMetadata.read(warehouse), WarehouseState.read(warehouse, (), hot_rows)
    rules = Rules.from_settings(warehouse)
    present, last = (decide_from(metadata, state, moment, rules) for moment in (now, until))
    by_day: dict[date, list[str]] = {}
    for source_id, due_at in _due(present, last, now).items():
        by_day.setdefault(next_run(due_at).date(), []).append(source_id)
    due = [name for names in by_day.values() for name in names]
    priced = hot_costs(warehouse, due)
    audiences = affected_sources(warehouse, due) if due else []
    found = []
    for day in sorted(by_day):
        names = set(by_day[day])
        objects = sum(priced.of(names).sources.values(), Objects())
        found.append(
            ForecastDay(
                day,
                tuple(sorted(names)),
                *_sums(totals, names),
                move_cost(priced.prices, priced.storage_class, objects).saved_per_month if priced.prices else None,
                sum(not names.isdisjoint(looked_at) for looked_at in audiences),
            )
        )
    currency = priced.prices.currency if priced.prices else "USD"
    return Forecast(tuple(found), until, explain_unread(last.unread_referrers), currency)


def next_run(moment: datetime) -> datetime:
    """Return the daily run at or after a moment."""
    return next_run_at(moment - timedelta.resolution)


def _due(present: Decisions, last: Decisions, now: datetime) -> dict[str, datetime]:
    """Find what is due by the end, and since when; what came late moves with the next run (R9)."""
    held_until = ends_by_source(present.holds)
    found = {}
    for row in last.rows.select(["source_id", "decision", "expires_at"]).to_pylist():
        if row["decision"] == "expire":
            moments = (now, row["expires_at"], held_until.get(row["source_id"], now))
            found[row["source_id"]] = max(moments)
        elif row["decision"] == "late":
            found[row["source_id"]] = now
    return found


def _sums(totals: Mapping[str, SourceTotal], source_ids: set[str]) -> tuple[int, int]:
    chosen = [totals[source_id] for source_id in source_ids]
    return sum(total.row_count for total in chosen), sum(total.total_bytes for total in chosen)
