"""Who is notified: owners of expired sources by one digest per run, requesters by one e-mail per request (R12)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from perennial.cost import Fact
from perennial.errors import TerminalSettingError
from perennial.moves.cancellation import find_cancellation
from perennial.moves.costs import is_on_s3, run_costs
from perennial.moves.expire import expiry_report
from perennial.moves.recovery import abandon_restores
from perennial.moves.requests import read_request
from perennial.moves.restore import restore_report
from perennial.moves.restore_start import note_end
from perennial.moves.thaw_status import ThawStatus, end_thaw, write_thaw_status
from perennial.notify import (
    Delivery,
    DeliveryRecord,
    Letter,
    deliver,
    digests_by_owner,
    expiry_digest,
    is_address,
    refuse_bad_addresses,
    restore_message,
    sources_without_owner,
    thaw_message,
)
from perennial.notify.delivery import EXPIRY, RESTORE, THAW
from perennial.operations import Run, wall_clock
from perennial.reports import ExpiryReport, RestoreReport, ThawReport
from perennial.text import pluralize
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


def notify_owners(
    warehouse: Warehouse,
    run: Run,
    run_url: str | None = None,
    page_url: str | None = None,
    last_attempt: bool = False,
) -> int:
    """Send every owner of a source that a run expired one digest, once.

    An owner who cannot be reached fails no run: the page and `perennial status` list them.

    Args:
        warehouse: Where the run worked.
        run: The run.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
        last_attempt: Whether there is no further attempt.

    Returns:
        How many owners have their digest.

    Raises:
        TransientDeliveryError: The server refused somebody temporarily, and there is another attempt.
    """
    report = replace(expiry_report(warehouse, run), run_url=run_url, page_url=page_url)
    digests = digests_by_owner(report)
    saved = _saved(warehouse, run, digests)
    letters = [Letter(message=expiry_digest(digest, saved[owner]), to=(owner,)) for owner, digest in digests.items()]
    nobody = Counter((source.owner_email or "").strip() for source in sources_without_owner(report))
    unaddressed = {owner: f"{pluralize(number, 'source')} expired" for owner, number in nobody.items()}
    delivery = deliver(DeliveryRecord.of(warehouse, EXPIRY, run.run_id), letters, unaddressed)
    delivery.accept_gaps(run.run_id, last_attempt)
    return len(delivery.delivered)


def _saved(warehouse: Warehouse, run: Run, digests: Mapping[str, ExpiryReport]) -> dict[str, Sequence[Fact]]:
    """Say what the move of each owner's sources saves; nothing on a local disk, or without usable prices."""
    if not digests or not is_on_s3(warehouse):
        return dict.fromkeys(digests, ())
    try:
        costs = run_costs(warehouse, run.run_id)
        return {
            owner: costs.of([source.source_id for source in digest.sources]).facts()
            for owner, digest in digests.items()
        }
    except TerminalSettingError as error:
        # Owners are notified of what has expired even if its costs are unknown.
        log.warning("Digests do not mention costs: %s", error)
        return dict.fromkeys(digests, ())


def notify_of_thaw(
    warehouse: Warehouse,
    run: Run,
    request_uri: str,
    thawing: ThawStatus,
    run_url: str | None = None,
    page_url: str | None = None,
) -> None:
    """Notify the requesters once of how long the thaw takes. An e-mail that cannot be sent delays nothing."""
    if thawing.requesters_notified:
        return
    resolved = read_request(request_uri)
    report = ThawReport(
        run_id=run.run_id,
        requested_by=run.requested_by or "unknown",
        reason=resolved.request.reason,
        requested_at=run.requested_at or run.now,
        asked_at=datetime.fromisoformat(thawing.asked_at),
        expected_at=datetime.fromisoformat(thawing.expected_at),
        tier=thawing.expected_tier or thawing.tier,
        asked_tier=thawing.tier,
        frozen_as=thawing.frozen_as,
        total_bytes=thawing.total_bytes,
        sources={source.source_id: source.name for source in resolved.coming},
        notify=resolved.request.notify,
        run_url=run_url,
        page_url=page_url,
    )
    letter = Letter(message=thaw_message(report), to=resolved.request.notify)
    delivery = deliver(DeliveryRecord.of(warehouse, THAW, run.run_id), [letter])
    # The restore matters more than this e-mail; if the last e-mail of the run fails too, its task fails.
    delivery.accept_gaps(run.run_id)
    if not delivery.is_worth_repeating:
        write_thaw_status(warehouse, replace(thawing, requesters_notified=True))


@dataclass(frozen=True)
class Attempt:
    """How far a restore run came.

    Attributes:
        request_uri: Address of the checked request; None if it was refused.
        plan_uris: Addresses of its plans.
        error: The last error, for a person; empty if there was none.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
    """

    request_uri: str | None
    plan_uris: tuple[str, ...] = ()
    error: str = ""
    run_url: str | None = None
    page_url: str | None = None


def notify_requesters(warehouse: Warehouse, run: Run, params: Mapping[str, Any], attempt: Attempt) -> RestoreReport:
    """As `send_report`, but fail unless everybody has the e-mail.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody can be notified.
        TransientDeliveryError: The server refused somebody temporarily; the next attempt sends nobody a second e-mail.
        TerminalDeliveryError: The server refused somebody permanently.
    """
    report, delivery = send_report(warehouse, run, params, attempt)
    delivery.refuse_gaps()
    return report


def send_report(
    warehouse: Warehouse, run: Run, params: Mapping[str, Any], attempt: Attempt
) -> tuple[RestoreReport, Delivery]:
    """Send the one e-mail of a finished or failed request, and give up moves of a failed one that moved nothing.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody can be notified.
    """
    if attempt.request_uri is None:
        report = _refused(run, params, attempt.error)
        if (cancellation := find_cancellation(warehouse, run.run_id)) is not None:
            report = replace(report, state="cancelled", error="", cancelled=str(cancellation))
    else:
        report = restore_report(warehouse, attempt.request_uri, run, wall_clock(), attempt.plan_uris)
        if report.state not in ("finished", "cancelled"):
            report = replace(report, error=attempt.error or _details(report))
    abandon_restores(warehouse, attempt.plan_uris)
    end_thaw(warehouse, run.run_id)
    note_end(warehouse, run.run_id)
    report = replace(report, run_url=attempt.run_url, page_url=attempt.page_url)
    letter = Letter(message=restore_message(report), to=report.notify)
    return report, deliver(DeliveryRecord.of(warehouse, RESTORE, run.run_id), [letter])


def _details(report: RestoreReport) -> str:
    failed = [source for source in report.sources if source.outcome == "failed"]
    return "; ".join(f"{source.source_id!r}: {source.detail}" for source in failed)


def _refused(run: Run, params: Mapping[str, Any], error: str) -> RestoreReport:
    """The report of a request that was refused before anything moved, in the requester's own words."""
    notify = _texts(params.get("notify"))
    # An invalid address may be the reason for the refusal; people with valid addresses get the e-mail.
    if not any(map(is_address, notify)):
        refuse_bad_addresses(notify)
    return RestoreReport(
        run_id=run.run_id,
        requested_by=run.requested_by or "unknown",
        reason=str(params.get("reason") or ""),
        requested_at=run.requested_at or run.now,
        finished_at=wall_clock(),
        state="failed",
        source_ids=_texts(params.get("source_ids")),
        tags=_texts(params.get("tags")),
        notify=notify,
        error=error or "The request could not be checked; the run's log says why.",
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()
