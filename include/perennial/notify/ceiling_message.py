"""The message about a restore that waits for approval because it is above its ceiling. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial.notify.message import Message
from perennial.notify.pages import render
from perennial.text import bidi_isolate, one_line, pluralize

_NAMED_SOURCES = 20


@dataclass(frozen=True, kw_only=True)
class CeilingReport:
    """A restore that waits for a person, because it is above its ceiling (R23).

    Attributes:
        run_id: Run that waits.
        requested_by: Who asked for the restore.
        reason: Why, in the requester's words.
        requested_at: When the run was triggered.
        reasons: Why it waits.
        sources: Names of the sources that would come back, by id.
        row_count: Their interactions.
        total_bytes: Their size.
        cost: What it costs, as a sentence; empty where storage has no price.
        ends_at: When the wait ends as a rejection.
        notify: Who is notified.
        approve_url: Address at which it is approved or rejected; None where none is configured.
        run_url: Address of the run on Airflow's page.
        page_url: Address of the page; None where none is configured.
    """

    run_id: str
    requested_by: str
    reason: str
    requested_at: datetime
    reasons: tuple[str, ...]
    sources: Mapping[str, str]
    row_count: int
    total_bytes: int
    cost: str
    ends_at: datetime
    notify: tuple[str, ...] = ()
    approve_url: str | None = None
    run_url: str | None = None
    page_url: str | None = None


def ceiling_message(report: CeilingReport) -> Message:
    """Notify the requesters that somebody has to approve their restore, why, and where."""
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
        link=report.approve_url or report.run_url,
    )
