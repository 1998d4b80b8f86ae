"""`check --archive`: a drill in this process, as the DAG `check_archive` does it, without e-mails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from perennial.cli.printing import console, opened_warehouse, print_rows, say

if TYPE_CHECKING:
    from perennial.reports import ArchiveReport


def check_archived_files(sample_percent: float | None) -> None:
    """Read a sample of the archive in full and rehearse one restore; exit code 1 if anything is wrong."""
    from perennial.drills.check import SAMPLE_PERCENT
    from perennial.drills.inline import check_archive
    from perennial.operations import Run, local_run_id

    now = datetime.now(UTC)
    run = Run(run_id=local_run_id(now), now=now)
    percent = SAMPLE_PERCENT if sample_percent is None else sample_percent
    with opened_warehouse() as warehouse:
        report = check_archive(warehouse, run, percent, lambda doing, *_: say(f"[dim]{doing} …[/]"))
    _print(report)
    if not report.is_sound:
        raise typer.Exit(1)


def _print(report: ArchiveReport) -> None:
    if report.damaged:
        columns = ["source_id", "name", "outcome", "what"]
        rows = [(file.source_id, file.source_name or None, file.outcome, file.detail) for file in report.damaged]
        print_rows(columns, rows)
    console.print(f"{report.sentence} {report.read}", soft_wrap=True)
    if report.drill:
        console.print(escape(str(report.drill)), soft_wrap=True)
    if not report.is_sound:
        console.print("What to do: docs/runbooks/damaged-archive.md.", soft_wrap=True)
