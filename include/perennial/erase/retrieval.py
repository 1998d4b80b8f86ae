"""When cold files are retrieved for erasures, and what that costs: one retrieval for all requests of a period (R22)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.cost import count_objects, money, restore_cost
from perennial.erase.open_requests import RequestState
from perennial.moves.costs import price_table
from perennial.moves.thaw import Files, thaw_files
from perennial.notify import DeliveryRecord, Letter, deliver
from perennial.notify.delivery import ERASURE
from perennial.notify.erasure_message import found_message
from perennial.notify.erasure_report import FoundReport
from perennial.operations import Run, wall_clock
from perennial.reports import BULK

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


# Half of the time that a request has: the rest is enough for two thaws in the slowest tier, and for a person to act.
_WAITING_SHARE = 0.5


def retrieve_at(states: Iterable[RequestState]) -> datetime:
    """Return when the cold files of some requests are retrieved: when the first of them has waited long enough."""
    return min(state.requested_at + (state.due_at - state.requested_at) * _WAITING_SHARE for state in states)


def retrieval_cost(warehouse: Warehouse, sizes: Collection[int]) -> str:
    """Estimate what a retrieval of archived files costs, as a sentence; empty where storage has no price.

    Raises:
        TerminalSettingError: The price table cannot be used.
    """
    prices = price_table(warehouse)
    name = warehouse.settings.archive_storage_class
    if prices is None or name is None or not sizes:
        return ""
    price = prices.storage_class(name)
    tier = BULK if BULK in price.thaw else next(iter(price.thaw), "")
    once = restore_cost(prices, name, count_objects(list(sizes), price), price.minimum_days, tier).once
    return (
        f"About {money(once, prices.currency)} for requests and retrieval in tier {tier}. The files are written anew, "
        f"so what is left of the minimum duration of {name} ({price.minimum_days} days) is billed besides."
    )


def request_retrieval(
    warehouse: Warehouse, run: Run, batch_uri: str, cold: Files, states: Sequence[RequestState], now: bool = False
) -> bool:
    """Request cold files for all requests that wait, if the first of them has waited long enough.

    Args:
        warehouse: Where.
        run: The run.
        batch_uri: Address of its batch.
        cold: Source and size of the files, by address.
        states: The requests.
        now: Whether somebody does not want to wait.

    Returns:
        Whether they have been requested, by this run or by an earlier one whose thaw is under way.
    """
    if now or wall_clock() >= retrieve_at(states):
        thaw_files(warehouse, run, [(batch_uri.removesuffix(".json"), cold)], BULK)
        return True
    return False


def report_found(warehouse: Warehouse, report: FoundReport, notify: Iterable[str]) -> None:
    """Notify people of what was found and what a retrieval costs, once for the same news."""
    recipients = (*warehouse.settings.erasure_notify, *notify)
    if to := tuple({address.casefold(): address for address in recipients}.values()):
        letter = Letter(message=found_message(report), to=to)
        delivery = deliver(DeliveryRecord.of(warehouse, ERASURE, "found"), [letter])
        # The erasure matters more than this e-mail.
        delivery.accept_gaps(report.run_id)
