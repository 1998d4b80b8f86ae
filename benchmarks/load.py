"""Load a million Currents events of 500 sources: the whole load against merely decoding the same files with fastavro.

Files are as Currents writes them: Avro, some twenty fields, mostly nullable unions, one event type a file.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import fastavro

from benchmarks.figures import Cost, Figure
from perennial.currents import load_interactions
from perennial.engines.duckdb import open_connection
from perennial.engines.write_files import write_files
from perennial.settings import Settings
from perennial.tables import LOADED_EVENTS
from perennial.warehouse import Warehouse

EVENT_COUNT = 1_000_000
SOURCE_COUNT = 500
USER_COUNT = 100_000
FILE_EVENTS = 10_000
LEDGER_FILES, LEDGER_ROWS, LEDGER_DAYS = 167, 600_000, 100
REPETITIONS = 3
MUST_RATIO = 1.5
AIM_SECONDS, MUST_SECONDS = 1, 3
NOW = datetime(2026, 3, 1, tzinfo=UTC)
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
EVENT_TYPES = ("users.messages.email.Send", "users.messages.email.Open", "users.messages.email.Click")

_TEXT = ["null", "string"]
_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "event",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "user_id", "type": "string"},
            {"name": "time", "type": "int"},
            *(
                {"name": name, "type": _TEXT}
                for name in (
                    "external_user_id", "device_id", "app_group_id", "timezone", "campaign_id", "campaign_name",
                    "message_variation_id", "canvas_id", "canvas_name", "canvas_variation_id", "canvas_step_id",
                    "dispatch_id", "send_id", "email_address", "user_agent", "link_url", "link_alias", "ip_pool",
                )
            ),
            {"name": "machine_open", "type": ["null", "boolean"]},
        ],
    }
)  # fmt: skip


def run(event_count: int = EVENT_COUNT) -> list[Figure]:
    """Measure both codecs that Currents writes with, half of the events each."""
    return [*(_compare(codec, event_count // 2) for codec in ("deflate", "null")), _large_ledger()]


def _large_ledger() -> Figure:
    """Load 1,000 events, some of them late, beside a ledger in whose files some are late as well."""
    with TemporaryDirectory() as folder:
        variables = {"PERENNIAL_HOME": f"{folder}/home", "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
        warehouse = Warehouse(Settings.from_environment(variables))
        warehouse.create_tables()
        _fill_ledger(warehouse)
        chance = random.Random(1)
        days = [LEDGER_DAYS - 1] * 996 + [LEDGER_DAYS - 5, LEDGER_DAYS - 31, LEDGER_DAYS - 32, 3]
        sources, users = [(_id(chance), _id(chance), "Campaign")], [(_id(chance), "customer")]
        events = [event for day in days for event in _events(chance, 1, START + day * 86_400, sources, users)]
        path = Path(folder) / "home" / "landing" / f"event_type={EVENT_TYPES[0]}" / "date=2026-02-01-01" / "late.avro"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            fastavro.writer(file, _SCHEMA, events, codec="deflate")
        started, cpu = time.monotonic(), time.process_time()
        assert load_interactions(warehouse, NOW + timedelta(days=LEDGER_DAYS)).interactions == len(events)
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    return Figure(
        f"load 1,000 events beside a ledger of {LEDGER_FILES * LEDGER_ROWS:,}, some of them late; CPU",
        cpu,
        " s",
        AIM_SECONDS,
        MUST_SECONDS,
        ours=Cost(seconds, cpu),
        detail="one run",
    )


def _fill_ledger(warehouse: Warehouse) -> None:
    """Write a ledger as compaction leaves it: files of about half a day, 1 event in 200 late by up to 60 days."""
    table, written = warehouse.table(LOADED_EVENTS.name), []
    with open_connection() as connection:
        connection.execute(
            "CREATE TABLE drawn AS SELECT uuid()::VARCHAR AS event_id, random() AS at, random() < 0.005 AS late, "
            f"random() * 60 AS back FROM range({LEDGER_ROWS})"
        )
        for number in range(LEDGER_FILES):
            connection.sql(
                "SELECT printf('%04d', $number) || event_id[5:] AS event_id, "
                "to_timestamp($start + (drawn.at + $number) * $length - if(late, back, 0) * 86400) AS occurred_at "
                "FROM drawn",
                params={"number": number, "start": START, "length": LEDGER_DAYS * 86_400 / LEDGER_FILES},
            ).create_view("ledger_part", replace=True)
            written += write_files(connection, "ledger_part", table, uuid.uuid4().hex)
    warehouse.append_files(LOADED_EVENTS.name, written, uuid.uuid4().hex)


def _compare(codec: str, event_count: int) -> Figure:
    with TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        land(landing, event_count, codec)
        ours, other = [], []
        for repetition in range(REPETITIONS):
            other.append(_decode_seconds(landing))
            ours.append(_load_seconds(Path(folder) / f"home-{repetition}", landing, event_count))
    return Figure(
        f"load {event_count:,} events in {SOURCE_COUNT} sources ({codec})",
        median(ours) / median(other),
        must=MUST_RATIO,
        ours=Cost(median(ours)),
        other=Cost(median(other)),
        detail=f"other: fastavro decoding the same files; {event_count / median(ours):,.0f} events/s",
    )


def land(landing: Path, event_count: int, codec: str) -> None:
    """Write the files, the same ones every time."""
    chance = random.Random(2026)
    sources = [(_id(chance), _id(chance), f"Campaign number {number}") for number in range(SOURCE_COUNT)]
    users = [(_id(chance), f"customer-{number}") for number in range(USER_COUNT)]
    for number, first in enumerate(range(0, event_count, FILE_EVENTS)):
        folder = landing / f"event_type={EVENT_TYPES[number % 3]}" / f"date=2026-01-{number % 28 + 1:02}-23"
        folder.mkdir(parents=True, exist_ok=True)
        events = _events(chance, min(FILE_EVENTS, event_count - first), START + number % 28 * 86_400, sources, users)
        with (folder / f"part-{number}.avro").open("wb") as file:
            fastavro.writer(file, _SCHEMA, events, codec=codec)


def _events(
    chance: random.Random, count: int, day: int, sources: list[tuple[str, str, str]], users: list[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        (campaign_id, variation_id, name), (user_id, external_id) = chance.choice(sources), chance.choice(users)
        yield {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "user_id": user_id,
            "external_user_id": external_id,
            "time": day + chance.randrange(86_400),
            "timezone": "Europe/Paris",
            "campaign_id": campaign_id,
            "campaign_name": name,
            "message_variation_id": variation_id,
            "dispatch_id": _id(chance),
            "email_address": f"{external_id}@example.com",
            "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)",
            "ip_pool": "main",
            "machine_open": chance.random() < 0.3,
        }


def _id(chance: random.Random) -> str:
    return f"{chance.getrandbits(96):024x}"


def _decode_seconds(landing: Path) -> float:
    started = time.perf_counter()
    for path in landing.rglob("*.avro"):
        with path.open("rb") as file:
            for _ in fastavro.reader(file):
                pass
    return time.perf_counter() - started


def _load_seconds(home: Path, landing: Path, event_count: int) -> float:
    warehouse = Warehouse(
        Settings.from_environment({"PERENNIAL_HOME": str(home), "PERENNIAL_LANDING_URI": str(landing)})
    )
    warehouse.create_tables()
    started = time.perf_counter()
    outcome = load_interactions(warehouse, NOW)
    seconds = time.perf_counter() - started
    if outcome.interactions != event_count:
        raise AssertionError(f"loaded {outcome.interactions} of {event_count} events")
    return seconds


if __name__ == "__main__":
    for row in run(int(sys.argv[1]) if len(sys.argv) > 1 else EVENT_COUNT):
        print(row)
