"""`perennial demo`: a sample workspace through its whole life cycle, run by Airflow and shown on the terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from perennial.errors import TerminalError, TerminalSettingError
from perennial.resources import checkout
from perennial.settings import Settings, dag_id
from perennial.statements import statement
from perennial_sample.in_process import airflow_environment
from perennial_sample.mailbox import Mailbox, ReceivedMail
from perennial_sample.workspace import Restore, Workspace, advance_workspace, create_workspace

MARK = "made-by-perennial-demo"
# Names a campaign that the first expiry moves away, and the restore by tag brings back.
SEGMENT = "seg-spring-shoppers"
# Decisions with their reasons are hard to read in less.
WIDTH = 132


def tell_story(console: Console, events: int) -> None:
    """Make the workspace and run sync → load → expire, twice, then the restores; print what happened.

    Raises:
        TerminalSettingError: HOME holds something that the demo has not made.
        TerminalError: A run failed; its log is named.
    """
    started = time.monotonic()
    settings = _fresh_home(Settings.from_environment())
    with _quiet(settings.below_home("airflow/demo.log")) as terminal:
        shown = Console(file=terminal, force_terminal=console.is_terminal, width=max(console.width, WIDTH))
        story = _Story(shown, settings)
        story.play(events)
        shown.print(f"\n[bold]Done in {time.monotonic() - started:.0f} s.[/] Look around:")
    perennial = ".venv/bin/perennial" if checkout() else "perennial"
    for command, what in (
        (f"{perennial} status", "where everything is"),
        (f"{perennial} explain cmp-black-friday", "why one source stays or goes"),
        (f"{perennial} sql 'FROM lifecycle_events'", "the audit trail"),
        (f"{perennial} up", "the same in Airflow's page"),
    ):
        console.print(f"  [cyan]{escape(command):48}[/] {what}")
    console.print(f"  e-mails, as files: {settings.below_home('mail')}")


def _fresh_home(settings: Settings) -> Settings:
    """Empty a HOME that an earlier demo filled, or take one that is empty."""
    home = settings.below_home()
    if home.exists() and any(home.iterdir()) and not (home / MARK).exists():
        raise TerminalSettingError(
            f"PERENNIAL_HOME is {str(home)!r} and holds something the demo has not made; "
            "set it to a new directory, or remove this one."
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    (home / MARK).touch()
    return settings


def read(settings: Settings, name: str, binds: dict[str, Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run a statement of `include/sql/` on the whole warehouse; returns its columns and rows."""
    from perennial.engines.duckdb import internals_in_sight, open_session
    from perennial.warehouse import Warehouse

    with open_session(Warehouse(settings)) as session, internals_in_sight(session):
        result = session.execute(statement(name), binds)
        return [column[0] for column in result.description or ()], result.fetchall()


