"""`repair`: recover what was lost when a table was set back or a catalog was restored from a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from perennial.cli.printing import console, opened_warehouse, say
from perennial.errors import TerminalRequestError

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse
    from perennial.warehouse.repair import Repair

app = typer.Typer()


@app.command()
def repair(
    yes: Annotated[bool, typer.Option("--yes", help="Repair; without this option, only report.")] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(help="Instead, accept this table as it is and give up what it has lost; may be repeated."),
    ] = None,
) -> None:
    """Recover commits that were lost when a table was set back or a catalog was restored from a backup.

    Each table is repaired in one commit, so this can be stopped and run again, beside readers and other writers.
    Commits of other writers that were undone stay undone. The exit code is 1 if anything is still missing.
    """
    from perennial.tables import COUNTED
    from perennial.warehouse.repair import repair_table

    if unknown := sorted(set(accept or ()) - set(COUNTED)):
        raise typer.BadParameter(f"{unknown[0]} is not a table that can be repaired; those are: {', '.join(COUNTED)}.")
    with opened_warehouse() as warehouse:
        if accept:
            _accept(warehouse, accept)
            return
        repairs = [found for name in COUNTED if (found := repair_table(warehouse, name, dry_run=not yes))]
    for found in repairs:
        _print(found, yes)
    if not repairs:
        console.print("Nothing is missing: every table has everything that was committed to it.")
    elif not yes and any(found.possible for found in repairs):
        say("Nothing was changed. Run `perennial repair --yes` to do it.")
    if not yes or not all(found.possible for found in repairs):
        raise typer.Exit(1 if repairs else 0)


def check_tables(warehouse: Warehouse) -> bool:
    """Print what the tables have lost; returns whether that is nothing."""
    from perennial.maintenance.last_copies import find_lost_sources
    from perennial.warehouse.heads import find_losses

    losses = list(find_losses(warehouse))
    for loss in losses:
        console.print(f"[red]{escape(str(loss))}[/]", soft_wrap=True, highlight=False)
    if losses:
        say("`perennial repair` reports what can be repaired, and `perennial repair --yes` repairs it.")
        return False
    lost = find_lost_sources(warehouse)
    for source in lost:
        console.print(f"[red]{escape(str(source))}[/]", soft_wrap=True, highlight=False)
    if lost:
        say("None of these files is purged. docs/runbooks/table-set-back.md says how to recover their rows.")
    return not lost


def _accept(warehouse: Warehouse, names: list[str]) -> None:
    from perennial.warehouse.repair import accept_table

    for name in names:
        loss = accept_table(warehouse, name)
        if loss is None:
            raise TerminalRequestError(f"Nothing is missing in {name}, so there is nothing to accept.")
        console.print(
            f"{name} is accepted as it is. Given up: {escape(', '.join(loss.operations)) or 'nothing known'}."
        )


def _print(found: Repair, done: bool) -> None:
    console.print(escape(f"{found.loss.found}"), soft_wrap=True)
    for operation in found.loss.operations:
        console.print(f"  missing: {escape(operation)}", soft_wrap=True, highlight=False)
    label = ("Repaired" if done else "Repair") if found.possible else "[red]No repair[/]"
    console.print(f"  {label}: {escape(found.how)}", soft_wrap=True, highlight=False)
