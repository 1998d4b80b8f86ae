"""The message about a User data file that somebody requested. Nothing here sends anything."""

from __future__ import annotations

import shlex

from perennial.notify.links import source_link
from perennial.notify.message import Message
from perennial.notify.messages import reference
from perennial.notify.pages import render
from perennial.notify.restore_advice import restore_advice
from perennial.reports import ExportReport
from perennial.settings import dag_id
from perennial.text import bidi_isolate, one_line, pluralize, visible_json


def export_message(report: ExportReport) -> Message:
    """Build the message that says where the file is; or why there is none, and which commands help."""
    written = report.file_uri is not None
    restore = None
    if report.missing in ("expired", "archived"):
        restore = restore_advice(report.page_url, [report.source_id], (), report.notify)
    text, html = render(
        "export",
        report=report,
        written=written,
        error_lines=report.error.strip().splitlines(),
        restore=restore,
        # Deleted data never comes back, and so the same request never succeeds.
        again=_export_again(report) if report.source_id and report.missing != "deleted" else None,
        again_url=source_link(report.page_url, report.source_id),
        tone="good" if written else "bad",
    )
    what = bidi_isolate(one_line(report.name or report.source_id))
    users = pluralize(report.user_count, "user")
    return Message(
        reference=reference("export", report.run_id, report.file_uri, report.error),
        subject=f"User data: {what}, {users}" if written else f"User data export failed: {what}",
        text=text,
        html=html,
        link=report.run_url,
    )


def _export_again(report: ExportReport) -> str:
    """Return the shell command that requests the same file again."""
    conf: dict[str, object] = {"source_id": report.source_id, "notify": list(report.notify) or ["you@example.com"]}
    if report.all_recipients:
        conf["all_recipients"] = True
    return f"airflow dags trigger {dag_id('export_user_data')} --conf {shlex.quote(visible_json(conf))}"
