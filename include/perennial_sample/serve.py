"""`perennial up`: Airflow's page over the sample workspace, with a mail catcher beside it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from perennial.errors import TransientError
from perennial.resources import resource
from perennial.settings import Settings
from perennial_sample.guard import guarded, stop_like_ctrl_c
from perennial_sample.in_process import airflow_environment
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import refuse_taken
from perennial_sample.story import MARK, tell_story

START_SECONDS = 180
STOP_SECONDS = 60


def serve(console: Console, port: int) -> None:
    """Serve until Ctrl-C, SIGTERM, SIGHUP or the end of the process that started this one.

    Makes the sample workspace first where there is none.

    Raises:
        TransientError: The port is taken (says by whom), or Airflow did not come up; its log is named.
        TerminalRequestError: This user may not have the port.
    """
    # Before the sample workspace, which takes a while.
    refuse_taken(port)
    try:
        stop_like_ctrl_c()
        settings = Settings.from_environment()
        if not settings.below_home(MARK).exists():
            tell_story(console, 200_000)
        with Mailbox(settings.below_home("mail")) as mailbox:
            with console.status("Airflow is starting …"), ExitStack() as running:
                served = running.enter_context(running_airflow(settings, port, mailbox))
                stop = running.pop_all()
            with stop:
                page = f"{served.url}/plugin/interaction-data"
                console.print(f"[bold]{page}[/]  user [bold]admin[/]  password [bold]{served.password}[/]")
                console.print(f"Mail is caught in {settings.below_home('mail')}; Ctrl-C stops everything.")
                _watch(console, served.process, mailbox)
    except KeyboardInterrupt:
        # After SIGHUP there may be no terminal any more.
        with suppress(OSError):
            console.print("Stopped.")


@dataclass(frozen=True)
class ServedAirflow:
    """A running `airflow standalone`: its address, the password of user admin, and the process that guards it."""

    url: str
    password: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_airflow(
    settings: Settings, port: int, mailbox: Mailbox, dags: Path | None = None
) -> Iterator[ServedAirflow]:
    """Run all of Airflow over a workspace, on 127.0.0.1, until the block or this process ends, however that is.

    Raises:
        TransientError: The port is taken, or Airflow did not come up; its log is named.
    """
    refuse_taken(port)
    airflow_home = settings.below_home("airflow")
    passwords = airflow_home / "passwords.json"
    password = _password(passwords)
    url = f"http://127.0.0.1:{port}"
    environment = airflow_environment(airflow_home) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags or resource("dags")),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__EXECUTOR": "perennial.preload.PreloadingLocalExecutor",
        # How long a task that can start waits until the scheduler sees that: by default a second, after each task.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        # New and changed files are seen soon; those that stay as they are do not take the processor from tasks.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.airflow_connection(),
        "PERENNIAL_HOME": str(settings.home),
        # `airflow standalone` looks for `airflow` on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    standalone = [str(Path(sys.executable).with_name("airflow")), "standalone"]
    airflow_home.mkdir(parents=True, exist_ok=True)
    log = airflow_home / "standalone.log"
    with guarded(standalone, os.environ | environment, log, STOP_SECONDS) as airflow:
        _wait(airflow, port, log)
        yield ServedAirflow(url, password, airflow)


def _password(path: Path) -> str:
    try:
        kept: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        kept = {"admin": secrets.token_urlsafe(9)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept))
        path.chmod(0o600)
    return kept["admin"]


def _wait(airflow: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(START_SECONDS):
        if airflow.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=2) as answer:
                parts = json.load(answer)
            if all(parts[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return
        except (urllib.error.URLError, OSError, KeyError):
            pass
        time.sleep(1)
    raise TransientError(f"Airflow did not come up; its log: {log}.")


def _watch(console: Console, airflow: subprocess.Popen[bytes], mailbox: Mailbox) -> None:
    seen = len(mailbox.messages())
    while airflow.poll() is None:
        caught = mailbox.messages()
        for mail in caught[seen:]:
            console.print(f"mail to {escape(', '.join(mail.recipients))}: {escape(mail.subject)}  {mail.eml}")
        seen = len(caught)
        time.sleep(1)
