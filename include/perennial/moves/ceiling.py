"""The ceiling of a restore: above `max_cost` or `max_bytes` it waits for a person before anything moves (R23)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from perennial.cost import money
from perennial.errors import TerminalRequestError
from perennial.moves.costs import RestorePrice, price_table, restore_price
from perennial.moves.requests import RestoreRequest, read_request
from perennial.notify import DeliveryRecord, Letter, deliver
from perennial.notify.ceiling_message import CeilingReport, ceiling_message
from perennial.notify.delivery import CEILING
from perennial.operations import Run, wall_clock
from perennial.tables import INTERACTIONS_ARCHIVE
from perennial.text import exact_size, format_bytes, markdown_text, moment, pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


# Without an answer for this long, a restore is rejected.
ANSWER_WITHIN = timedelta(days=7)
_CURRENCY = "USD"
_NAMED = 20


def refuse_unusable_ceiling(warehouse: Warehouse, request: RestoreRequest) -> None:
    """Refuse a ceiling that cannot be compared with anything.

    Raises:
        TerminalRequestError: It is in USD, and the prices are in another currency.
        TerminalSettingError: The price table cannot be used.
    """
    prices = price_table(warehouse) if request.max_cost is not None else None
    if prices is not None and prices.currency != _CURRENCY:
        raise TerminalRequestError(
            f"max_cost is {request.max_cost:g} USD, but the price table {prices.path} is in {prices.currency}; leave "
            "max_cost out and give max_bytes, or set PERENNIAL_PRICES to a table in USD. Nothing was moved."
        )


def ceiling_report(warehouse: Warehouse, request_uri: str, run: Run) -> CeilingReport | None:
    """Compare what a request brings back with its ceiling; None if it stays below, has none, or is a dry run."""
    resolved = read_request(request_uri)
    request = resolved.request
    if request.dry_run or (request.max_cost is None and request.max_bytes is None):
        return None
    coming = {source.source_id: source for source in resolved.coming}
    totals = warehouse.source_totals(INTERACTIONS_ARCHIVE.name, coming)
    total_bytes = sum(total.total_bytes for total in totals.values())
    price = restore_price(warehouse, coming, request.thaw_tier) if coming else None
    reasons = _reasons(request, total_bytes, price)
    if not reasons:
        return None
    return CeilingReport(
        run_id=run.run_id,
        requested_by=run.requested_by or "unknown",
        reason=request.reason,
        requested_at=run.requested_at or run.now,
        reasons=reasons,
        sources={source_id: source.name for source_id, source in coming.items()},
        row_count=sum(source.archived_rows for source in coming.values()),
        total_bytes=total_bytes,
        cost=price.sentence if price else "",
        ends_at=wall_clock() + ANSWER_WITHIN,
        notify=request.notify,
    )


def refuse_above_ceiling(warehouse: Warehouse, request_uri: str, run: Run) -> None:
    """Refuse a request above its ceiling, where nobody can approve it.

    Raises:
        TerminalRequestError: Says what it would bring back, and at what cost.
    """
    if (report := ceiling_report(warehouse, request_uri, run)) is not None:
        raise TerminalRequestError(
            f"{' '.join(report.reasons)} Nothing was moved. Raise the ceiling or leave it out; a run of the DAG "
            "waits for approval instead."
        )


def subject(report: CeilingReport) -> str:
    """Ask the question in a sentence."""
    sources = pluralize(len(report.sources), "source")
    return f"Approve the restore of {sources} ({format_bytes(report.total_bytes)}), which is above its ceiling?"


def body(report: CeilingReport) -> str:
    """Write what a person needs to know to answer, as Markdown."""
    ids = list(report.sources)
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    named = ", ".join(
        f"{markdown_text(report.sources[source_id] or source_id)} ({markdown_text(source_id)})"
        for source_id in ids[:_NAMED]
    )
    lines = [
        "Nothing has been moved. " + " ".join(map(markdown_text, report.reasons)),
        f"Sources: {named}{more}",
        f"Interactions: {report.row_count:,}, {exact_size(report.total_bytes)}",
        *([f"Cost: {markdown_text(report.cost)}"] if report.cost else []),
        f"Requested by: {markdown_text(report.requested_by)}",
        *([f"Reason: {markdown_text(report.reason)}"] if report.reason else []),
        f"Approve: the restore goes on. Reject, or no answer by {moment(report.ends_at)}: nothing is moved, and the "
        "sources stay expired exactly as before.",
    ]
    return "\n\n".join(lines)


def notify_of_ceiling(
    warehouse: Warehouse, report: CeilingReport, approve_url: str | None, run_url: str | None, page_url: str | None
) -> None:
    """Notify the requesters once that a restore waits for approval; an e-mail that cannot be sent delays nothing."""
    report = replace(report, approve_url=approve_url, run_url=run_url, page_url=page_url)
    letter = Letter(message=ceiling_message(report), to=report.notify)
    delivery = deliver(DeliveryRecord.of(warehouse, CEILING, report.run_id), [letter])
    delivery.accept_gaps(report.run_id)


def _reasons(request: RestoreRequest, total_bytes: int, price: RestorePrice | None) -> tuple[str, ...]:
    reasons = []
    if request.max_bytes is not None and total_bytes > request.max_bytes:
        reasons.append(
            f"The restore brings back {exact_size(total_bytes)}, and max_bytes is {exact_size(request.max_bytes)}."
        )
    if request.max_cost is not None and price is not None and price.total > Decimal(str(request.max_cost)):
        limit = money(Decimal(str(request.max_cost)), price.currency)
        reasons.append(f"The restore costs {money(price.total, price.currency)}, and max_cost is {limit}.")
    return tuple(reasons)
