"""Restore 10 million rows of 500 sources by tag, from the trigger to the e-mail, in a whole Airflow; and without it."""

from __future__ import annotations

import shutil
import tempfile
import time
import urllib.error
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from benchmarks.api import call, log_in, until
from benchmarks.expire import NOW, ROWS, SOURCES
from benchmarks.figures import Cost, Figure
from benchmarks.sample import create_warehouse
from perennial import operations
from perennial.moves import Run, expire_sources, restore_sources
from perennial.resources import resource
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import ServedAirflow, running_airflow

MUST_SECONDS = 30
REQUEST = {"tags": ["all"], "notify": ["ann@example.com"], "reason": "benchmark"}


def run() -> list[Figure]:
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
        Figure(
            f"restore {ROWS:,} rows of {SOURCES} sources, trigger to e-mail",
            whole,
            " s",
            must=MUST_SECONDS,
            ours=Cost(whole),
            other=Cost(ours),
            detail=f"other: the same restore in one warm process; Airflow's share is {1 - ours / whole:.0%} "
            "(its scheduling, and its processes)",
        )
    ]


def _through_airflow(warehouse: Warehouse, folder: Path) -> float:
    """Serve only the restore DAG: on first sight of the others Airflow would run them beside it."""
    shutil.copytree(resource("dags"), folder / "dags", ignore=lambda _, names: {*names} - {"restore_interactions.py"})
    with (
        Mailbox(folder / "mail") as mailbox,
        running_airflow(warehouse.settings, free_port(), mailbox, folder / "dags") as airflow,
    ):
        token = log_in(airflow)
        until(lambda: _is_parsed(airflow, token))
        started = time.monotonic()
        call(airflow, "/api/v2/dags/restore_interactions/dagRuns", {"logical_date": None, "conf": REQUEST}, token)
        until(lambda: bool(mailbox.messages()), 0.1)
        seconds = time.monotonic() - started
        mails = mailbox.messages()
    assert f"{ROWS:,}" in mails[0].text, mails[0].text
    return seconds


def _is_parsed(airflow: ServedAirflow, token: str) -> bool:
    try:
        call(airflow, "/api/v2/dags/restore_interactions", token=token)
    except urllib.error.HTTPError:
        return False
    return True
