"""The command line: `perennial init | demo | up | status | explain | sql`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perennial.errors import PerennialError, TerminalRequestError
from perennial.settings import Settings
from perennial.statements import statement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

app = typer.Typer(
    help="Interaction data that expires, is kept for ever, and comes back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console()
if not console.is_terminal:
    # A pipe has no width; rows are not folded to that of a screen it does not have.
    console = Console(width=200)

STATE_STYLES = {"available": "green", "expired": "yellow", "deleted": "red"}


@app.command()
def init() -> None:
    """Create the catalog, the namespace and every table; on a newer version, add what is missing."""
    with _errors() as warehouse:
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

    with _said_plainly():
        tell_story(console, events)


@app.command()
def up(port: Annotated[int, typer.Option(help="Port of Airflow's page on 127.0.0.1.")] = 8080) -> None:
    """Serve Airflow's page with the sample workspace and a mail catcher, until Ctrl-C."""
    from perennial.demo.serving import serve

    with _said_plainly():
        serve(console, port)


@app.command()
def status(source: Annotated[str | None, typer.Argument(help="Id of a campaign or Canvas.")] = None) -> None:
    """Show where the interactions of every source are, or the history of one."""
    from perennial.engines.duckdb import open_status_session

    with _errors() as warehouse, open_status_session(warehouse) as session:
        if source is None:
            _print_query(session, "cli/list_sources", {})
            return
        _print_query(session, "cli/show_source", {"source_id": source}, missing=f"No source {source!r} is known.")
        _print_query(session, "cli/list_lifecycle_events", {"source_id": source})


@app.command()
def explain(
    source: Annotated[str, typer.Argument(help="Id of a campaign or Canvas.")],
    as_of: Annotated[str | None, typer.Option(help="Decide as of this moment (ISO 8601, UTC unless it says).")] = None,
) -> None:
    """Say what an expiry would decide about a source now, and why: its clock, the date, who keeps it."""
    from perennial.moves.records import sources_under_way
    from perennial.policy import explain as explained

    with _errors() as warehouse:
        at = _moment(as_of) if as_of else datetime.now(UTC)
        found = explained(warehouse, source, at, held=sources_under_way(warehouse, "restore"))
    decision = found.decision
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in (
        ("source", f"{found.name} ({found.kind} {decision.source_id})"),
        ("as of", _shown(at)),
        ("decision", decision.decision),
        ("reason", decision.reason),
        ("state", f"{found.state} since {_shown(found.since)}"),
        ("status", found.status),
        ("clock", _clock(found.clock_events, found.clock_started_by)),
        ("expires", _shown(decision.expires_at) if decision.expires_at else "its clock does not run"),
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

    with _errors() as warehouse, open_session(warehouse) as session:
        result = session.sql(query if query is not None else sys.stdin.read())
        if result is not None:
            _print_rows(result.columns, result.fetchall())


@contextmanager
def _errors() -> Iterator[Warehouse]:
    """Open the configured warehouse; say what is wrong in a sentence instead of a traceback."""
    from perennial.warehouse import Warehouse

    with _said_plainly():
        yield Warehouse(Settings.from_environment())


@contextmanager
def _said_plainly() -> Iterator[None]:
    from duckdb import Error as DuckDBError

    try:
        yield
    except (PerennialError, DuckDBError) as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from error


def _print_query(session: DuckDBPyConnection, name: str, binds: dict[str, Any], missing: str = "") -> None:
    result = session.execute(statement(name), binds)
    columns = [column[0] for column in result.description or ()]
    rows = result.fetchall()
    if missing and not rows:
        raise TerminalRequestError(f"{missing} Run sync_sources if it is new on the platform.")
    _print_rows(columns, rows)


def _print_rows(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    numbers = [bool(rows) and isinstance(rows[0][index], int | float) for index in range(len(columns))]
    for column, is_number in zip(columns, numbers, strict=True):
        table.add_column(escape(column), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        style = STATE_STYLES.get(str(row[columns.index("state")]), "") if "state" in columns else ""
        table.add_row(*(escape(_shown(value)) for value in row), style=style)
    console.print(table)
    console.print(f"[dim]{len(rows):,} rows[/]")


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _clock(events: dict[str, datetime], started_by: str | None) -> str:
    told = ", ".join(f"{name} {_shown(moment)}" for name, moment in events.items())
    return f"{told}; started by: {started_by}" if started_by else f"{told}; not running"


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise TerminalRequestError(f"--as-of is {text!r}; give a moment such as 2026-01-31T04:00.") from error
