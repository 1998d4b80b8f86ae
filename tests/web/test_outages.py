"""The catalog is down, files are missing, the warehouse is busy: every answer says so, and the next one is right."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from perennial.moves import inline
from perennial.moves.move_plan import MovePlan
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.rows import append_hot, interaction, visible
from tests.web.conftest import As, eventually
from tests.web.restoring import ORDER, expired_workspace, forget_runs, run_queued
from tests.web.test_access import ROUTES
from tests.workspace import Workspace

Outage = Callable[[Workspace], AbstractContextManager[None]]
PARAMS = {"id": "old", "q": "old", "figures": "held"}
BODIES: dict[str, dict[str, Any]] = {
    "POST /restore": {"data": {"id": "old"}},
    "POST /restores": {"data": {"source_ids": '["running"]', "notify": "uma@example.com"}},
    "POST /api/restores": {"json": {**ORDER, "source_ids": ["running"]}},
    "POST /users/export/ids": {"json": {"external_ids": ["user-1"], "fields_to_export": ["external_id"]}},
    "POST /users/export/segment": {"json": {"segment_id": "none", "fields_to_export": ["external_id"]}},
}
# They never look at the warehouse.
WITHOUT_WAREHOUSE = {"GET /", "GET /openapi.json"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Nothing is moved in it, and nothing is restored."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp("home"))}))
    warehouse.create_tables()
    return expired_workspace(warehouse)


@pytest.fixture
def settings(world: Workspace) -> Settings:
    return world.warehouse.settings


@pytest.fixture
def fresh(page: As, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One that nobody has asked for yet."""
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    warehouse = Warehouse(Settings.from_environment())
    warehouse.create_tables()
    return expired_workspace(warehouse)


@pytest.fixture
def uma(page: As) -> Iterator[TestClient]:
    forget_runs()
    yield page("uma")
    forget_runs()


def _away(path: Path) -> Iterator[None]:
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@contextmanager
def the_catalog_is_gone(workspace: Workspace) -> Iterator[None]:
    yield from _away(home_of(workspace) / "catalog.db")


@contextmanager
def the_catalog_is_no_database(workspace: Workspace) -> Iterator[None]:
    catalog = home_of(workspace) / "catalog.db"
    content = catalog.read_bytes()
    catalog.write_bytes(b"no database " * 1_000)
    try:
        yield
    finally:
        catalog.write_bytes(content)


@contextmanager
def a_metadata_file_is_missing(workspace: Workspace) -> Iterator[None]:
    yield from _away(local(workspace.warehouse.table("lifecycle_events").metadata_location))


@contextmanager
def the_disk_is_not_there(workspace: Workspace) -> Iterator[None]:
    yield from _away(home_of(workspace) / "warehouse")


@contextmanager
def a_data_file_is_missing(workspace: Workspace) -> Iterator[None]:
    (live,) = workspace.warehouse.live_files(workspace.warehouse.table("sources"))
    yield from _away(local(live.uri))


def home_of(workspace: Workspace) -> Path:
    return workspace.warehouse.settings.home


