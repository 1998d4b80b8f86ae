"""Airflow in this process: its DAGs, its API server and mail, for all tests that want them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.settings import Settings
from perennial_sample import in_process
from perennial_sample.in_process import open_dags
from perennial_sample.mailbox import Mailbox, open_mailbox
from tests.conftest import PEOPLE

RunDag = Callable[..., Any]
_seconds = count()


@pytest.fixture(scope="session")
def dags() -> Mapping[str, Any]:
    """Every DAG of the project, known to a fresh metadata database."""
    return open_dags()


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    """Where all mail of this process goes."""
    with open_mailbox(tmp_path / "mail") as opened:
        yield opened


@pytest.fixture
def run_dag(dags: Mapping[str, Any], settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    """Return a function that runs a DAG to its end in this workspace, and gives back the run."""
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    monkeypatch.setenv("PERENNIAL_LANDING_SETTLE_SECONDS", "0")

    def run(dag_id: str, conf: dict[str, Any] | None = None, at: datetime | None = None) -> Any:
        # A second run of the same logical date would be the first one, cleared.
        at = at and at + timedelta(seconds=next(_seconds))
        for task in dags[dag_id].tasks:
            # A run in process really sleeps between tries.
            monkeypatch.setattr(task, "retries", 0)
        return in_process.run_dag(dags[dag_id], conf, at)

    return run


@pytest.fixture(scope="session")
def server(dags: Mapping[str, Any]) -> Iterator[TestClient]:
    """Airflow's API server, asked as nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.api_fastapi.app import create_app

        with TestClient(create_app(), follow_redirects=False) as client:
            yield client


@pytest.fixture(scope="session")
def tokens(server: TestClient) -> dict[str, str]:
    """The token of each person, by name."""
    answers = {name: server.post("/auth/token", json={"username": name, "password": name}) for name in PEOPLE}
    return {name: answer.json()["access_token"] for name, answer in answers.items()}
