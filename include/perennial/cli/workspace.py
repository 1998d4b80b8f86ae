"""Commands about the workspace itself: `init | demo | up | status | explain | sql`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from perennial.cli.explaining import print_basis, print_explanation
from perennial.cli.overview import STATES, Wanted, list_workspace, print_undelivered, show_listed_sources
from perennial.cli.platform import init_platform
from perennial.cli.printing import (
    console,
    opened_warehouse,
    print_query,
    print_result,
    said_plainly,
    say_exactly,
)
from perennial.cli.rows import AsCsv, AsJson, row_writer
from perennial.errors import TerminalSettingError
from perennial.refusals import read_moment
from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.text import pluralize

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

app = typer.Typer()

# Ids that a sentence names.
_NAMED_SOURCES = 5


@app.command()
def init(
    platform: Annotated[
        Path | None,
        typer.Option(help="Instead, write the SELECTs that read the platform to this folder, to adapt them."),
    ] = None,
) -> None:
    """Create the catalog, the namespace and every table; after an upgrade, add what is missing."""
    if platform is not None:
        init_platform(platform)
        return
    from perennial.erasures.hashes import make_key

    with opened_warehouse() as warehouse:
        changes = warehouse.create_tables()
        if make_key(warehouse.settings):
            changes.append("made the key of erasures in HOME")
        for change in changes:
            console.print(change)
        console.print(
            "Everything is in place."
            if not changes
            else f"{pluralize(len(changes), 'change')}; everything is in place."
        )
        _print_places(warehouse)


@app.command()
def demo(
    events: Annotated[int, typer.Option(help="Approximate number of events in the sample workspace.")] = 200_000,
) -> None:
    """Build a sample workspace in HOME/demo, run the whole life cycle through Airflow, and report what happened."""
    with said_plainly():
        _refuse_without_sample()
        from perennial_sample.story import tell_story

        tell_story(console, events)


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Airflow's page on 127.0.0.1.")] = 8080,
) -> None:
    """Serve Airflow's page with the sample workspace and a mail catcher, until Ctrl-C or the end of its parent."""
    with said_plainly():
        _refuse_without_sample()
        from perennial_sample.serve import serve

        serve(console, port)


def _refuse_without_sample() -> None:
    missing = [name for name in ("aiosmtpd", "numpy", "psutil") if find_spec(name) is None]
    if missing:
        raise TerminalSettingError(
            f"The sample needs {' and '.join(missing)}, not installed here; "
            "run pip install 'perennial-airflow[sample]'."
        )


