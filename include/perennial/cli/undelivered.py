"""What `perennial status` says of people who could not be told."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from perennial.cli.printing import console, print_rows

if TYPE_CHECKING:
    from perennial.notify import Undelivered
    from perennial.warehouse import Warehouse


def print_undelivered(warehouse: Warehouse, run_id: str | None) -> None:
    """List the mails that did not reach somebody, of one run or of all; nothing where there are none."""
    from perennial.notify import list_undelivered

    missed = [each for each in list_undelivered(warehouse) if run_id in (None, each.run_id)]
    if missed:
        console.print("\n[bold]Mails that did not reach somebody[/]")
        columns = ["to", "mail", "why", "tried", "run"]
        print_rows(columns, [_row(each) for each in missed])


def _row(missed: Undelivered) -> tuple[str | datetime, ...]:
    tried_at = datetime.fromisoformat(missed.tried_at)
    return missed.recipient or "nobody", missed.subject, missed.reason, tried_at, missed.run_id
