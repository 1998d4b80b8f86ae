"""`explain`, `preview`: what a run would decide, about one source and about all (R19-R21)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_rows
from perennial.cli.rows import AsJson, write_object
from perennial.refusals import read_moment
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.policy.past import Answer

app = typer.Typer()

_ROWS = 100


@app.command()
def preview(
    as_of: Annotated[str | None, typer.Option(help="When the run decides (ISO 8601; UTC by default).")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the next run would do, as a difference to the last one, and why that changed."""
    from perennial.operations import sources_under_way
    from perennial.policy.preview import next_run_at
    from perennial.policy.preview import preview as previewed

    with opened_warehouse() as warehouse:
        at = read_moment("--as-of", as_of) if as_of else next_run_at(datetime.now(UTC))
        found = previewed(warehouse, at, sources_under_way(warehouse, "restore"))
    if as_json:
        write_object(found)
        return
    console.print(Text(found.sentence), soft_wrap=True)
    if found.changes:
        rows = [(each.change, each.source_id, each.name, each.why, each.reason) for each in found.changes[:_ROWS]]
        print_rows(["change", "source", "name", "why it changed", "decision"], rows)
    if len(found.changes) > _ROWS:
        more = pluralize(len(found.changes) - _ROWS, "more change is", "more changes are")
        console.print(f"{more} not shown; --json writes all {len(found.changes):,}.", soft_wrap=True)


def print_explanation(found: Answer) -> None:
    """Print a decision and what it is made from."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in found.facts():
        table.add_row(f"[bold]{label}[/]", Text(value))
    console.print(table)


def print_basis(found: Answer) -> None:
    """Say from which tables an answer is, and what a run decided at the time."""
    for sentence in found.sources():
        console.print(Text(sentence), soft_wrap=True)
