"""Restore 10 million rows of 500 sources by tag, from the trigger to the e-mail, in a whole Airflow; and without it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.expire import NOW, ROWS, SOURCES
from benchmarks.sample import create_warehouse
from perennial import operations
from perennial.moves import Run, expire_sources, restore_sources
from perennial.resources import resource
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import ServedAirflow, running_airflow

REQUEST = {"tags": ["all"], "notify": ["ann@example.com"], "reason": "benchmark"}


def run() -> list[dict[str, Any]]:
    """Measure the whole run once in Airflow, and the same restore once in this process: the difference is Airflow's."""
    with tempfile.TemporaryDirectory() as folder:
        warehouse = create_warehouse(Path(folder) / "home", ROWS, SOURCES)
        expire_sources(warehouse, Run(uuid.uuid4().hex, NOW))
        whole = _through_airflow(warehouse, Path(folder))
        # Long after the restore, so that everything is due again.
        later = datetime.now(UTC) + timedelta(days=100)
        with patch.object(operations, "wall_clock", return_value=later):
            expire_sources(warehouse, Run(uuid.uuid4().hex, later))
        started = time.monotonic()
        restore_sources(warehouse, REQUEST, Run(uuid.uuid4().hex, datetime.now(UTC)))
        ours = time.monotonic() - started
    return [
        {
            "name": f"restore {ROWS:,} rows of {SOURCES} sources, trigger to e-mail",
            "ours_seconds": whole,
            "other_seconds": ours,
            "ratio": ours / whole,
            "target": "below 30 s",
            "detail": f"other: the same restore in one warm process; Airflow's share is {1 - ours / whole:.0%} "
            "(its scheduling, and a fresh process with its imports for each task)",
        }
    ]


def _through_airflow(warehouse: Warehouse, folder: Path) -> float:
    """Serve only the restore DAG: on first sight of the others Airflow would run them beside it."""
    shutil.copytree(resource("dags"), folder / "dags", ignore=lambda _, names: {*names} - {"restore_interactions.py"})
    with (
        Mailbox(folder / "mail") as mailbox,
        running_airflow(warehouse.settings, free_port(), mailbox, folder / "dags") as airflow,
    ):
        token = _call(airflow, "/auth/token", {"username": "admin", "password": airflow.password})["access_token"]
        _await_dag(airflow, token)
        started = time.monotonic()
        _call(airflow, "/api/v2/dags/restore_interactions/dagRuns", {"logical_date": None, "conf": REQUEST}, token)
        while not (mails := mailbox.messages()):
            time.sleep(0.1)
            if time.monotonic() - started > 300:
                raise TimeoutError("no e-mail after five minutes")
        seconds = time.monotonic() - started
    assert f"{ROWS:,}" in mails[0].text, mails[0].text
    return seconds


def _await_dag(airflow: ServedAirflow, token: str) -> None:
    for _ in range(120):
        try:
            _call(airflow, "/api/v2/dags/restore_interactions", None, token)
        except urllib.error.HTTPError:
            time.sleep(1)
        else:
            return
    raise TimeoutError("the DAG was not parsed within two minutes")


def _call(airflow: ServedAirflow, path: str, body: dict[str, Any] | None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(airflow.url + path, data=content, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
