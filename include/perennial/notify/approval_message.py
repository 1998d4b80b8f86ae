"""Message about a run that waits for approval (R21)."""

from __future__ import annotations

from perennial.notify.attachments import attached
from perennial.notify.message import Message
from perennial.notify.messages import BODY_ROWS, reference
from perennial.notify.pages import render
from perennial.reports import ApprovalReport
from perennial.text import pluralize


def approval_message(report: ApprovalReport) -> Message:
    """Build the message to one owner: what would expire, why the run asks, and where to approve or reject it."""
    sources = sorted(report.sources, key=lambda source: (source.name, source.source_id))
    text, html = render(
        "approval",
        report=report,
        sources=sources[:BODY_ROWS],
        source_count=len(sources),
        row_count=sum(source.row_count for source in sources),
        total_bytes=sum(source.total_bytes for source in sources),
        tone="warn",
    )
    return Message(
        reference=reference("approval", report.run_id, *(source.source_id for source in sources)),
        subject=f"Approval needed before {pluralize(len(sources), 'source')} of yours "
        f"expire{'s' if len(sources) == 1 else ''}",
        text=text,
        html=html,
        link=report.approve_url or report.run_url,
        attachments=attached("waiting-sources.csv", sources, BODY_ROWS, None),
    )
