"""SELECTs for your own platform: `init --platform` writes them to a folder, `check --platform` tries them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from perennial.cli.printing import console, print_rows, said_plainly, say
from perennial.settings import Settings
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.platform.check import CheckedTable
    from perennial.platform.issues import Issue


def init_platform(folder: Path) -> None:
    """Write the SELECTs to a folder, and say what to do next."""
    from perennial.platform.selects import write_selects

    with said_plainly():
        written = write_selects(folder.resolve())
    for path in written:
        console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)
    if not written:
        console.print("Every file exists already, the same as in the package.")
    place = escape(str(folder.resolve()))
    say(f"Edit them, set PERENNIAL_PLATFORM_SQL to {place}, and run `perennial check --platform`.")


def check_platform_selects() -> None:
    """Print the result of every SELECT and its issues; exit code 1 if a sync would refuse anything."""
    from perennial.platform.check import check_platform

    with said_plainly():
        settings = Settings.from_environment()
        tables = check_platform(settings, _known(settings))
    for table in tables:
        _print_table(table)
    refused = [issue for table in tables for issue in table.issues if issue.kind == "refused"]
    if refused:
        console.print(f"\n[red]A sync would refuse this platform: {pluralize(len(refused), 'issue')}.[/]")
        raise typer.Exit(1)
    console.print("\n[green]A sync would accept this platform as it is.[/]")


def _known(settings: Settings) -> dict[str, pa.Table] | None:
    """Read what a sync would compare with; None if there is no warehouse yet, because opening would create one."""
    from perennial.platform.vanished import KEYS
    from perennial.warehouse import Warehouse, catalog_file

    if (path := catalog_file(settings)) is not None and not path.exists():
        return None
    warehouse = Warehouse(settings)
    return None if warehouse.missing_tables() & KEYS.keys() else {name: warehouse.read(name) for name in KEYS}


def _print_table(table: CheckedTable) -> None:
    console.print(
        f"\n[bold]{table.name}[/]: {pluralize(table.row_count, 'row')} from {escape(table.place)}", soft_wrap=True
    )
    if table.first_rows:
        print_rows(table.columns, [tuple(map(_cell, row)) for row in table.first_rows])
    for issue in table.issues:
        _print_issue(issue)


def _print_issue(issue: Issue) -> None:
    label, style = {
        "refused": ("Refused", "red"),
        "read_as_null": (f"{issue.column} is read as null", "yellow"),
        "later_than_now": (f"{issue.column} is later than now, so the source stays hot until then", "yellow"),
        "left_out": ("Left out", "dim"),
    }[issue.kind]
    rows = f" ({pluralize(issue.row_count, 'row')})" if issue.row_count else ""
    console.print(f"[{style}]{label}{rows}:[/] {escape(str(issue))}", soft_wrap=True, highlight=False)
    for example in issue.examples[1:]:
        console.print(f"  Also: {escape(example)}.", soft_wrap=True, highlight=False)


def _cell(value: Any) -> Any:
    from perennial.text import escape_invisible

    return escape_invisible(value) if isinstance(value, str) else value
