"""The app as a whole: who may see it, and what every answer carries."""

from __future__ import annotations

import html
import re
from importlib.metadata import version
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from fastapi.testclient import TestClient

from perennial.warehouse import Warehouse
from perennial.web.plugin import PerennialPlugin
from tests.web.conftest import As
from tests.workspace import Workspace


def test_strangers_are_asked_to_log_in(server: TestClient, warehouse: Warehouse) -> None:
    answer = server.get("/perennial/sources")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_person_who_is_logged_out_is_led_to_where_one_logs_in(server: TestClient, warehouse: Warehouse) -> None:
    for headers, status in (({}, 401), ({"Authorization": "Bearer old"}, 403)):
        answer = server.get("/perennial/sources", headers={"Accept": "text/html", **headers})
        assert answer.status_code == status
        assert (
            '<a href="/api/v2/auth/login?next=%2Fperennial%2Fsources" data-airflow>Log in to Airflow</a>' in answer.text
        )


@pytest.mark.parametrize(
    "address",
    ["/perennial/source?id=a%26b%3Fnext%3D%2F%2Fevil.example", "/perennial/restore?id=x&id=y", "/perennial/users"],
)
def test_who_logs_in_comes_back_to_the_link_one_came_from(
    server: TestClient, warehouse: Warehouse, address: str
) -> None:
    refused = server.get(address, headers={"Accept": "text/html"})
    (link,) = re.findall(r'<a href="([^"]*)" data-airflow>Log in', refused.text)
    form = server.get(html.unescape(link))
    assert form.status_code == 307
    if version("apache-airflow-core").startswith("3.1."):
        # It does not quote the link anew, so what follows `&` is lost, and a name with such a character is not found.
        address = unquote(address.partition("&")[0])
    assert dict(parse_qsl(urlsplit(form.headers["location"]).query)) == {"next": address}


def test_who_sent_a_form_comes_back_to_the_sources(server: TestClient, warehouse: Warehouse) -> None:
    refused = server.post("/perennial/restores", data={}, headers={"Accept": "text/html"})
    assert refused.status_code == 401
    assert 'login?next=%2Fperennial%2Fsources"' in refused.text


def test_the_pages_name_fits_airflows_navigation() -> None:
    (view,) = PerennialPlugin.external_views
    assert len(view["name"]) <= 8


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
    }
    client = page("vic")
    texts = {address: client.get(f"/perennial{address}", headers={"Accept": "text/html"}).text for address in marked}
    found = {address: re.findall(r'aria-current="(\w+)">([^<]*)<', text) for address, text in texts.items()}
    assert found == {address: [mark] for address, mark in marked.items()}