@app.command()
def status(
    source: Annotated[str | None, typer.Argument(help="Id of a campaign or Canvas.")] = None,
    run: Annotated[str | None, typer.Option(help="Instead, show what the run with this id moved.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only sources in this state: {', '.join(STATES)}.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only sources with this tag.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="List at most this many (--csv and --json: all).")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Show where the interactions of every source are, the history of one, or what a run moved; and what that costs.

    A source that an active referrer or a hold without an end keeps has no date of expiry. With --csv or --json, only
    the list of sources is written.
    """
    from perennial.engines.duckdb import open_status_session
    from perennial.moves.costs import archive_costs, run_costs

    if source is not None and run is not None:
        raise typer.BadParameter("Give either a source or --run, and not both.")
    write = row_writer(as_csv, as_json)
    wanted = Wanted(state, tag, limit)
    if (source is not None or run is not None) and (write or wanted != Wanted()):
        raise typer.BadParameter(
            "--state, --tag, --limit, --csv and --json apply to the list of all sources; omit SOURCE and --run."
        )
    with opened_warehouse() as warehouse:
        with open_status_session(warehouse) as session:
            if run is not None:
                missing = f"No run {run!r} has moved anything."
                print_query(session, "cli/sum_events_of_run", {"run_id": run}, lambda: missing)
            elif source is None:
                list_workspace(warehouse, session, wanted, write)
                if write is not None:
                    return
                _print_unseen(_unseen(session))
            else:
                show_listed_sources(warehouse, session)
                print_query(session, "cli/show_source", {"source_id": source}, lambda: _unknown(session, source))
                print_query(session, "cli/list_lifecycle_events", {"source_id": source})
        found = run_costs(warehouse, run) if run is not None else archive_costs(warehouse, source and [source])
        console.print("\n[bold]What the archive costs and saves[/]")
        for fact in found.facts():
            console.print(f"  {fact.label:16} {escape(fact.text)}", highlight=False, soft_wrap=True)
        if source is None:
            if run is None:
                console.print("\n[bold]Where everything is[/]")
                _print_places(warehouse)
            print_undelivered(warehouse, run)


def _print_places(warehouse: Warehouse) -> None:
    from perennial.warehouse import describe_catalog

    settings = warehouse.settings
    for label, place in (
        ("Catalog", describe_catalog(settings)),
        ("Tables", warehouse.table(INTERACTIONS.name).location().rpartition("/")[0]),
        ("Archive", warehouse.table(INTERACTIONS_ARCHIVE.name).location_provider().data_path),
        ("Landing", settings.landing_uri or "not set: PERENNIAL_LANDING_URI"),
    ):
        console.print(f"  {label:8} {escape(place)}", highlight=False, soft_wrap=True)


def _unknown(session: DuckDBPyConnection, source_id: str) -> str:
    from perennial.platform.vanished import nearest_source, unknown_source

    return str(unknown_source(source_id, _unseen(session).get(source_id, 0), nearest_source(session, source_id)))


def _unseen(session: DuckDBPyConnection) -> dict[str, int]:
    return dict(session.execute(statement("cli/list_unseen_sources")).fetchall())


def _print_unseen(unseen: dict[str, int]) -> None:
    if not unseen:
        return
    rows = pluralize(sum(unseen.values()), "interaction")
    named = ", ".join(map(repr, list(unseen)[:_NAMED_SOURCES])) + (
        " and others" if len(unseen) > _NAMED_SOURCES else ""
    )
    console.print(
        f"The hot table also holds {rows} of {pluralize(len(unseen), 'source')} that no sync has seen: {escape(named)}."
        " Without metadata they have no clock, so they stay there.",
        soft_wrap=True,
    )


@app.command()
def explain(
    source: Annotated[str, typer.Argument(help="Id of a campaign or Canvas.")],
    as_of: Annotated[str | None, typer.Option(help="Decide as of this moment (ISO 8601; UTC by default).")] = None,
) -> None:
    """Explain what an expiry would decide about a source: its clock, the date, who keeps it.

    For a moment in the past, the answer comes from what was decided then and from the tables as they were; for a
    future one, from the tables as they are.
    """
    from perennial.operations import sources_under_way
    from perennial.platform.vanished import TerminalUnseenError
    from perennial.policy.past import explain_at

    now = datetime.now(UTC)
    with opened_warehouse() as warehouse:
        at = read_moment("--as-of", as_of) if as_of else now
        try:
            found = explain_at(warehouse, source, at, now, locked=sources_under_way(warehouse, "restore"))
        except TerminalUnseenError as unseen:
            # There is no clock to explain, and that is the answer.
            console.print(Text(str(unseen)), soft_wrap=True)
            return
    if found.explanation is not None:
        print_explanation(found)
    if as_of:
        print_basis(found)


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="An SQL statement; read from standard input if omitted.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Query the warehouse in SQL, read only; what is left out is reported on standard error.

    Every table and view of the contract is available.
    """
    from perennial.engines.analysts import open_described_session
    from perennial.engines.read_only import refuse_writes
    from perennial.exports.queries import narrowed_query, what_is_left_out

    write = row_writer(as_csv, as_json) or print_result
    asked = query if query is not None else sys.stdin.read()
    with opened_warehouse() as warehouse:
        refuse_writes(asked, "perennial sql")
        with open_described_session(warehouse) as session:
            write(session.execute(asked))
            if (narrowed := narrowed_query(asked)) and (left_out := what_is_left_out(warehouse, session, narrowed)):
                say_exactly(left_out, "yellow")