class _Story:
    """The chapters; each says what it did when it is over."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self.console = console
        # The files are there before the first run looks: nothing is still being written.
        self.settings = replace(settings, landing_settle=timedelta())
        os.environ |= airflow_environment(settings.below_home("airflow")) | {
            "PERENNIAL_HOME": str(settings.home),
            "PERENNIAL_LANDING_SETTLE_SECONDS": "0",
        }

    def play(self, events: int) -> None:
        workspace = self._timed("sample workspace", lambda: self._create(events))
        first, second = workspace.first, workspace.second
        self.console.print(
            f"   {workspace.source_count} sources, {workspace.user_count:,} users, "
            f"{first.record_count + second.record_count:,} records in {len(first.files) + len(second.files)} files"
        )
        with Mailbox(self.settings.below_home("mail")) as mailbox:
            os.environ["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox.airflow_connection()
            self.dags = self._timed("Airflow, in this process", self._open_dags)
            self._chapter(f"{first.as_of:%d %b %Y}: the first expiry", first.as_of)
            changes = advance_workspace(workspace).changes
            self.console.print(f"\n[dim]Weeks pass. {' '.join(map(escape, changes))}[/]")
            self._chapter(f"{second.as_of:%d %b %Y}: today's expiry", second.as_of)
            for number, restore in enumerate(workspace.restores, 1):
                self._restore(restore, second.as_of + timedelta(minutes=number))
            self._show_mail(mailbox.messages()[-len(workspace.restores)])

    def _create(self, events: int) -> Workspace:
        # A while ago, so that the story ends before the clock on the wall says that it does.
        now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)
        return create_workspace(self.settings, events, now=now)

    @staticmethod
    def _open_dags() -> Mapping[str, Any]:
        from perennial_sample.in_process import open_dags

        return open_dags()

    def _chapter(self, title: str, as_of: datetime) -> None:
        self.console.print(f"\n[bold]{title}[/]")
        self._run("sync_sources", at=as_of)
        self._run("load_interactions", at=as_of)
        self._show_rows("before")
        self._expire(as_of)
        self._show_rows("after")
        self._show("sample/list_decisions", {"as_of": as_of})
        self._show_segment(as_of)

    def _expire(self, as_of: datetime) -> None:
        """Run the expiry, and approve it where it asks (R21): on a page, a person would read why first."""
        from perennial_sample.in_process import answering

        with answering("Approve") as asked:
            self._run("expire_interactions", at=as_of)
        for subject in asked:
            self.console.print(f"   the run asked: [bold]{escape(subject)}[/] Approved here; nothing moved before.")

    def _restore(self, restore: Restore, at: datetime) -> None:
        asked = f"source {', '.join(restore.source_ids)}" if restore.source_ids else f"tag {', '.join(restore.tags)}"
        self.console.print(f"\n[bold]Bring back {escape(asked)}[/] [dim]({escape(restore.reason)})[/]")
        conf = {
            "source_ids": list(restore.source_ids),
            "tags": list(restore.tags),
            "notify": list(restore.notify),
            "reason": restore.reason,
        }
        self._run("restore_interactions", conf, at)
        self._show_rows("after")
        self._show_segment(at)

    def _run(self, name: str, conf: dict[str, Any] | None = None, at: datetime | None = None) -> None:
        from perennial_sample.in_process import run_dag

        run = self._timed(name, lambda: run_dag(self.dags[dag_id(name)], conf, at))
        if run.state != "success":
            raise TerminalError(f"{name} ended {run.state}; its log: {self.settings.below_home('airflow/demo.log')}")

    def _timed(self, what: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        with self.console.status(f"{what} …"):
            result = work()
        self.console.print(f" [green]✓[/] {what:26} [dim]{time.monotonic() - started:5.1f} s[/]")
        return result

    def _show_rows(self, when: str) -> None:
        ((hot, archived, visible),) = read(self.settings, "sample/count_rows", {})[1]
        self.console.print(
            f"   {when:6}  hot [bold]{hot:>9,}[/]   archive [bold]{archived:>9,}[/]   "
            f"together {hot + archived:>9,}   visible to features {visible:>9,}"
        )

    def _show_segment(self, now: datetime) -> None:
        """Ask for a segment that names an expired source: what it leaves out, and that it comes back (R16, R17)."""
        from perennial.audiences.evaluate import open_audience, segment_definition
        from perennial.warehouse import Warehouse

        with open_audience(Warehouse(self.settings), segment_definition(SEGMENT), now) as audience:
            left_out = audience.completeness.sentence() or "Nothing is left out."
            self.console.print(f"   segment {SEGMENT}: [bold]{audience.count():,}[/] users. {escape(left_out)}")

    def _show(self, name: str, binds: dict[str, Any]) -> None:
        columns, rows = read(self.settings, name, binds)
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 3))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape("" if value is None else str(value)) for value in row))
        self.console.print(table)

    def _show_mail(self, mail: ReceivedMail) -> None:
        to = ", ".join(mail.recipients)
        title = f"e-mail to {escape(to)}: {escape(mail.subject)}"
        self.console.print(Panel(escape(mail.text.rstrip()), title=title, title_align="left", border_style="cyan"))


@contextmanager
def _quiet(log: Path) -> Iterator[TextIO]:
    """Send what this process prints, Airflow's logs above all, to a file; yield the terminal itself."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with log.open("a") as file, os.fdopen(os.dup(1), "w", encoding="utf-8") as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for target, source in zip((1, 2), saved, strict=True):
                os.dup2(source, target)
                os.close(source)
