"""The message about a restore that has to wait for cold storage. Nothing here sends anything."""

from __future__ import annotations

from perennial.notify.message import Message
from perennial.notify.pages import render
from perennial.reports import THAW_TIMES, ThawReport, longest_thaw
from perennial.text import bidi_isolate, one_line, pluralize, span

_NAMED_SOURCES = 20


def thaw_message(report: ThawReport) -> Message:
    """Tell the requesters how long it takes until their data is back, as soon as that is known."""
    named = list(report.sources.items())
    only = named[0][1] or named[0][0] if len(named) == 1 else ""
    what = one_line(only) if only else pluralize(len(named), "source")
    slowest = max(report.frozen_as, key=lambda name: longest_thaw([name], report.tier))
    longest = span(*THAW_TIMES[slowest, report.tier])
    slower = ""
    if report.asked_tier not in ("", report.tier):
        slower = f"requested in tier {report.asked_tier}, but another run may be thawing some files in a slower tier"
    text, html = render(
        "thaw",
        report=report,
        headline=f"{what} {'is' if len(named) == 1 else 'are'} being thawed: {longest}",
        longest=longest,
        slower=slower,
        file_count=sum(report.frozen_as.values()),
        classes=[
            (name, files, span(*THAW_TIMES[name, report.tier])) for name, files in sorted(report.frozen_as.items())
        ],
        sources=named[:_NAMED_SOURCES],
        source_count=len(named),
        tone="info",
    )
    return Message(
        reference=f"thaw:{report.run_id}",
        subject=f"Restore is thawing: {bidi_isolate(what)}, {longest}",
        text=text,
        html=html,
        link=report.run_url,
    )
