"""Commands about the workspace itself: `init | demo | up | status | explain | sql`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from perennial.cli.printing import (
    console,
    moment_of,
    opened_warehouse,
    print_query,
    print_rows,
    said_plainly,
    say,
    shown,
)
from perennial.cli.undelivered import print_undelivered
from perennial.statements import statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

app = typer.Typer()

# Ids that a sentence names.
_NAMED = 5


@app.command()
def init() -> None:
    """Create the catalog, the namespace and every table; on a newer version, add what is missing."""
    with opened_warehouse() as warehouse:
        changes = warehouse.create_tables()
    for change in changes:
        console.print(change)
    console.print("Everything is in place." if not changes else f"{len(changes)} changes; everything is in place.")


@app.command()
def demo(
    events: Annotated[int, typer.Option(help="About how many events happen in the sample workspace.")] = 200_000,
) -> None:
    """Build a sample workspace in HOME/demo, run the whole life cycle through Airflow, and tell what happened."""
    from perennial.demo.story import tell_story

    with said_plainly():
        tell_story(console, events)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Airflow's page on 127.0.0.1.")] = 8080,
) -> None:
    """Serve Airflow's page with the sample workspace and a mail catcher, until Ctrl-C or the end of who started it."""
    from perennial.demo.serving import serve

    with said_plainly():
        serve(console, port)


@app.command()
def status(
    source: Annotated[str | None, typer.Argument(help="Id of a campaign or Canvas.")] = None,
    run: Annotated[str | None, typer.Option(help="Id of a run: what it moved, instead.")] = None,
) -> None:
    """Show where the interactions of every source are, the history of one, or what a run moved; and what that costs."""
    from perennial.engines.duckdb import open_status_session
    from perennial.lifecycle.costing import archive_costs, run_costs
    from perennial.referrers import kept_sources
    from perennial.vanished import unknown_source

    if source is not None and run is not None:
        raise typer.BadParameter("Give either a source or --run, and not both.")
    with opened_warehouse() as warehouse:
        with open_status_session(warehouse) as session:
            if run is not None:
                missing = f"No run {run!r} has moved anything."
                print_query(session, "cli/sum_events_of_run", {"run_id": run}, missing)
            elif source is None:
                print_query(session, "cli/list_sources", {})
                _print_unseen(_unseen(session))
                if kept := kept_sources(warehouse).told:
                    say(f"[yellow]{escape(kept)}[/]")
            else:
                missing = str(unknown_source(source, _unseen(session).get(source, 0)))
                print_query(session, "cli/show_source", {"source_id": source}, missing)
                print_query(session, "cli/list_lifecycle_events", {"source_id": source})
        found = run_costs(warehouse, run) if run is not None else archive_costs(warehouse, source and [source])
        console.print("\n[bold]What the archive costs and saves[/]")
        for fact in found.facts():
            console.print(f"  {fact.label:16} {escape(fact.text)}", highlight=False, soft_wrap=True)
        if source is None:
            print_undelivered(warehouse, run)


def _unseen(session: DuckDBPyConnection) -> dict[str, int]:
    return dict(session.execute(statement("cli/list_unseen_sources")).fetchall())


def _print_unseen(unseen: dict[str, int]) -> None:
    if not unseen:
        return
    count, rows = len(unseen), sum(unseen.values())
    named = ", ".join(map(repr, list(unseen)[:_NAMED])) + (" and others" if count > _NAMED else "")
    console.print(
        f"The hot table also holds {rows:,} interaction{'s' if rows > 1 else ''} of {count:,} "
        f"source{'s' if count > 1 else ''} that no sync has seen: {escape(named)}. Without a clock, they stay there.",
        soft_wrap=True,
    )


@app.command()
def explain(
    source: Annotated[str, typer.Argument(help="Id of a campaign or Canvas.")],
    as_of: Annotated[str | None, typer.Option(help="Decide as of this moment (ISO 8601, UTC unless it says).")] = None,
) -> None:
    """Say what an expiry would decide about a source now, and why: its clock, the date, who keeps it."""
    from perennial.moves.records import sources_under_way
    from perennial.policy import explain as explained
    from perennial.vanished import TerminalUnseenError

    with opened_warehouse() as warehouse:
        at = moment_of("--as-of", as_of) if as_of else datetime.now(UTC)
        try:
            found = explained(warehouse, source, at, held=sources_under_way(warehouse, "restore"))
        except TerminalUnseenError as unseen:
            # There is no clock to explain, and that is the answer.
            console.print(escape(str(unseen)), soft_wrap=True)
            return
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
        ("expires", shown(decision.expires_at) if decision.expires_at else "its clock does not run"),
        ("in hot", f"{found.hot_rows:,} interactions"),
        *(("kept by" if not n else "", path) for n, path in enumerate(decision.referenced_by)),
    ):
        table.add_row(f"[bold]{label}[/]", escape(value))
    console.print(table)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="A statement; standard input where there is none.")] = None,
) -> None:
    """Ask the warehouse in SQL: every table and view of the contract is in place."""
    from perennial.engines.duckdb import open_session

    with opened_warehouse() as warehouse, open_session(warehouse) as session:
        result = session.sql(query if query is not None else sys.stdin.read())
        if result is not None:
            print_rows(result.columns, result.fetchall())


def _clock(events: dict[str, datetime], started_by: str | None) -> str:
    told = ", ".join(f"{name} {shown(moment)}" for name, moment in events.items()) or "no time that can be right"
    return f"{told}; started by: {started_by}" if started_by else f"{told}; not running"
