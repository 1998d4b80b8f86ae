"""Airflow's own API server in this process, with the page mounted and people logged in."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.erasures.hashes import make_key
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.conftest import PEOPLE
from tests.dags.conftest import dags, mailbox  # noqa: F401 - the same DAGs, known to the same metadata database
from tests.exports.received_world import build, expire

As = Callable[[str], TestClient]


@pytest.fixture(scope="session")
def server(dags: Mapping[str, Any]) -> Iterator[TestClient]:  # noqa: F811
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


@pytest.fixture
def page(server: TestClient, tokens: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> As:
    """Return a function that gives the server as one person sees it, over this test's workspace."""
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))

    def as_person(name: str) -> TestClient:
        server.headers["Authorization"] = f"Bearer {tokens[name]}"
        return server

    yield as_person
    server.headers.pop("Authorization", None)


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A workspace in which some sources have expired."""
    warehouse = build(tmp_path_factory.mktemp("home"))
    expire(warehouse)
    make_key(warehouse.settings)
    return warehouse


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds: lists are rebuilt in the background, and may be a few seconds old."""
    for _ in range(100):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")
