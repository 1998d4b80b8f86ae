"""Which requests need a person, and who is warned before a deadline is missed (R22)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.erase.open_requests import RequestState, request_states
from perennial.erasures import read_request
from perennial.notify import DeliveryRecord, Letter, deliver
from perennial.notify.delivery import ERASURE
from perennial.notify.erasure_message import concerns_message
from perennial.notify.erasure_report import Concern, ConcernsReport
from perennial.operations import Run, wall_clock
from perennial.text import day, pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


# The last part of a request's time, in which people are warned.
WARNED_SHARE = 0.25
_RUNBOOK = "docs/runbooks/erasure.md says what to do."
_WAITS_FOR = {
    "requested": "No run has opened it",
    "approved": "No run has begun it",
    "located": "It was located, but not removed",
    "waiting": "It waits for files in cold storage",
    "removed": "It was removed from the tables, but their earlier files are not purged",
    "purged": "It was removed, but not verified",
}


def find_concerns(states: Iterable[RequestState], now: datetime) -> list[Concern]:
    """List the requests that need a person, the most urgent first: to be approved, due soon, or late."""
    found = [concern for state in states if not state.is_over and (concern := _concern(state, now))]
    return sorted(found, key=lambda concern: (concern.due_at, concern.request_id))


def is_late(state: RequestState, now: datetime) -> bool:
    """Whether a request has missed its deadline."""
    return not state.is_over and now >= state.due_at


def is_urgent(state: RequestState, now: datetime) -> bool:
    """Whether a request is in the last part of its time, in which somebody is warned, or late."""
    return not state.is_over and now >= state.due_at - (state.due_at - state.requested_at) * WARNED_SHARE


def what_waits(state: RequestState) -> str:
    """Say in a sentence what a request waits for; empty if it is over."""
    if state.needs_decision:
        return "Somebody has to approve or refuse it."
    return "" if state.is_over else f"{_WAITS_FOR[state.state]}."


def give_warning(
    warehouse: Warehouse,
    run: Run,
    run_url: str | None = None,
    page_url: str | None = None,
    last_attempt: bool = False,
) -> list[Concern]:
    """Notify the people whom requests need; they get an e-mail only if it has news, or if a request is late.

    Args:
        warehouse: Whose requests they are.
        run: The run.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page.
        last_attempt: Whether there is no further attempt.

    Returns:
        The requests that need a person.

    Raises:
        TransientDeliveryError: The server refused somebody temporarily, and there is another attempt.
    """
    concerns = find_concerns(request_states(warehouse), wall_clock())
    report = ConcernsReport(concerns=tuple(concerns), run_id=run.run_id, run_url=run_url, page_url=page_url)
    letters = [
        Letter(message=concerns_message(replace(report, concerns=tuple(own))), to=(to,))
        for to, own in _by_recipient(warehouse, concerns).items()
    ]
    # No address is known of anybody who could approve a request of the platform.
    nobody = {} if letters or not concerns else {"": concerns_message(report).subject}
    # One record for all runs: an e-mail without news is not sent again.
    delivery = deliver(DeliveryRecord.of(warehouse, ERASURE, "concerns"), letters, nobody)
    delivery.accept_gaps(run.run_id, last_attempt)
    return concerns


def _concern(state: RequestState, now: datetime) -> Concern | None:
    if is_late(state, now):
        what = f"Its deadline has passed, {pluralize((now - state.due_at).days, 'day')} ago."
    elif is_urgent(state, now):
        what = f"Its deadline is {day(state.due_at)}."
    elif state.needs_decision:
        what = f"The messaging platform asks to erase {pluralize(len(state.hashes), 'person', 'people')}."
    else:
        return None
    if state.needs_decision:
        remedy = (
            f"Approve it on its page or with `perennial erase --approve {state.request_id}`, or refuse it there or "
            f"with `perennial erase --refuse {state.request_id} --reason WHY`: until then nothing is removed."
        )
    else:
        remedy = f"{what_waits(state)} {_RUNBOOK}"
    return Concern(
        request_id=state.request_id, due_at=state.due_at, what=what, remedy=remedy, is_late=is_late(state, now)
    )


def _by_recipient(warehouse: Warehouse, concerns: Iterable[Concern]) -> dict[str, list[Concern]]:
    found: dict[str, list[Concern]] = {}
    for concern in concerns:
        request = read_request(warehouse, concern.request_id)
        notify = (*warehouse.settings.erasure_notify, *(request.notify if request else ()))
        for to in {address.casefold(): address for address in notify}.values():
            found.setdefault(to, []).append(concern)
    return found
