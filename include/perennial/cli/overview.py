"""`perennial status` of the whole workspace: totals, then the sources, for people or for programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from perennial.cli.printing import console, print_result, print_rows, say_exactly
from perennial.errors import TerminalRequestError
from perennial.refusals import nearest_name, not_known
from perennial.statements import statement
from perennial.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

STATES = ("available", "kept", "expired", "deleted")
"""Values of `--state`; a source that is kept is available, and would expire without an active referrer or a hold."""
_SHOWN_ROWS = 100
# Tags that a sentence names.
_NAMED_TAGS = 10


@dataclass(frozen=True)
class Wanted:
    """Which sources to list.

    Attributes:
        state: One of STATES; None: any.
        tag: A tag that they carry; None: any.
        limit: How many at most; None: the first 100 for a person, all for a program.
    """

    state: str | None = None
    tag: str | None = None
    limit: int | None = None


def list_workspace(
    warehouse: Warehouse,
    session: DuckDBPyConnection,
    wanted: Wanted,
    write: Callable[[DuckDBPyConnection], None] | None,
) -> None:
    """List sources, after the totals of the workspace if a person asks for all.

    Args:
        warehouse: The open warehouse.
        session: A status session.
        wanted: Which sources.
        write: Writes the rows for a program; None for a person.
    """
    from perennial.policy.referrers import explain_unread, unread_referrers

    _refuse_unknown(session, wanted)
    show_listed_sources(warehouse, session)
    binds: dict[str, Any] = {"state": wanted.state, "tag": wanted.tag}
    if write is not None:
        write(session.execute(statement("cli/list_sources"), {**binds, "row_limit": wanted.limit}))
        return
    if wanted.state is None and wanted.tag is None:
        _print_totals(session)
    _print_sources(session, binds, wanted.limit or _SHOWN_ROWS)
    if warning := explain_unread(unread_referrers(session)):
        say_exactly(warning, "yellow")


def show_listed_sources(warehouse: Warehouse, session: DuckDBPyConnection) -> None:
    """Create relation `listed_sources` in a status session: every source, and who keeps it."""
    from perennial.policy.holds import show_holds
    from perennial.policy.referrers import show_referrers

    show_referrers(session, warehouse)
    show_holds(session, warehouse, datetime.now(UTC))
    for name in ("policy/create_source_keepers", "cli/create_listed_sources"):
        session.execute(statement(name))


def _print_sources(session: DuckDBPyConnection, binds: dict[str, Any], limit: int) -> None:
    every = session.sql(statement("cli/list_sources"), params={**binds, "row_limit": None})
    ((found,),) = every.aggregate("count(*)").fetchall()
    print_result(session.execute(statement("cli/list_sources"), {**binds, "row_limit": limit}))
    if found > limit:
        console.print(
            f"{pluralize(found - limit, 'more source is', 'more sources are')} not shown. Filter with --state or "
            f"--tag, or list all {found:,} with --limit {found} or --csv.",
            soft_wrap=True,
        )


def _print_totals(session: DuckDBPyConnection) -> None:
    console.print("[bold]All sources[/]")
    print_result(session.execute(statement("cli/sum_sources")))
    ((due, source_id, expires_at),) = session.execute(statement("cli/find_next_expiry")).fetchall()
    if due:
        console.print(f"Due at the next daily run: {pluralize(due, 'source')}.")
    if source_id is not None:
        console.print(Text(f"Expires next: {source_id!r}, on {expires_at:%Y-%m-%d}."), soft_wrap=True)
    console.print()


def _refuse_unknown(session: DuckDBPyConnection, wanted: Wanted) -> None:
    if wanted.state is not None and wanted.state not in STATES:
        raise TerminalRequestError(_unknown(wanted.state, "state of a source", STATES))
    if wanted.tag is not None:
        tags = [tag for (tag,) in session.execute("SELECT DISTINCT tag FROM known_source_tags ORDER BY tag").fetchall()]
        if wanted.tag not in tags:
            raise TerminalRequestError(_unknown(wanted.tag, "known tag", tags))


def _unknown(value: str, noun: str, known: Sequence[str]) -> str:
    more = " and others" if len(known) > _NAMED_TAGS else ""
    return not_known(
        value, noun, nearest_name(value, known), f"there are: {', '.join(known[:_NAMED_TAGS]) or 'none'}{more}."
    )


def print_undelivered(warehouse: Warehouse, run_id: str | None) -> None:
    """List the undelivered e-mails of one run or of all; print nothing if there are none."""
    from perennial.notify import list_undelivered

    missed = [each for each in list_undelivered(warehouse) if run_id in (None, each.run_id)]
    if missed:
        console.print("\n[bold]Undelivered e-mails[/]")
        columns = ["to", "mail", "why", "tried", "run"]
        rows = [(each.recipient or "nobody", each.subject, each.reason, each.tried_at, each.run_id) for each in missed]
        print_rows(columns, rows)
