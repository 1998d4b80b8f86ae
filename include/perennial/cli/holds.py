"""`hold` and `holds`: keep sources hot, say why, and lift that again (R19)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_result
from perennial.cli.rows import AsCsv, AsJson, row_writer
from perennial.operations import current_user
from perennial.statements import statement

app = typer.Typer()


@app.command()
def hold(
    source: Annotated[str | None, typer.Argument(help="Id of a campaign or Canvas.")] = None,
    tag: Annotated[str | None, typer.Option(help="Instead, hold whatever carries this tag when a run decides.")] = None,
    until: Annotated[
        str | None, typer.Option(help="End (ISO 8601; UTC by default); without one, until it is lifted.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is shown wherever the hold is named.")] = "",
    by: Annotated[
        str | None,
        typer.Option(help="Who asks for it; an address is notified before the end. Default: this user."),
    ] = None,
    lift: Annotated[str | None, typer.Option(metavar="HOLD_ID", help="Instead, lift this hold.")] = None,
) -> None:
    """Keep a source, or everything with a tag, from expiring. A hold brings nothing back and hides nothing."""
    from perennial.policy.hold_requests import carry_out

    params = {"source_id": source, "tag": tag, "until": until, "reason": reason, "lift": lift}
    with opened_warehouse() as warehouse:
        console.print(Text(carry_out(warehouse, params, by or current_user(), datetime.now(UTC))), soft_wrap=True)


@app.command()
def holds(as_csv: AsCsv = False, as_json: AsJson = False) -> None:
    """List the holds that count now: what they keep, who placed them, why, and until when."""
    from perennial.engines.duckdb import open_status_session
    from perennial.policy.holds import show_holds

    write = row_writer(as_csv, as_json)
    now = datetime.now(UTC)
    with opened_warehouse() as warehouse, open_status_session(warehouse) as session:
        show_holds(session, warehouse, now)
        (write or print_result)(session.execute(statement("policy/list_holds"), {"as_of": now}))
