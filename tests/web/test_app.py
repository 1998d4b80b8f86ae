"""The app as a whole: who may see it, and what every answer carries."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from perennial.warehouse import Warehouse
from tests.web.conftest import As
from tests.workspace import Workspace


def test_strangers_are_told_to_log_in(server: TestClient, warehouse: Warehouse) -> None:
    answer = server.get("/perennial/sources")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_viewer_sees_the_sources_under_a_strict_policy(page: As, warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.sync()
    answer = page("vic").get("/perennial/sources")
    assert "1 source" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_navigation_marks_where_one_is(page: As, warehouse: Warehouse) -> None:
    workspace = Workspace(warehouse)
    workspace.source("old")
    workspace.sync()
    marked = {
        "/overview": ("page", "Overview"),
        "/sources?q=x": ("page", "Sources"),
        "/source?id=old": ("true", "Sources"),
        "/restore?id=old": ("true", "Restores"),
        "/restores": ("page", "Restores"),
        "/restores/run?id=none": ("true", "Restores"),
        "/users": ("page", "Users"),
        "/user?id=none": ("true", "Users"),
        "/docs": ("page", "API"),
    }
    client = page("vic")
    texts = {address: client.get(f"/perennial{address}", headers={"Accept": "text/html"}).text for address in marked}
    found = {address: re.findall(r'aria-current="(\w+)">([^<]*)<', text) for address, text in texts.items()}
    assert found == {address: [mark] for address, mark in marked.items()}
