"""Load a million Currents events of 500 sources: the whole load against merely decoding the same files with fastavro.

Files are as Currents writes them: Avro, some twenty fields, mostly nullable unions, one event type a file.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import fastavro

from perennial.currents import load_interactions
from perennial.settings import Settings
from perennial.warehouse import Warehouse

EVENT_COUNT = 1_000_000
SOURCE_COUNT = 500
USER_COUNT = 100_000
FILE_EVENTS = 10_000
REPETITIONS = 3
TARGET_RATIO = 1.5
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


def run(event_count: int = EVENT_COUNT) -> list[dict[str, Any]]:
    """Measure both codecs that Currents writes with, half of the events each."""
    return [_compare(codec, event_count // 2) for codec in ("deflate", "null")]


def _compare(codec: str, event_count: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        landing = Path(folder) / "landing"
        land(landing, event_count, codec)
        ours, other = [], []
        for repetition in range(REPETITIONS):
            other.append(_decode_seconds(landing))
            ours.append(_load_seconds(Path(folder) / f"home-{repetition}", landing, event_count))
    return {
        "name": f"load {event_count:,} events in {SOURCE_COUNT} sources ({codec}), against fastavro decoding them",
        "ours_seconds": median(ours),
        "other_seconds": median(other),
        "ratio": median(ours) / median(other),
        "target": f"<= {TARGET_RATIO:g}x",
        "detail": f"ratio: ours / other; {event_count / median(ours):,.0f} events/s",
    }


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
