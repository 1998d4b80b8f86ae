"""The message about archived files that cannot be restored. Nothing here sends anything."""

from __future__ import annotations

from perennial.notify.message import Message
from perennial.notify.messages import BODY_ROWS, reference
from perennial.notify.pages import render
from perennial.reports import ArchiveReport
from perennial.text import bidi_isolate, one_line, pluralize


def archive_message(report: ArchiveReport) -> Message:
    """Build the message on what a check of the archive has found wrong, and what to do."""
    headline = _headline(report)
    text, html = render(
        "archive",
        report=report,
        headline=headline,
        files=report.damaged[:BODY_ROWS],
        file_count=len(report.damaged),
        error=report.drill.error if report.drill else "",
        tone="bad",
    )
    return Message(
        reference=reference(
            "archive", report.run_id, report.drill and report.drill.error, *sorted(f.file_uri for f in report.damaged)
        ),
        subject=headline,
        text=text,
        html=html,
        link=report.run_url,
    )


def _headline(report: ArchiveReport) -> str:
    if not report.damaged:
        assert report.drill is not None
        return f"The restore of {bidi_isolate(one_line(report.drill.source_id))} failed in a drill"
    names = {file.source_id: file.source_name or file.source_id for file in report.damaged}
    what = one_line(next(iter(names.values()))) if len(names) == 1 else pluralize(len(names), "source")
    files = pluralize(len(report.damaged), "archived file")
    return f"{files} of {bidi_isolate(what)} cannot be restored"
