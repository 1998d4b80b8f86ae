"""Airflow over a workspace, and a real browser in front of it.

Most tests look at the API server of this process, where no run ever starts. Those that follow a run to its end ask for
`running`: all of Airflow, which takes half a minute and a gigabyte to start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect

from perennial.erase.opening import open_erasure
from perennial.erasures.hashes import make_key
from perennial.erasures.requests import PLATFORM, new_request
from perennial.moves import Run, expire_sources, restore_sources
from perennial.settings import Settings
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import running_airflow
from tests import PROJECT_ROOT
from tests.browser.chromium import find_chromium, open_browser
from tests.rows import append_hot, interaction
from tests.web.restoring import forget_runs
from tests.workspace import Workspace, member, received

SCREENSHOTS = PROJECT_ROOT / "build" / "screenshots"
LONG_AGO = datetime.now(UTC) - timedelta(days=200)
PROMO = 12
ASKED_BY_PLATFORM = "3f9a0c17b2d84e5f9a6b7c8d9e0f1a2b"
# A machine that does other things as well must not fail a test.
PATIENCE_MS = 60_000
PATIENCE_SECONDS = 300
expect.set_options(timeout=PATIENCE_MS)


@dataclass(frozen=True)
class Served:
    """Airflow over a workspace."""

    url: str
    warehouse: Warehouse
    user: str
    password: str


@dataclass(frozen=True)
class Running(Served):
    """All of Airflow, and the mail that it sends."""

    mailbox: Mailbox


@pytest.fixture(scope="module")
def served(server: TestClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API server of this process, at an address of its own."""
    warehouse = expired_workspace(tmp_path_factory.mktemp("served"))
    # The client of the tests has started the application.
    airflow = uvicorn.Server(uvicorn.Config(server.app, port=free_port(), lifespan="off", log_config=None))
    thread = threading.Thread(target=airflow.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(warehouse.settings.home))
        thread.start()
        yield Served(f"http://127.0.0.1:{airflow.config.port}", warehouse, "ann", "ann")
        airflow.should_exit = True
        thread.join()
    forget_runs()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    warehouse = expired_workspace(tmp_path_factory.mktemp("running"))
    settings = warehouse.settings
    # Whatever has a schedule would run at the first start; then it takes a minute to stop.
    dags = settings.home / "dags"
    dags.mkdir()
    for name in ("restore_interactions.py", "export_user_data.py"):
        (dags / name).symlink_to(PROJECT_ROOT / "dags" / name)
    erase = (PROJECT_ROOT / "dags" / "erase_users.py").read_text(encoding="utf-8")
    (dags / "erase_users.py").write_text(erase.replace('schedule="0 2 * * *"', "schedule=None"), encoding="utf-8")
    with Mailbox(settings.home / "mail") as mailbox, running_airflow(settings, free_port(), mailbox, dags) as airflow:
        yield Running(airflow.url, warehouse, "admin", airflow.password, mailbox)


def expired_workspace(home: Path) -> Warehouse:
    settings = Settings.from_environment({"PERENNIAL_HOME": str(home), "PERENNIAL_LANDING_SETTLE_SECONDS": "0"})
    warehouse = Warehouse(settings)
    warehouse.create_tables()
    make_key(settings)
    fill(warehouse)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expire_sources(warehouse, Run("scheduled__yesterday", yesterday, "scheduled"))
    order = {"source_ids": ["cmp-back"], "notify": ["ann@example.com"]}
    restore_sources(warehouse, order, Run("manual__yesterday", yesterday))
    return warehouse


def fill(warehouse: Warehouse) -> None:
    """Stopped campaigns that expire, among them some with a tag and one with an awkward name; and one that runs."""
    workspace = Workspace(warehouse)
    stopped = {"stopped_at": LONG_AGO, "last_sent_at": LONG_AGO, "created_at": LONG_AGO - timedelta(days=90)}
    workspace.source("cmp-spring", "stopped", "season", name="Spring sale", **stopped)
    workspace.source("cmp/<b>\"'é🦄", "stopped", name="<script>alert(1)</script> ‮evil", **stopped)
    workspace.source("cmp-back", "stopped", name="Back", **stopped)
    workspace.source("cmp-form", "stopped", name="By Airflow's form", **stopped)
    for number in range(PROMO):
        workspace.source(f"cmp-promo-{number}", "stopped", "promo", name=f"Promotion {number}", **stopped)
    workspace.source("cnv-running", "active", "promo", name="Onboarding", kind="canvas", created_at=LONG_AGO)
    workspace.audience("canvas:cnv-running", member("seg-buyers"))
    workspace.audience("segment:seg-buyers", received("cmp-kept"))
    workspace.source("cmp-kept", "stopped", name="Kept by a segment", **stopped)
    soon = datetime.now(UTC) - timedelta(days=75)
    workspace.source("cmp-soon", "stopped", name="Autumn sale", **{**stopped, "stopped_at": soon, "last_sent_at": soon})
    workspace.sync()
    users = [
        {"user_id": f"user-{n}", "email": f"u{n}@example.com", "invalid_phone": False, "feature_flags": []}
        for n in range(7)
    ]
    workspace.replace(USERS.name, users)
    rows = [interaction(source, n, occurred_at=LONG_AGO) for source in workspace.sources for n in range(40)]
    append_hot(warehouse, rows)
    # Nobody decides about it.
    asked = new_request(warehouse.settings, request_id=ASKED_BY_PLATFORM, user_ids=("user-9",), origin=PLATFORM)
    open_erasure(warehouse, asked)


# Of the module: while it is open, its event loop runs in this thread, and other tests want one of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip(
            "There is no Chromium on this machine, so the page was not tried in a browser (apt-get install chromium)."
        )
    with open_browser(path) as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Return a function that opens an address in a browser of its own, logged in; a screenshot is kept at the end.

    It is an address of the whole Airflow if the test asks for that too.

    Errors that the page's own scripts throw, and anything its policy blocks, fail the test.
    """
    served: Served = request.getfixturevalue("running" if "running" in request.fixturenames else "served")
    opened: list[Page] = []
    complaints: list[str] = []

    def visited(address: str = "", *, logged_in: bool = True, **context: Any) -> Page:
        surroundings = browser.new_context(base_url=served.url, **context)
        if logged_in:
            surroundings.add_cookies([{"name": "_token", "value": token(served), "url": served.url}])
        page = surroundings.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None
        )
        opened.append(page)
        if address:
            page.goto(address)
        return page

    yield visited
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for number, page in enumerate(opened):
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}-{number}.png", full_page=True)
        page.context.close()
    assert not complaints


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(1)
    return found


def token(served: Served) -> str:
    answer = httpx.post(f"{served.url}/auth/token", json={"username": served.user, "password": served.password})
    return str(answer.json()["access_token"])
