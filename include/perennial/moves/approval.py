"""What a person is shown before a run that moves unusually much goes on, and who is notified of it (R21)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from perennial.moves.expire import DecidedExpiry, expiry_report
from perennial.moves.forecast import next_run
from perennial.notify.approval_message import approval_message
from perennial.notify.delivery import APPROVAL, DeliveryRecord, deliver
from perennial.notify.message import Letter
from perennial.notify.messages import digests_by_owner, sources_without_owner
from perennial.operations import OperationStore, Run, wall_clock
from perennial.reports import ApprovalReport
from perennial.text import markdown_text, pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse


# An answer in the last minutes would still be under way when the next run begins.
_MARGIN = timedelta(minutes=30)
_SHOWN = 50


@dataclass(frozen=True)
class Question:
    """What a person is asked.

    Attributes:
        subject: One sentence.
        body: Markdown: why it is asked, what would expire, what to do.
        wait: How long to wait for the answer; then it is a rejection.
        report: The same for e-mails.
    """

    subject: str
    body: str
    wait: timedelta
    report: ApprovalReport


def question(warehouse: Warehouse, decided_uri: str, run: Run) -> Question | None:
    """Build the question about what a run decided; None where nobody has to be asked."""
    reasons = tuple(OperationStore.get(decided_uri).get("reasons", ()))
    if not reasons:
        return None
    expiring = expiry_report(warehouse, run, DecidedExpiry(decided_uri, {}))
    now = wall_clock()
    ends_at = _end(now)
    report = ApprovalReport(
        run_id=run.run_id, as_of=run.now, sources=expiring.sources, reasons=reasons, ends_at=ends_at
    )
    rows = sum(source.row_count for source in report.sources)
    subject = (
        f"Approve that {pluralize(rows, 'interaction')} of {pluralize(len(report.sources), 'source')} move to "
        "long-term storage?"
    )
    return Question(subject, _body(report), ends_at - now, report)


def notify_of_question(warehouse: Warehouse, report: ApprovalReport) -> int:
    """Notify every owner whose sources wait for approval; an e-mail that cannot be sent delays nothing.

    Returns:
        How many owners have an e-mail.
    """
    letters = [Letter(message=approval_message(part), to=(to,)) for to, part in digests_by_owner(report).items()]
    owners = [(source.owner_email or "").strip() for source in sources_without_owner(report)]
    ownerless = {owner: f"Approval needed for {pluralize(owners.count(owner), 'source')}" for owner in owners}
    delivery = deliver(DeliveryRecord.of(warehouse, APPROVAL, report.run_id), letters, ownerless)
    delivery.accept_gaps(report.run_id)
    return len(delivery.delivered)


def _end(now: datetime) -> datetime:
    end = next_run(now) - _MARGIN
    return end if end > now else end + timedelta(days=1)


def _body(report: ApprovalReport) -> str:
    lines = ["Nothing has been moved. " + " ".join(report.reasons), ""]
    lines += ["| source | interactions | why |", "|---|---|---|"]
    largest = sorted(report.sources, key=lambda source: (-source.row_count, source.source_id))
    for source in largest[:_SHOWN]:
        cells = (f"{source.name} ({source.source_id})", f"{source.row_count:,}", source.reason)
        lines.append("| " + " | ".join(map(markdown_text, cells)) + " |")
    if more := len(largest) - _SHOWN:
        lines += ["", f"{more:,} more: the table `expiry_decisions` has them all."] if more > 0 else []
    lines += [
        "",
        "Approve: exactly these move, less what is not due any more by then. Reject, or no answer by "
        f"{report.ends_at:%Y-%m-%d %H:%M} UTC: nothing moves, and the next daily run decides anew. To keep a single "
        "source, hold it first (`perennial hold SOURCE --reason WHY`), then approve.",
    ]
    return "\n".join(lines)
