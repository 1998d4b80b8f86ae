"""The message about a restore that waits for approval because it is above its ceiling. Nothing here sends anything."""

from __future__ import annotations

from perennial.notify.message import Message
from perennial.notify.pages import render
from perennial.reports import CeilingReport
from perennial.text import bidi_isolate, one_line, pluralize

_NAMED_SOURCES = 20


def ceiling_message(report: CeilingReport) -> Message:
    """Tell the requesters that somebody has to approve their restore, why, and where."""
    named = list(report.sources.items())
    what = one_line(named[0][1] or named[0][0]) if len(named) == 1 else pluralize(len(named), "source")
    text, html = render(
        "ceiling",
        report=report,
        headline=f"The restore of {what} waits for approval",
        sources=named[:_NAMED_SOURCES],
        source_count=len(named),
        tone="warn",
    )
    return Message(
        reference=f"ceiling:{report.run_id}",
        subject=f"Restore waits for approval: {bidi_isolate(what)}",
        text=text,
        html=html,
    )
