"""Shared by all commands: the console, the open warehouse, errors as sentences, tables of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from perennial.errors import PerennialError, TerminalRequestError, TerminalUnsetError
from perennial.settings import Settings
from perennial.statements import statement
from perennial.text import pluralize

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.audiences.completeness import Completeness
    from perennial.warehouse import Warehouse

console = Console()
if not console.is_terminal:
    # A pipe has no width, so rows are not folded to the width of a screen.
    console = Console(width=200)

STATE_STYLES = {"available": "green", "expired": "yellow", "deleted": "red"}


@contextmanager
def opened_warehouse() -> Iterator[Warehouse]:
    """Open the configured warehouse; an error becomes a sentence instead of a traceback."""
    from perennial.warehouse import Warehouse

    with said_plainly():
        yield Warehouse(Settings.from_environment())


def say(markup: str) -> None:
    """Write to standard error, never folded: the text may contain a command to paste."""
    Console(stderr=True).print(markup, soft_wrap=True)


def say_exactly(text: str, style: str = "") -> None:
    """As `say`, for text without markup: every backslash stands for itself."""
    Console(stderr=True).print(Text(text, style), soft_wrap=True)


def say_left_out(completeness: Completeness, lists: bool = False, missing_from: int | None = None) -> None:
    """Report on standard error what an answer leaves out, the effect of that, and how to restore it (R16).

    Args:
        completeness: Of the answer.
        lists: Whether the answer lists what users received.
        missing_from: Number of the first missing source to list; None: name only a few, in a sentence.
    """
    if completeness.complete:
        return
    say(f"[yellow]{escape(completeness.warning(lists))}[/]")
    if remedy := completeness.remedy():
        say_exactly(remedy)
    if lists:
        _say_page(completeness, missing_from)


def _say_page(completeness: Completeness, missing_from: int | None) -> None:
    if missing_from is not None:
        for source in completeness.missing:
            rows = f", {pluralize(source.archived_rows, 'interaction')}" if source.archived_rows else ""
            say_exactly(f"  {source.kind} {source.source_id!r}: {source.state} since {source.since_date}{rows}")
        if completeness.next_from is not None:
            say(f"List the next ones with --missing-from {completeness.next_from}.")
    elif not completeness.is_named_whole:
        say("List all of them, the latest first, with --missing-from 0.")


@contextmanager
def said_plainly() -> Iterator[None]:
    from duckdb import Error as DuckDBError

    try:
        yield
    except (PerennialError, DuckDBError) as error:
        say_exactly(str(error), "red")
        # As of a command line that cannot be understood: something has to be given first.
        raise typer.Exit(2 if isinstance(error, TerminalUnsetError) else 1) from error


def print_query(
    session: DuckDBPyConnection, name: str, binds: dict[str, Any], missing: Callable[[], str] | None = None
) -> None:
    print_result(session.execute(statement(name), binds), missing)


def print_result(result: DuckDBPyConnection, missing: Callable[[], str] | None = None) -> None:
    """Print the rows of an executed statement; if there are none, `missing` may say what is wrong."""
    rows = result.fetchall()
    if missing and not rows:
        raise TerminalRequestError(missing())
    print_rows([column[0] for column in result.description or ()], rows)


def print_rows(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    numbers = [bool(rows) and isinstance(rows[0][index], int | float) for index in range(len(columns))]
    for column, is_number in zip(columns, numbers, strict=True):
        table.add_column(escape(column), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        style = STATE_STYLES.get(str(row[columns.index("state")]), "") if "state" in columns else ""
        # No markup: text that ends in a backslash would be shown with a second one.
        table.add_row(*(Text(shown(value)) for value in row), style=style)
    console.print(table)
    console.print(f"[dim]{pluralize(len(rows), 'row')}[/]")


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
