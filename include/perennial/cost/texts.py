"""The same figures in words, for e-mails, the command line and pages."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from perennial.cost.estimates import DAYS_A_MONTH, MoveCost, early_removal_cost, restore_cost
from perennial.cost.prices import STANDARD, PriceTable
from perennial.text import pluralize

_NEVER_MONTHS = 120
SAME_CLASS = f"No saving: the archive has the storage class of the hot table ({STANDARD})."


@dataclass(frozen=True)
class Fact:
    """One line: a label and a text."""

    label: str
    text: str


def money(amount: Decimal, currency: str) -> str:
    """Write an amount for a person: `USD 0.00`, `less than USD 0.01`, `USD 12.34`, `USD 1,235`.

    Raises:
        ValueError: It is negative; say what that means instead.
    """
    if amount < 0:
        raise ValueError(f"{amount} is negative.")
    if 0 < amount < Decimal("0.01"):
        return f"less than {currency} 0.01"
    return f"{currency} {amount:,.{0 if amount >= 1000 else 2}f}"


def signed_money(amount: Decimal, currency: str) -> str:
    """Write an amount that may be negative: `-USD 0.10`."""
    return f"-{money(-amount, currency)}" if amount < 0 else money(amount, currency)


def payback(months: Decimal | None) -> str:
    """Write how long a move takes to pay for its requests."""
    if months is None:
        return "never recovered"
    days = ceil(months * DAYS_A_MONTH)
    if days <= 60:
        return "recovered after a day" if days <= 1 else f"recovered after {days} days"
    return f"recovered after {f'{ceil(months)} months' if months <= _NEVER_MONTHS else 'more than 10 years'}"


def move_facts(prices: PriceTable, cost: MoveCost) -> list[Fact]:
    """Describe what data in the archive instead of STANDARD saves per month, cost once, and costs to restore."""
    if cost.price.name == STANDARD:
        return [Fact("Each month", SAME_CLASS)]
    by = Fact("Prices", f"an estimate, from the price table of {prices.region} as of {prices.as_of:%-d %b %Y}")
    return [Fact("Each month", _monthly(cost, prices)), Fact("The move", _once(cost, prices)), _back(prices, cost), by]


def _monthly(cost: MoveCost, prices: PriceTable) -> str:
    hot, archive = money(cost.hot_per_month, prices.currency), money(cost.archive_per_month, prices.currency)
    instead = f"{archive} in {cost.price.name} instead of {hot} in {STANDARD}"
    if cost.saved_per_month >= 0:
        return f"{money(cost.saved_per_month, prices.currency)} saved: {instead}"
    return f"{money(-cost.saved_per_month, prices.currency)} more than before: {instead}, {_why_more_expensive(cost)}"


def _why_more_expensive(cost: MoveCost) -> str:
    files = pluralize(cost.objects.count, "file")
    if cost.objects.small_count:
        least = f"{cost.price.minimum_object_bytes / 1024:,.0f} KiB"
        are = "is" if cost.objects.small_count == 1 else "are"
        return f"because {cost.objects.small_count:,} of {files} {are} billed as {least}"
    overhead = (cost.price.overhead_bytes + cost.price.overhead_standard_bytes) / 1024
    return f"because each of {files} is billed with {overhead:,.0f} KiB more than it holds"


def _once(cost: MoveCost, prices: PriceTable) -> str:
    return f"{money(cost.move_once, prices.currency)} once, for requests; {payback(cost.months_to_repay)}"


def _back(prices: PriceTable, cost: MoveCost) -> Fact:
    price = cost.price
    tier = "Standard" if "Standard" in price.thaw else next(iter(price.thaw), "Standard")
    restore = restore_cost(prices, price.name, cost.objects, price.minimum_days, tier)
    text = f"{money(restore.once, prices.currency)} once, for requests and retrieval"
    if price.thaw:
        text += f" in tier {tier}"
    if price.minimum_days:
        early = money(early_removal_cost(prices, price, cost.objects, 0), prices.currency)
        text += f"; within {price.minimum_days} days of the move up to {early} more"
    return Fact("To bring back", text)
