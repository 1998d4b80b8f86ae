"""`restore` restores sources in this process, as the DAG does, without Airflow; `cancel` stops a restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_rows, say_exactly
from perennial.operations import current_user, local_run
from perennial.reports import STANDARD, THAW_TIERS
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.moves.inline import Watch
    from perennial.notify import Delivery
    from perennial.reports import RestoreReport, SourceOutcome

app = typer.Typer()

# The exit code of a program that Ctrl-C has ended.
_INTERRUPTED_EXIT_CODE = 130
# If there are more sources, a file in the e-mail lists all of them.
_ROWS = 100


@app.command()
def restore(
    sources: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Campaigns and Canvases by id.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Restore every expired source with this tag; may be repeated.")
    ] = None,
    notify: Annotated[
        list[str] | None, typer.Option(help="E-mail address to notify of the outcome; may be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, shown in the audit trail and in the e-mail.")] = "",
    thaw_tier: Annotated[
        str, typer.Option(help=f"Retrieval tier for files in cold storage: {', '.join(THAW_TIERS)}.")
    ] = STANDARD,
    max_cost: Annotated[
        float | None,
        typer.Option(help="Refuse a restore that costs more USD than this, hot storage included."),
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Refuse a restore of more bytes than this.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be restored and move nothing.")] = False,
) -> None:
    """Restore the interactions of expired sources, in this process, and notify the requesters by e-mail.

    This may be stopped and run again at any moment. The exit code is 1 if anything was not restored, or an e-mail
    could not be delivered.
    """
    from perennial.moves.inline import restore_and_notify

    run = local_run(reason)
    params: dict[str, Any] = {
        "source_ids": sources or [],
        "tags": tag or [],
        "notify": notify or [],
        "reason": reason,
        "thaw_tier": thaw_tier,
        "max_cost": max_cost,
        "max_bytes": max_bytes,
        "dry_run": dry_run,
    }
    try:
        with opened_warehouse() as warehouse, _watched() as watch:
            report, delivery = restore_and_notify(warehouse, params, run, watch)
    except KeyboardInterrupt:
        say_exactly("Stopped. Nothing was lost: run the same command again to finish what was begun.")
        raise typer.Exit(_INTERRUPTED_EXIT_CODE) from None
    _print(report, delivery)
    if report.state != "finished" or delivery.undelivered:
        raise typer.Exit(1)


@app.command()
def cancel(
    run_id: Annotated[str, typer.Argument(help="Id of a restore's run, in Airflow or of `perennial restore`.")],
    by: Annotated[str | None, typer.Option(help="Who cancels it. Default: this user.")] = None,
) -> None:
    """Cancel a restore: until its data is in the hot table nothing of it is left, after that it is finished.

    The e-mail to the requesters says which. A thaw that was requested is not stopped, and is billed.
    """
    from perennial.moves.cancel import cancel_restore

    with opened_warehouse() as warehouse:
        console.print(Text(str(cancel_restore(warehouse, run_id, by or current_user()))), soft_wrap=True)


@contextmanager
def _watched() -> Iterator[Watch]:
    """Show progress on standard error: a bar on a terminal, elsewhere a line for each step."""
    errors = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
    shown: list[str] = []
    with bar:
        task = bar.add_task("", total=None, done="")

        def watch(doing: str, done: int, total: int) -> None:
            of = f"{done:,} of {pluralize(total, 'file')}" if total and doing in ("Copying", "Thawing") else ""
            bar.update(task, description=doing, completed=done, total=total or None, done=of)
            if not errors.is_terminal and [doing] != shown[-1:]:
                shown.append(doing)
                say_exactly(f"{doing} …" if not of else f"{doing} {pluralize(total, 'file')} …")

        yield watch


def _print(report: RestoreReport, delivery: Delivery) -> None:
    from perennial.moves.inline import undelivered_here

    if report.sources:
        columns = ["source", "name", "outcome", "interactions", "expires again", "detail"]
        # Sources that need attention come first.
        ordered = sorted(report.sources, key=lambda source: (source.outcome != "failed", source.outcome == "restored"))
        print_rows(columns, [_row(source, report.dry_run) for source in ordered[:_ROWS]])
    console.print(Text(report.summary), soft_wrap=True)
    if report.cancelled:
        say_exactly(report.cancelled, "yellow")
    if report.error and report.error not in {source.detail for source in report.sources}:
        say_exactly(report.error, "red")
    if delivery.delivered:
        console.print(Text(f"Notified {', '.join(delivery.delivered)}."), soft_wrap=True)
    if delivery.undelivered:
        say_exactly(undelivered_here(delivery), "yellow")


def _row(source: SourceOutcome, dry_run: bool) -> tuple[Any, ...]:
    would = "would be " if dry_run and source.outcome == "restored" else ""
    return (
        source.source_id,
        source.name,
        f"{would}{source.outcome}",
        source.row_count,
        source.expires_at,
        source.detail or None,
    )
