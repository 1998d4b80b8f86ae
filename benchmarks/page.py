"""The page over 100,000 sources, a quarter of them expired: answers of a whole Airflow while ten people click."""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import psutil

from benchmarks.figures import Cost, Figure
from benchmarks.sample import replace
from perennial.settings import Settings
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS, SOURCE_TAGS, SOURCES
from perennial.warehouse import Warehouse
from perennial.warehouse.files import FileStatistics, written_file
from perennial_sample.mailbox import Mailbox
from perennial_sample.ports import free_port
from perennial_sample.serve import running_airflow

COUNT, PEOPLE, CLICKS = 100_000, 10, 20
TARGET_SECONDS, OVERVIEW_SECONDS = 0.3, 1.0
NOW = datetime.now(UTC)
ADDRESSES = {
    "sources page": lambda n: f"/perennial/sources?page={1 + n % 50}",
    "a search": lambda n: f"/perennial/sources?q=campaign+{n * 7919 % COUNT}",
    "a tag filter": lambda n: f"/perennial/sources?tag=tag-{n % 500}&sort=size",
    "overview": lambda _: "/perennial/overview",
}


def run() -> list[Figure]:
    """Measure each kind of click with ten people at once, from the first byte sent to the last received."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.from_environment({"PERENNIAL_HOME": home})
        warehouse = Warehouse(settings)
        warehouse.create_tables()
        _fill(warehouse)
        with Mailbox(Path(home) / "mail") as mailbox, running_airflow(settings, free_port(), mailbox) as airflow:
            login = {"username": "admin", "password": airflow.password}
            token = httpx.post(f"{airflow.url}/auth/token", json=login).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
            before = _server_bytes(airflow.process.pid)
            started = time.perf_counter()
            with httpx.Client(base_url=airflow.url, headers=headers, timeout=120) as client:
                client.get("/perennial/sources").raise_for_status()
            first = time.perf_counter() - started
            rows = [_row(name, _clicked(airflow.url, headers, name)) for name in ADDRESSES]
            after = _server_bytes(airflow.process.pid)
    return [
        *rows,
        Figure(
            "page: memory of the API server after the last click ÷ before the first",
            after / before,
            ours=Cost(first),
            detail=f"{before / 1e6:,.0f} MB before, {after / 1e6:,.0f} MB after; "
            "seconds: the first answer, which reads every manifest",
        ),
    ]


def _row(name: str, seconds: list[float]) -> Figure:
    must = OVERVIEW_SECONDS if name == "overview" else TARGET_SECONDS
    return Figure(
        f"page: {name}, 95th percentile",
        statistics.quantiles(seconds, n=20)[-1],
        " s",
        must=must,
        ours=Cost(statistics.median(seconds)),
        detail=f"{PEOPLE} people, {PEOPLE * CLICKS} clicks, {COUNT:,} sources",
    )


def _clicked(url: str, headers: dict[str, str], name: str) -> list[float]:
    """Let everybody click at once, each on the next thing as soon as the last has come."""
    taken: list[float] = []

    def click(person: int) -> None:
        with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
            for number in range(CLICKS):
                address = ADDRESSES[name](person * CLICKS + number)
                started = time.perf_counter()
                client.get(address).raise_for_status()
                taken.append(time.perf_counter() - started)

    people = [threading.Thread(target=click, args=(person,)) for person in range(PEOPLE)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    return taken


def _server_bytes(parent: int) -> int:
    """Memory of the API server and its workers, among everything that `airflow standalone` started."""
    total = 0
    for process in psutil.Process(parent).children(recursive=True):
        # Tasks come and go meanwhile.
        with suppress(psutil.Error):
            total += process.memory_info().rss if any("api" in part for part in process.cmdline()) else 0
    return total


def _fill(warehouse: Warehouse) -> None:
    """Describe sources and their files; lists and decisions never open a data file, so there are none."""
    chance = random.Random(2026)
    replace(warehouse, SOURCES.name, [_source(number) for number in range(COUNT)])
    tags = [
        {"source_id": f"source-{number}", "tag": f"tag-{chance.randrange(500)}"}
        for number in range(COUNT)
        for _ in range(number % 3)
    ]
    replace(warehouse, SOURCE_TAGS.name, list({tuple(tag.values()): tag for tag in tags}.values()))
    # What has expired lies in the archive.
    for name, numbers in (
        (INTERACTIONS.name, [number for number in range(COUNT) if number % 4]),
        (INTERACTIONS_ARCHIVE.name, range(0, COUNT, 4)),
    ):
        table = warehouse.table(name)
        place = table.location_provider().new_data_location
        files = [
            written_file(table, place(f"{number}.parquet"), f"source-{number}", FileStatistics(1_000, 100_000, ()))
            for number in numbers
        ]
        warehouse.append_files(name, files, uuid.uuid4().hex)
    events = [_event(number) for number in range(0, COUNT, 4)]
    warehouse.append_rows(LIFECYCLE_EVENTS.name, events, uuid.uuid4().hex)


def _source(number: int) -> dict[str, object]:
    stopped = number % 2 == 0
    at = NOW - timedelta(days=number % 400)
    return {
        "source_id": f"source-{number}",
        "kind": "canvas" if number % 5 == 0 else "campaign",
        "name": f"Campaign {number}",
        "status": "stopped" if stopped else "active",
        "created_at": NOW - timedelta(days=800),
        "stopped_at": at if stopped else None,
        "last_sent_at": at,
    }


def _event(number: int) -> dict[str, object]:
    at = NOW - timedelta(days=number % 90)
    return {
        "event_id": uuid.uuid4().hex,
        "event": "expired",
        "source_id": f"source-{number}",
        "occurred_at": at,
        "run_id": f"scheduled__{at:%Y-%m-%d}",
        "file_count": 1,
        "row_count": 1_000,
        "total_bytes": 100_000,
        "recorded_at": at,
    }
