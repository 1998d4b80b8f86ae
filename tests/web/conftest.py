"""The page, in Airflow's own API server, as people who are logged in see it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from perennial.erasures.hashes import make_key
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.exports.received_world import build, expire

As = Callable[[str], TestClient]


@pytest.fixture
def page(server: TestClient, tokens: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> As:
    """Return a function that gives the server as one person sees it, over this test's workspace."""
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))

    def as_person(name: str) -> TestClient:
        server.headers["Authorization"] = f"Bearer {tokens[name]}"
        return server

    yield as_person
    server.headers.pop("Authorization", None)


@pytest.fixture(scope="package")
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
