"""Messages about what is to come: sources that expire soon, and holds that end soon (R19, R20)."""

from __future__ import annotations

from perennial.notify.attachments import attached
from perennial.notify.message import Message
from perennial.notify.messages import BODY_ROWS, reference
from perennial.notify.notice_report import HoldsReport, NoticeReport
from perennial.notify.pages import render
from perennial.notify.restore_advice import hold_command
from perennial.text import bidi_isolate, day, one_line, pluralize


def notice_message(report: NoticeReport) -> Message:
    """Build the message to one owner: what expires soon and when, which audiences name it, and how to keep it."""
    sources = sorted(report.sources, key=lambda source: (source.ends_at, source.name, source.source_id))
    first = sources[0]
    text, html = render(
        "notice",
        report=report,
        sources=sources[:BODY_ROWS],
        source_count=len(sources),
        row_count=sum(source.row_count for source in sources),
        total_bytes=sum(source.total_bytes for source in sources),
        first_at=first.ends_at,
        last_at=sources[-1].ends_at,
        command=hold_command(first.source_id),
        tone="warn",
    )
    what = one_line(first.name or first.source_id) if len(sources) == 1 else pluralize(len(sources), "source")
    when = f"{'on' if first.ends_at == sources[-1].ends_at else 'from'} {day(first.ends_at)}"
    return Message(
        reference=reference("notice", report.run_id, *sorted(source.source_id for source in sources)),
        subject=f"Interaction data expires {when}: {bidi_isolate(what)}",
        text=text,
        html=html,
        link=report.run_url,
        attachments=attached("expiring-sources.csv", sources, BODY_ROWS, None),
    )


def ending_holds_message(report: HoldsReport) -> Message:
    """Build the message to who has placed holds that end soon."""
    holds = sorted(report.holds, key=lambda hold: (hold.ends_at, hold.hold_id))
    text, html = render("holds", report=report, holds=holds[:BODY_ROWS], hold_count=len(holds), tone="info")
    verb = "ends" if len(holds) == 1 else "end"
    return Message(
        reference=reference("holds", report.run_id, *(hold.hold_id for hold in holds)),
        subject=f"{pluralize(len(holds), 'hold')} of yours {verb} soon: {day(holds[0].ends_at)}",
        text=text,
        html=html,
        link=report.run_url,
    )
