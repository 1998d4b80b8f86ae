"""The command line: `perennial --help`."""

from __future__ import annotations

import typer

from perennial.cli import audiences, checks, forecast, holds, people, repair, restore, workspace

app = typer.Typer(
    help="Interaction data that expires, is kept for ever, and comes back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (workspace.app, restore.app, holds.app, audiences.app, people.app, checks.app, forecast.app, repair.app):
    app.add_typer(group)
