"""`perennial up`: Airflow's page over the sample workspace, with a mail catcher beside it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from perennial.demo.in_process import airflow_environment
from perennial.demo.mailbox import Mailbox
from perennial.demo.story import MARK, tell_story
from perennial.errors import TransientError
from perennial.settings import PROJECT_ROOT, Settings

START_SECONDS = 180
STOP_SECONDS = 60


def serve(console: Console, port: int) -> None:
    """Serve until Ctrl-C; makes the sample workspace first where there is none.

    Raises:
        TransientError: The port is taken, or Airflow did not come up; its log is named.
    """
    # Before the sample workspace, which takes a while.
    _refuse_taken(port)
    settings = Settings.from_environment()
    if not (settings.home / MARK).exists():
        tell_story(console, 200_000)
    with Mailbox(settings.home / "mail") as mailbox:
        try:
            with console.status("Airflow is starting …"), ExitStack() as running:
                served = running.enter_context(running_airflow(settings, port, mailbox))
                stop = running.pop_all()
            with stop:
                page = f"{served.url}/plugin/interaction-data"
                console.print(f"[bold]{page}[/]  user [bold]admin[/]  password [bold]{served.password}[/]")
                console.print(f"Mail is caught in {settings.home / 'mail'}; Ctrl-C stops everything.")
                _watch(console, served.process, mailbox)
        except KeyboardInterrupt:
            console.print("Stopped.")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class ServedAirflow:
    """A running `airflow standalone`: its address, and the password of user admin."""

    url: str
    password: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_airflow(
    settings: Settings, port: int, mailbox: Mailbox, dags: Path = PROJECT_ROOT / "dags"
) -> Iterator[ServedAirflow]:
    """Run all of Airflow over a workspace, on 127.0.0.1, until the block ends.

    Raises:
        TransientError: The port is taken, or Airflow did not come up; its log is named.
    """
    _refuse_taken(port)
    airflow_home = settings.home / "airflow"
    passwords = airflow_home / "passwords.json"
    password = _password(passwords)
    url = f"http://127.0.0.1:{port}"
    environment = airflow_environment(airflow_home) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "10",
        "AIRFLOW_CONN_SMTP_DEFAULT": mailbox.airflow_connection(),
        "PERENNIAL_HOME": str(settings.home),
        # `airflow standalone` looks for `airflow` on PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = [str(Path(sys.executable).with_name("airflow")), "standalone"]
    airflow_home.mkdir(parents=True, exist_ok=True)
    with (airflow_home / "standalone.log").open("ab") as log:
        # A group of its own: Ctrl-C reaches only this process, which passes it on once.
        airflow = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(airflow, port, Path(log.name))
            yield ServedAirflow(url, password, airflow)
        finally:
            # SIGINT to the parent: on SIGTERM it leaves its children behind.
            airflow.send_signal(signal.SIGINT)
            try:
                airflow.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # A busy machine, or a task that does not end: nothing may stay behind.
                os.killpg(airflow.pid, signal.SIGKILL)
                airflow.wait()


def _password(path: Path) -> str:
    try:
        kept: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        kept = {"admin": secrets.token_urlsafe(9)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept))
        path.chmod(0o600)
    return kept["admin"]


def _refuse_taken(port: int) -> None:
    # Whoever listens there would be taken for the server that could not start beside it.
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise TransientError(f"Something listens on port {port} already; stop it, or choose another with --port.")


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
