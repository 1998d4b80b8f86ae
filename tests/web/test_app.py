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


def test_a_person_who_is_logged_out_is_led_to_where_one_logs_in(server: TestClient, warehouse: Warehouse) -> None:
    for headers, status in (({}, 401), ({"Authorization": "Bearer old"}, 403)):
        answer = server.get("/perennial/sources", headers={"Accept": "text/html", **headers})
        assert answer.status_code == status
        assert '<a href="/" data-airflow>Log in to Airflow</a>' in answer.text


def test_browsers_keep_the_static_files_and_nothing_else(page: As, warehouse: Warehouse) -> None:
    client = page("vic")
    kept = client.get("/perennial/static/app.css")
    assert kept.headers["cache-control"] == "no-cache"
    same = client.get("/perennial/static/app.css", headers={"If-None-Match": kept.headers["etag"]})
    assert (same.status_code, same.headers["x-content-type-options"]) == (304, "nosniff")
    assert client.get("/perennial/sources").headers["cache-control"] == "no-store"


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
