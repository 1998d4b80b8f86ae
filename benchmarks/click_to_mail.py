"""Restore one source of the sample workspace in the Airflow of `perennial up`: from the trigger to the e-mail."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import urllib.error
from contextlib import suppress
from datetime import datetime
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.api import call, log_in, until
from benchmarks.figures import Cost, Figure
from perennial.settings import Settings
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import ServedAirflow, running_airflow
from perennial_sample.story import tell_story

EVENTS = 20_000
RESTORES = 3
DAG = "restore_interactions"
AIM_SECONDS, MUST_SECONDS = 6, 9


def run() -> list[Figure]:
    """Restore one source after the other; the timeline of the tasks of each is printed."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["PERENNIAL_HOME"] = home
        tell_story(Console(stderr=True, quiet=True), EVENTS)
        settings = Settings.from_environment()
        with (
            Mailbox(settings.below_home("mail")) as mailbox,
            running_airflow(settings, free_port(), mailbox) as airflow,
        ):
            token = log_in(airflow)
            until(lambda: _is_idle(airflow, token))
            idle = _processor_share(airflow, 10)
            measured = [_restored(airflow, token, mailbox, source_id) for source_id in _expired_sources()[:RESTORES]]
    seconds, processor = (statistics.median(figures) for figures in zip(*measured, strict=True))
    return [
        Figure(
            "restore one source through `perennial up`, trigger to e-mail",
            seconds,
            " s",
            AIM_SECONDS,
            MUST_SECONDS,
            ours=Cost(seconds, processor),
            detail=f"CPU of all of Airflow, which takes {idle:.2f} s a second while nothing runs; the machine has "
            f"{os.cpu_count()} cores and a load of {os.getloadavg()[0]:.1f}",
        )
    ]


def _expired_sources() -> list[str]:
    import perennial

    found = perennial.query(
        "SELECT source_id FROM source_availability WHERE state = 'expired' AND archived_rows > 0 ORDER BY source_id"
    )
    return [str(row["source_id"]) for row in found.to_pylist()]


def _restored(airflow: ServedAirflow, token: str, mailbox: Mailbox, source_id: str) -> tuple[float, float]:
    """Restore one source; returns the seconds until its e-mail, and the seconds of processor time till then."""
    conf = {"source_ids": [source_id], "notify": ["ann@example.com"], "reason": "benchmark"}
    known, processor = len(mailbox.messages()), _processor_seconds(airflow)
    triggered_at = time.time()
    run = call(airflow, f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf}, token)
    until(lambda: len(mailbox.messages()) > known, 0.05)
    seconds = time.time() - triggered_at
    processor = _processor_seconds(airflow) - processor
    (mail,) = mailbox.messages()[known:]
    assert mail.subject.startswith("Restored"), mail.subject
    until(lambda: _is_idle(airflow, token))
    tasks = call(airflow, f"/api/v2/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances", token=token)
    _print(source_id, tasks["task_instances"], triggered_at, seconds)
    return seconds, processor


def _print(source_id: str, tasks: list[dict[str, Any]], triggered_at: float, seconds: float) -> None:
    table = Table(title=f"{source_id}: {seconds:.1f} s; seconds after the trigger")
    for heading in ("task", "scheduled", "queued", "started", "ended", "state"):
        table.add_column(heading, justify="left" if heading in ("task", "state") else "right")
    moments = ("scheduled_when", "queued_when", "start_date", "end_date")
    ran = [task for task in tasks if task["pid"] is not None]
    for task in sorted(ran, key=lambda task: task["start_date"]):
        after = [datetime.fromisoformat(task[moment]).timestamp() - triggered_at for moment in moments]
        table.add_row(task["task_id"], *(f"{moment:.2f}" for moment in after), task["state"])
    Console(width=120).print(table)


def _is_idle(airflow: ServedAirflow, token: str) -> bool:
    """Whether the DAG is there and no run of any is under way: schedules begin at the first start."""
    try:
        call(airflow, f"/api/v2/dags/{DAG}", token=token)
        found = call(airflow, "/api/v2/dags/~/dagRuns?state=queued&state=running", token=token)
    except urllib.error.HTTPError:
        return False
    return found["total_entries"] == 0


def _processor_share(airflow: ServedAirflow, seconds: float) -> float:
    before = _processor_seconds(airflow)
    time.sleep(seconds)
    return (_processor_seconds(airflow) - before) / seconds


def _processor_seconds(airflow: ServedAirflow) -> float:
    """Processor time of every process of Airflow, those that have ended among them."""
    total = 0.0
    for process in psutil.Process(airflow.process.pid).children(recursive=True):
        # Tasks come and go meanwhile.
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total
