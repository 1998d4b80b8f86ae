"""Who is told what: owners of expired sources one digest a run, requesters one e-mail a request (R12)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from perennial.cost import Fact
from perennial.errors import TerminalDeliveryError, TerminalSettingError, TransientDeliveryError
from perennial.lifecycle.costing import is_on_s3, run_costs
from perennial.lifecycle.expire import expiry_report
from perennial.lifecycle.requests import TO_RESTORE, read_resolution
from perennial.lifecycle.restore import abandon_restore, restore_report
from perennial.lifecycle.runs import Run, read_note, wall_clock
from perennial.lifecycle.thaw_notes import Thawing, end_thawing, write_thawing
from perennial.notify import (
    digests_by_owner,
    expiry_digest,
    refuse_bad_addresses,
    restore_message,
    send,
    sources_without_owner,
    thaw_message,
)
from perennial.outcomes import ExpiryReport, RestoreReport, ThawReport
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


def tell_owners(warehouse: Warehouse, run: Run, run_url: str | None = None) -> int:
    """Send every owner of a source that a run expired one digest; returns the digests sent."""
    report = replace(expiry_report(warehouse, run), run_url=run_url)
    digests = digests_by_owner(report)
    saved = _saved(warehouse, run, digests)
    for owner, digest in digests.items():
        send(expiry_digest(digest, saved[owner]), [owner])
    if nobody := sources_without_owner(report):
        log.warning("%d expired sources have no owner to tell, %r among them", len(nobody), nobody[0].source_id)
    return len(digests)


def _saved(warehouse: Warehouse, run: Run, digests: Mapping[str, ExpiryReport]) -> dict[str, Sequence[Fact]]:
    """What the move of each owner's sources saves; nothing to say of a local disk, nor without usable prices."""
    if not digests or not is_on_s3(warehouse):
        return dict.fromkeys(digests, ())
    try:
        costs = run_costs(warehouse, run.run_id)
        return {
            owner: costs.of([source.source_id for source in digest.sources]).facts()
            for owner, digest in digests.items()
        }
    except TerminalSettingError as error:
        # What has expired is to be told whether or not it can be priced.
        log.warning("Digests say nothing of costs: %s", error)
        return dict.fromkeys(digests, ())


def tell_of_thaw(
    warehouse: Warehouse, run: Run, request_uri: str, thawing: Thawing, run_url: str | None = None
) -> None:
    """Tell the requesters once how long their data thaws. That a mail cannot be sent holds nothing up."""
    if thawing.told:
        return
    request, sources = read_resolution(read_note(request_uri))
    report = ThawReport(
        run_id=run.run_id,
        requested_by=run.requested_by or "unknown",
        reason=request.reason,
        requested_at=run.requested_at or run.now,
        asked_at=datetime.fromisoformat(thawing.asked_at),
        expected_at=datetime.fromisoformat(thawing.expected_at),
        tier=thawing.expected_tier or thawing.tier,
        asked_tier=thawing.tier,
        frozen_as=thawing.frozen_as,
        total_bytes=thawing.total_bytes,
        names=tuple(source.name or source.source_id for source in sources if source.outcome == TO_RESTORE),
        notify=request.notify,
        run_url=run_url,
    )
    try:
        send(thaw_message(report), list(request.notify))
    except (TerminalDeliveryError, TransientDeliveryError) as error:
        # The data is worth more than the word of it; the last mail of the run fails visibly.
        log.warning("%s: nobody was told of the thaw: %s", run.run_id, error)
        return
    write_thawing(warehouse, replace(thawing, told=True))


@dataclass(frozen=True)
class Attempt:
    """How far a restore run came.

    Attributes:
        request_uri: Address of the checked request; None when it was refused.
        plan_uris: Addresses of its plans.
        error: What went wrong last, for a person; empty when nothing did.
        run_url: Address of the run on Airflow's page.
    """

    request_uri: str | None
    plan_uris: tuple[str, ...] = ()
    error: str = ""
    run_url: str | None = None


def tell_requesters(warehouse: Warehouse, run: Run, params: Mapping[str, Any], attempt: Attempt) -> RestoreReport:
    """Send the one e-mail of a request, finished or failed, and let go of what a failed one held back.

    Raises:
        TerminalRequestError: The addresses cannot be used, so nobody can be told.
        TransientDeliveryError: The mail server is down for now.
    """
    if attempt.request_uri is None:
        report = _refused(run, params, attempt.error)
    else:
        report = restore_report(warehouse, attempt.request_uri, run, wall_clock(), attempt.plan_uris)
        if report.state != "finished":
            report = replace(report, error=attempt.error or _details(report))
    for plan_uri in attempt.plan_uris:
        abandon_restore(warehouse, plan_uri)
    end_thawing(warehouse, run.run_id)
    report = replace(report, run_url=attempt.run_url)
    send(restore_message(report), list(report.notify))
    return report


def _details(report: RestoreReport) -> str:
    failed = [source for source in report.sources if source.outcome == "failed"]
    return "; ".join(f"{source.source_id!r}: {source.detail}" for source in failed)


def _refused(run: Run, params: Mapping[str, Any], error: str) -> RestoreReport:
    """The report of a request that was refused before anything moved, in the requester's own words."""
    notify = _texts(params.get("notify"))
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
