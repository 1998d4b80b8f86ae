"""The messages about erasures (R22). Nothing here sends anything, and nothing here names a person."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.notify.erasure_report import ConcernsReport, FoundReport, Receipt
from perennial.notify.links import erasure_link
from perennial.notify.message import Attachment, Message
from perennial.notify.messages import BODY_ROWS, reference
from perennial.notify.pages import render
from perennial.text import day, pluralize

# With more receipts, one file holds all of them.
_MOST_FILES = _NAMED = 20


def receipts_message(receipts: Sequence[Receipt]) -> Message:
    """Build the message at the end of requests, to one recipient, with the receipts to be filed as text files."""
    first, count = receipts[0], len(receipts)
    people = pluralize(sum(receipt.person_count for receipt in receipts), "person", "people")
    headline = f"Erasure of {people} completed and verified"
    template = "erasure" if count == 1 else "erasures"
    text, html = render(
        template,
        receipt=first,
        receipts=receipts[:BODY_ROWS],
        receipt_count=count,
        headline=headline,
        mailed=True,
        tone="good",
    )
    filed = [(f"erasure-receipt-{receipt.request_id}.txt", receipt_text(receipt)) for receipt in receipts]
    if count > _MOST_FILES:
        filed = [("erasure-receipts.txt", "\f".join(text for _, text in filed))]
    return Message(
        reference=reference("erasure", "", *(receipt.request_id for receipt in receipts)),
        subject=f"Erasure completed: {f'request {first.request_id}' if count == 1 else f'{count:,} requests'}",
        text=text,
        html=html,
        title_elsewhere=headline,
        link=first.run_url,
        attachments=tuple(
            Attachment(filename=name, media_type="text/plain", content=content.encode("utf-8", "backslashreplace"))
            for name, content in filed
        ),
    )


def receipt_text(receipt: Receipt) -> str:
    """Return the receipt as it is filed: the same words as in the e-mail."""
    headline = "Receipt of an erasure of personal data"
    return render("erasure", receipt=receipt, headline=headline, mailed=False, tone="good")[0]


def found_message(report: FoundReport) -> Message:
    """Build the message on what an erasure will remove, sent before files are retrieved, and after a dry run."""
    people = pluralize(report.person_count, "person", "people")
    headline = (
        f"Dry run: what an erasure of {people} would remove"
        if report.dry_run
        else f"Erasure of {people} waits for {pluralize(report.cold_file_count, 'file')} in cold storage"
    )
    text, html = render(
        "erasure_found", report=report, headline=headline, request_ids=report.request_ids[:_NAMED], tone="info"
    )
    news = (
        report.run_id if report.dry_run else "",
        report.cold_file_count,
        report.is_requested,
        *sorted(report.request_ids),
    )
    return Message(
        reference=reference("erasure-found", "", *news),
        subject=headline,
        text=text,
        html=html,
        link=report.run_url,
    )


def concerns_message(report: ConcernsReport) -> Message:
    """Build the message on requests that need a person: to approve, late, or not verified."""
    count = len(report.concerns)
    headline = f"{pluralize(count, 'erasure request')} {'needs' if count == 1 else 'need'} attention"
    concerns = [(concern, erasure_link(report.page_url, concern.request_id)) for concern in report.concerns[:BODY_ROWS]]
    text, html = render("erasure_concerns", report=report, headline=headline, concerns=concerns, tone="warn")
    news = sorted((concern.request_id, concern.what) for concern in report.concerns)
    return Message(
        reference=reference("erasure-concerns", "", *news),
        subject=f"{headline}: first deadline {day(min(concern.due_at for concern in report.concerns))}",
        text=text,
        html=html,
        link=report.run_url,
    )
