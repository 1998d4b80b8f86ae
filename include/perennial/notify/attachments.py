"""Attachments for what is too long for the body of a message: the table as CSV, the command as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from perennial.notify.message import Attachment
from perennial.notify.restore_advice import RestoreAdvice
from perennial.reports import ExpiredSource, SourceOutcome

Sources = Sequence[SourceOutcome | ExpiredSource]


def attached(filename: str, sources: Sources, body_rows: int, advice: RestoreAdvice | None) -> tuple[Attachment, ...]:
    """Return every source as CSV when the body does not show them all, and the command when it is too long for it."""
    files = []
    if len(sources) > body_rows:
        files.append(Attachment(filename=filename, media_type="text/csv", content=_table_csv(sources)))
    if advice and advice.attached:
        content = f"{advice.command}\n".encode("utf-8", "backslashreplace")
        files.append(Attachment(filename="restore-command.txt", media_type="text/plain", content=content))
    return tuple(files)


def _table_csv(sources: Sources) -> bytes:
    """Write one line per source, with the columns of the dataclass.

    A spreadsheet reads it as UTF-8 and executes none of it: a cell that would be a formula gets a leading apostrophe.
    """
    page = io.StringIO()
    writer = csv.writer(page)
    for number, source in enumerate(sources):
        row = asdict(source)
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
    return page.getvalue().encode("utf-8-sig", "backslashreplace")


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