def local(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def ask(client: TestClient, address: str, accept: str = "application/json") -> Any:
    method, path = address.split()
    body = BODIES.get(address, {})
    return client.request(method, f"/perennial{path}", params=PARAMS, headers={"Accept": accept}, **body)


@pytest.mark.long
@pytest.mark.parametrize(
    ("outage", "said", "status"),
    [
        (the_catalog_is_gone, "The catalog is missing", 503),
        (the_catalog_is_no_database, "The database of the catalog, or Airflow's own, cannot be read", 500),
        (a_metadata_file_is_missing, "Files of the warehouse are missing", 503),
        (the_disk_is_not_there, "Files of the warehouse are missing", 503),
        (a_data_file_is_missing, "Files of the warehouse are missing", 503),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_route_says_what_is_wrong_and_works_again_when_it_is_repaired(
    page: As, world: Workspace, outage: Outage, said: str, status: int
) -> None:
    client = page("ann")
    with outage(world):
        answers = {address: ask(client, address) for address in ROUTES}
    hit = {address: answer for address, answer in answers.items() if answer.status_code >= 500}
    # What does not need the part that is missing goes on.
    if outage is the_catalog_is_gone:
        assert set(ROUTES) - set(hit) == WITHOUT_WAREHOUSE
    assert "GET /source" in hit
    for address, answer in hit.items():
        assert answer.status_code == status, address
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"], address
        assert str(world.warehouse.settings.home) not in answer.text
        assert ("retry-after" in answer.headers) == (status == 503)
        assert answer.headers["content-security-policy"]
    after = {address: ask(client, address).status_code for address in ROUTES}
    assert {address for address, code in after.items() if code >= 500} == set()
    going_on = {address: answer.status_code for address, answer in answers.items() if address not in hit}
    assert going_on == {address: after[address] for address in going_on}


def test_a_person_gets_a_page_that_says_so(uma: TestClient, world: Workspace) -> None:
    with the_catalog_is_gone(world):
        answer = ask(uma, "GET /sources", "text/html")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "The catalog is missing" in answer.text
    assert "<nav" in answer.text


@pytest.mark.long
def test_a_locked_catalog_is_said_and_forgotten(uma: TestClient, world: Workspace) -> None:
    assert total(uma) == 6
    with closing(sqlite3.connect(home_of(world) / "catalog.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        listed = total(uma)
        answer = ask(uma, "GET /api/source")
        other.execute("ROLLBACK")
    assert answer.status_code == 503
    assert "another program has locked it" in answer.json()["detail"]
    # Lists are made from the last state meanwhile.
    assert (listed, total(uma)) == (6, 6)


@pytest.mark.long
def test_without_the_platforms_database_every_page_goes_on(page: As, world: Workspace) -> None:
    assert not local(world.warehouse.settings.platform_url.removeprefix("sqlite:///")).exists()
    assert {address for address in ROUTES if ask(page("ann"), address).status_code >= 500} == set()


@pytest.mark.long(but="catalog")
@pytest.mark.parametrize("outage", [a_metadata_file_is_missing, a_data_file_is_missing, the_catalog_is_gone])
def test_a_first_look_that_failed_is_not_remembered(uma: TestClient, fresh: Workspace, outage: Outage) -> None:
    with outage(fresh):
        assert ask(uma, "GET /api/sources").status_code == 503
        assert ask(uma, "GET /api/sources").status_code == 503
    assert total(uma) == 6


def test_a_workspace_brought_back_from_a_backup_is_shown_as_it_was_then(
    uma: TestClient, fresh: Workspace, tmp_path: Path
) -> None:
    home, backup = home_of(fresh), tmp_path / "backup"
    shutil.copytree(home, backup)
    fresh.source("newer")
    fresh.sync()
    assert total(uma) == 7
    shutil.rmtree(home)
    backup.replace(home)
    assert total(uma) == 6
    assert ask(uma, "GET /api/source").json()["state"] == "expired"


@pytest.mark.long
def test_while_a_loader_commits_again_and_again_every_answer_is_right_and_soon_new(page: As, fresh: Workspace) -> None:
    client, enough = page("ann"), Event()

    def load() -> int:
        commits = 0
        while not enough.is_set():
            append_hot(fresh.warehouse, [interaction("running", 1_000 + commits)])
            commits += 1
        return commits

    asked = [address for address in ROUTES if address.startswith("GET ")]
    with ThreadPoolExecutor(1) as loader:
        loading = loader.submit(load)
        try:
            first = running_rows(client)
            answers = {address: ask(client, address).status_code for _ in range(2) for address in asked}
            eventually(lambda: running_rows(client) > first)
        finally:
            enough.set()
        commits = loading.result()
    assert {address for address, status in answers.items() if status >= 500} == set()
    eventually(lambda: running_rows(client) == 30 + commits)


@pytest.mark.long
def test_a_run_whose_copies_vanish_midway_says_so_and_a_new_one_brings_the_data_back(
    uma: TestClient,
    fresh: Workspace,
    dags: Mapping[str, Any],
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = visible(fresh.warehouse)
    location = local(fresh.warehouse.table("interactions").location())
    there = set(location.rglob("*.parquet"))
    states = []
    really_verify = inline.verify_move

    def lose_the_copy(warehouse: Warehouse, plan: MovePlan) -> None:
        really_verify(warehouse, plan)
        states.append(state_of(uma, "old"))
        (copy,) = set(location.rglob("*.parquet")) - there
        copy.unlink()

    started = uma.post("/perennial/api/restores", json=ORDER).json()
    with monkeypatch.context() as patch:
        patch.setattr(inline, "verify_move", lose_the_copy)
        assert run_queued(dags, started["run_id"], lambda _: states.append(state_of(uma, "old"))) == "failed"

    failed = uma.get(started["progress_url"]).json()
    assert (failed["phase"], failed["message"]) == ("failed", "Failed")
    assert "is not what was verified; nothing was committed" in failed["error"]
    assert [(source["source_id"], source["outcome"]) for source in failed["sources"]] == [("old", "failed")]
    text = uma.get(started["progress_url"].replace("/api/", "/")).text
    assert "is not what was verified" in text
    assert set(states) == {"restoring"}
    assert state_of(uma, "old") == "expired"
    assert "expired on" in uma.get("/perennial/source", params={"id": "old"}).text
    assert visible(fresh.warehouse) == before

    again = uma.post("/perennial/api/restores", json=ORDER).json()
    assert run_queued(dags, again["run_id"]) == "success"
    assert uma.get(again["progress_url"]).json()["phase"] == "done"
    eventually(lambda: state_of(uma, "old") == "available")
    assert uma.get("/perennial/api/source", params={"id": "old"}).json()["state"] == "available"
    assert sum(visible(fresh.warehouse).values()) == sum(before.values()) + 30
    assert len(mailbox.messages()) == 2


def state_of(client: TestClient, source_id: str) -> str:
    listed = client.get("/perennial/api/sources", params={"q": f"Name of {source_id}"}).json()["sources"]
    (state,) = {source["state"] for source in listed if source["source_id"] == source_id}
    return str(state)


def total(client: TestClient) -> int:
    answer = client.get("/perennial/api/sources")
    assert answer.status_code == 200, answer.text
    found: int = answer.json()["total"]
    return found


def running_rows(client: TestClient) -> int:
    answer = client.get("/perennial/api/sources", params={"q": "running"})
    assert answer.status_code == 200, answer.text
    rows: int = answer.json()["sources"][0]["row_count"]
    return rows


# --- many people at once ----------------------------------------------------------------------------------------------


def test_whoever_asks_the_warehouse_keeps_no_connection_from_airflow(
    page: As, world: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import settings as airflow_settings
    from perennial.web import source_details

    kept = []

    def check_resume(*args: Any) -> Any:
        kept.append(airflow_settings.engine.pool.checkedout())
        return source_check(*args)

    source_check = source_details.check_resume
    monkeypatch.setattr(source_details, "check_resume", check_resume)
    assert page("vic").get("/perennial/source?id=old").status_code == 200
    assert kept == [0]


@pytest.mark.long
def test_more_people_than_airflow_has_connections_are_answered_and_so_is_airflow(page: As, world: Workspace) -> None:
    vic = page("vic")
    with ThreadPoolExecutor(24) as people:
        asked = [people.submit(vic.get, "/perennial/source?id=old") for _ in range(24)]
        assert vic.get("/api/v2/version").status_code == 200
        assert not all(answer.done() for answer in asked)
    assert {answer.result().status_code for answer in asked} == {200}


def test_who_waits_too_long_is_asked_to_come_back(page: As, world: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from perennial.web import dependencies

    monkeypatch.setattr(dependencies, "_GATE", anyio.Semaphore(0))
    monkeypatch.setattr(dependencies, "_WAIT_SECONDS", 0.01)
    answer = page("vic").get("/perennial/api/sources")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "Too many people are reading" in answer.json()["detail"]
