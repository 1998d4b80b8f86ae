"""The command line: `perennial --help`."""

from __future__ import annotations

import typer

from perennial.cli import audiences, checks, erase, explaining, forecast, holds, people, repair, restore, workspace

app = typer.Typer(
    help="Interaction data that expires, is kept for ever, and comes back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
GROUPS = (workspace, restore, holds, explaining, forecast, audiences, people, erase, checks, repair)
for group in GROUPS:
    app.add_typer(group.app)
