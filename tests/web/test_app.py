"""The app as a whole: who may see it, and what every answer carries."""

from __future__ import annotations

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
