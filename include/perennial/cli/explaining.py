"""`explain`, `preview`: what a run would decide, about one source and about all (R19-R21)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_rows, shown
from perennial.cli.rows import AsJson, write_object
from perennial.refusals import read_moment
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.policy.decisions import Decision, Explanation
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


def print_explanation(found: Explanation, at: datetime) -> None:
    """Print a decision and what it is made from."""
    decision = found.decision
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in (
        ("source", f"{found.name} ({found.kind} {decision.source_id})"),
        ("as of", shown(at)),
        ("decision", decision.decision),
        ("reason", decision.reason),
        ("state", f"{found.state} since {shown(found.since)}" if found.since else found.state),
        ("status", f"no longer in the platform, as of {shown(gone)}" if (gone := found.vanished_at) else found.status),
        ("clock", _clock(found.clock_events, found.clock_started_by)),
        ("expires", _expiry(decision)),
        ("in hot", pluralize(found.hot_rows, "interaction")),
        *(("held by" if not n else "", words) for n, words in enumerate(found.held_by)),
        *(("kept by" if not n else "", path) for n, path in enumerate(decision.referenced_by)),
    ):
        table.add_row(f"[bold]{label}[/]", Text(value))
    console.print(table)


def print_basis(found: Answer) -> None:
    """Say from which tables an answer is, and what a run decided at the time."""
    if found.kept is not None:
        kept = found.kept
        console.print(
            Text(
                f"The run {kept.run_id} of {shown(kept.as_of)} UTC decided {kept.decision.decision}: "
                f"{kept.decision.reason}"
            ),
            soft_wrap=True,
        )
    console.print(Text(found.basis), soft_wrap=True)


def _expiry(decision: Decision) -> str:
    if decision.expires_at is None:
        return "its clock does not run"
    date = shown(decision.expires_at)
    return f"not while it is kept; its clock ended on {date}" if decision.decision == "referenced" else date


def _clock(events: dict[str, datetime], started_by: str | None) -> str:
    times = ", ".join(f"{name} {shown(moment)}" for name, moment in events.items()) or "no plausible time"
    return f"{times}; started by: {started_by}" if started_by else f"{times}; not running"
