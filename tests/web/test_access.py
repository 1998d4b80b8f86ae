"""Every route of the app, walked from its route table, and everybody who may come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Mount

from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial.web import create_app
from perennial.web.access import CANCEL, ERASE, ERASE_DAG, EXPORT, EXPORT_DAG, HOLD, READ, RESTORE
from perennial.web.app import BODY_LIMIT_BYTES
from tests.conftest import PEOPLE
from tests.web.conftest import As

RIGHTS = {
    READ.dependency: "read",
    RESTORE.dependency: "restore",
    CANCEL.dependency: "cancel",
    EXPORT.dependency: "export",
    HOLD.dependency: "hold",
    ERASE.dependency: "erase",
}
FOR_ANYBODY = ["/static"]
# What may be asked for with the right to read although it is a POST: it starts nothing and takes nothing out.
READING_POSTS = {"POST /restore"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))})
    Warehouse(settings).create_tables()
    return settings


def walk(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, BaseRoute]]:
    """Every route with its address, those of routers and apps below included."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        below = getattr(route, "routes", None)
        if below:
            yield from walk(below, path)
        else:
            yield path, route


def calls(dependant: Any) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls(dependency)


def rights(app: FastAPI) -> dict[str, set[str]]:
    """The rights that each address and method asks for; none where it is anybody's."""
    found: dict[str, set[str]] = {}
    for path, route in walk(app.routes):
        if isinstance(route, Mount) or not isinstance(route, APIRoute):
            found[path] = set()
            continue
        asked = {RIGHTS[call] for call in calls(route.dependant) if call in RIGHTS}
        found |= {f"{method} {path}": asked for method in sorted(route.methods)}
    return found


ROUTES = {address: asked for address, asked in rights(create_app()).items() if asked}


def test_every_route_asks_for_one_right_but_the_static_files() -> None:
    asked = rights(create_app())
    assert [address for address, needed in asked.items() if not needed] == FOR_ANYBODY
    assert {address: needed for address, needed in asked.items() if len(needed) > 1} == {}


def test_what_starts_something_or_takes_data_out_asks_for_more_than_reading() -> None:
    reading = {address for address, asked in ROUTES.items() if asked == {"read"}}
    assert {address for address in reading if not address.startswith("GET ")} == READING_POSTS
    assert {address for address in reading if "export" in address} == set()
    assert {address for address, asked in ROUTES.items() if asked == {"restore"}} == {
        "POST /restores",
        "POST /api/restores",
    }
    assert {address for address, asked in ROUTES.items() if asked == {"cancel"}} == {
        "POST /restores/cancel",
        "POST /api/restores/cancel",
    }
    assert {address for address, asked in ROUTES.items() if asked == {"hold"}} == {"POST /holds", "POST /api/holds"}
    # Also to see who was to be erased when.
    assert {address for address, asked in ROUTES.items() if asked == {"erase"}} == {
        address for address in ROUTES if "/erasure" in address or "delete" in address
    }


def test_a_route_that_somebody_adds_without_a_right_is_found() -> None:
    app = create_app()
    router = APIRouter(prefix="/below")
    router.add_api_route("/open", lambda: None)
    app.include_router(router)
    below = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    below.add_api_route("/open", lambda: None, methods=["POST"])
    app.mount("/mounted", below)
    asked = rights(app)
    opened = [address for address, needed in asked.items() if not needed]
    assert opened == [*FOR_ANYBODY, "GET /below/open", "POST /mounted/open"]


@pytest.mark.parametrize("address", ROUTES)
def test_a_stranger_is_asked_to_log_in(server: TestClient, settings: Settings, address: str) -> None:
    method, path = address.split()
    answer = server.request(method, f"/perennial{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize("address", [address for address in ROUTES if not address.startswith("GET ")])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {"Content-Type": "application/json"}),
        (b"--x", {"Content-Type": "multipart/form-data; boundary=x"}),
        (b"&".join([b"id=1"] * 2_000), {"Content-Type": "application/x-www-form-urlencoded"}),
        (b"x" * (BODY_LIMIT_BYTES + 1), {}),
        ((chunk for chunk in (b"{", b"}")), {}),
        (b"", {"Sec-Fetch-Site": "cross-site"}),
    ],
    ids=["no JSON", "no parts", "too many fields", "too large", "chunks", "from another site"],
)
def test_a_stranger_learns_nothing_by_sending_nonsense(
    server: TestClient, settings: Settings, address: str, body: Any, headers: dict[str, str]
) -> None:
    path = address.partition(" ")[2]
    answer = server.post(f"/perennial{path}", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert "Not authenticated" in answer.text


@pytest.mark.long(but="-uma$")
@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("address", ROUTES)
def test_a_viewer_may_read_and_everybody_else_everything(page: As, address: str, person: str) -> None:
    method, path = address.split()
    answer = page(person).request(method, f"/perennial{path}")
    refused = PEOPLE[person] == "viewer" and ROUTES[address] != {"read"}
    assert (answer.status_code == 403) == refused
    assert answer.status_code not in (401, 500, 503)


@pytest.mark.parametrize("lacking", [EXPORT_DAG, ERASE_DAG])
def test_r22_erasing_takes_the_right_to_export_and_one_of_its_own(
    page: As, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    manager = get_auth_manager()
    may = manager.is_authorized_dag

    def may_all_others(*, details: Any = None, **asked: Any) -> bool:
        return (details is None or details.id != lacking) and may(details=details, **asked)

    # Airflow's simple auth manager, which the tests have, gives a role the same rights to all DAGs.
    monkeypatch.setattr(manager, "is_authorized_dag", may_all_others)
    answer = page("ann").get("/perennial/api/erasures")
    assert answer.status_code == 403
    assert f"the rights to trigger the DAGs {EXPORT_DAG} and {ERASE_DAG}" in answer.json()["detail"]


def test_static_files_are_for_anybody(server: TestClient) -> None:
    assert server.get("/perennial/static/app.css").status_code == 200


@pytest.mark.parametrize("address", [address for address in ROUTES if not address.startswith("GET ")])
def test_a_page_of_another_site_can_send_nothing(page: As, address: str) -> None:
    method, path = address.split()
    answer = page("ann").request(method, f"/perennial{path}", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_a_method_that_no_route_has_is_not_allowed(page: As) -> None:
    assert page("ann").delete("/perennial/source").status_code == 405
