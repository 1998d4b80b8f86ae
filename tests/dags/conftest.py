"""The DAGs run for real: Airflow's own database, one DagBag a session, mail through a real SMTP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from perennial.settings import Settings
from perennial_sample import in_process
from perennial_sample.in_process import open_dags
from perennial_sample.mailbox import Mailbox

RunDag = Callable[..., Any]
_seconds = count()


@pytest.fixture(scope="session")
def dags() -> Mapping[str, Any]:
    """Every DAG of the project, known to a fresh metadata database."""
    return open_dags()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    with Mailbox(tmp_path / "mail") as opened:
        yield opened


@pytest.fixture
def run_dag(dags: Mapping[str, Any], settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    """Return a function that runs a DAG to its end in this workspace, and gives back the run."""
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    monkeypatch.setenv("PERENNIAL_LANDING_SETTLE_SECONDS", "0")
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mailbox.airflow_connection())

    def run(dag_id: str, conf: dict[str, Any] | None = None, at: datetime | None = None) -> Any:
        # A second run of the same logical date would be the first one, cleared.
        at = at and at + timedelta(seconds=next(_seconds))
        for task in dags[dag_id].tasks:
            # A run in process really sleeps between tries.
            monkeypatch.setattr(task, "retries", 0)
        return in_process.run_dag(dags[dag_id], conf, at)

    return run
