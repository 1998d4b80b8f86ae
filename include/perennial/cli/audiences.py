"""The command `audience`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from perennial.cli.printing import console, opened_warehouse, say_left_out
from perennial.errors import TerminalRequestError
from perennial.refusals import read_moment
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.audiences.evaluate import Audience

app = typer.Typer()


@app.command()
def audience(
    file: Annotated[str | None, typer.Argument(help="File with a definition in JSON; - reads standard input.")] = None,
    segment: Annotated[str | None, typer.Option(help="Id of a segment to use instead of a file.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Only print the number of users.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse rather than leave expired data out.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the SQL statement and what it reads, and no users.")
    ] = False,
    as_of: Annotated[
        str | None, typer.Option(help="Moment from which days_ago is counted (ISO 8601; UTC by default).")
    ] = None,
) -> None:
    """List the users of an audience, one id per line; what is left out is reported on standard error."""
    from perennial.audiences.evaluate import open_audience

    with opened_warehouse() as warehouse:
        now = read_moment("--as-of", as_of) if as_of else datetime.now(UTC)
        with open_audience(warehouse, _definition(file, segment), now, strict) as found:
            # Before the first user: somebody who reads only the first few has to know as well.
            say_left_out(found.completeness)
            if explain:
                _print_explanation(found)
            elif count:
                print(found.count())  # noqa: T201 - an answer that programs read
            else:
                for batch in found.users():
                    sys.stdout.writelines(f"{user_id}\n" for user_id in batch.column(0).to_pylist())


def _definition(file: str | None, segment: str | None) -> str:
    from perennial.audiences.evaluate import segment_definition

    if (file is None) == (segment is None):
        raise TerminalRequestError("Give either a file with a definition or --segment ID, and not both.")
    if segment is not None:
        return segment_definition(segment)
    try:
        return sys.stdin.read() if file == "-" else Path(str(file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TerminalRequestError(f"The definition {file!r} cannot be read: {error}.") from error


def _print_explanation(found: Audience) -> None:
    console.print(escape(found.query.sql), soft_wrap=True, highlight=False)
    for name, value in found.query.binds.items():
        console.print(f"[dim]${name} = {escape(repr(value))}[/]", soft_wrap=True, highlight=False)
    files = found.session.interaction_files
    console.print(
        f"Reads {pluralize(len(files), 'file')} with "
        f"{pluralize(sum(live.row_count for live in files), 'interaction')} of "
        f"{pluralize(len(found.session.source_ids or ()), 'source')}."
    )
