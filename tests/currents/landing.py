"""Currents files for tests, written the way a connection writes them, and what the tables hold after a load."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro

from perennial.currents import LoadOutcome, load_interactions
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.rows import shown

NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
# 31 January 2026, 23:00 UTC.
TIME = 1_769_900_400
OPEN = "users.messages.email.Open"
TEXT = ["null", "string"]
SCHEMA = {
    "id": "string",
    "user_id": "string",
    "external_user_id": TEXT,
    "time": "int",
    "timezone": TEXT,
    "campaign_id": TEXT,
    "campaign_name": TEXT,
    "message_variation_id": TEXT,
    "canvas_id": TEXT,
    "canvas_variation_id": TEXT,
    "canvas_step_id": TEXT,
    "dispatch_id": TEXT,
    "send_id": TEXT,
    "link_alias": TEXT,
    "machine_open": ["null", "boolean"],
    "is_suspected_bot_click": ["null", "boolean"],
    "in_control_group": ["null", "boolean"],
    "conversion_behavior_index": ["null", "int"],
    "action": TEXT,
}
# What stays the same whichever run, load or directory it was.
STABLE = {
    "interactions": "*",
    "loaded_events": "*",
    "source_daily_stats": "*",
    "user_message_summary": "user_id, measure, dimension, last_at, event_count",
    "rejected_events": "parse_filename(file_uri) AS file, line, reason, payload, rejected_at",
    "loaded_files": "parse_filename(file_uri) AS file, row_count, rejected_count, ignored_count, duplicate_count",
}


def event(number: int, **fields: Any) -> dict[str, Any]:
    """One record as Currents writes it; a campaign's unless told otherwise."""
    return {"id": f"e{number}", "user_id": f"u{number % 5}", "time": TIME + number, "campaign_id": "c1", **fields}


def directory(settings: Settings, event_type: str | None) -> Path:
    kind = f"event_type={event_type}" if event_type else "untyped"
    path = Path(settings.landing_uri) / "currents" / kind / "date=2026-01-31-23"
    path.mkdir(parents=True, exist_ok=True)
    return path


def land_avro(
    settings: Settings,
    event_type: str | None,
    records: Sequence[dict[str, Any]],
    name: str = "part-0.avro",
    schema: dict[str, Any] = SCHEMA,
    codec: str = "deflate",
    block_bytes: int = 16000,
) -> Path:
    path = directory(settings, event_type) / name
    fields = [{"name": field, "type": kind} for field, kind in schema.items()]
    parsed = fastavro.parse_schema({"type": "record", "name": "event", "fields": fields})
    with path.open("wb") as file:
        fastavro.writer(file, parsed, records, codec=codec, sync_interval=block_bytes)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def land_json(
    settings: Settings, event_type: str | None, lines: Sequence[dict[str, Any] | str | bytes], name: str = "part-0.json"
) -> Path:
    path = directory(settings, event_type) / name
    texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    content = b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in texts)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def load(warehouse: Warehouse, **options: Any) -> LoadOutcome:
    return load_interactions(warehouse, NOW, **options)


def rows(warehouse: Warehouse, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """The rows of a table, sorted."""
    with shown(warehouse, table) as session:
        return session.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()


def everything(warehouse: Warehouse) -> dict[str, Counter[tuple[Any, ...]]]:
    """The row multisets of all tables a load writes, without what names the load or the directory."""
    return {table: Counter(rows(warehouse, table, columns)) for table, columns in STABLE.items()}


def totals(warehouse: Warehouse) -> dict[str, Counter[tuple[Any, ...]]]:
    """What readers make of the tables: one row an event, summaries and statistics added up over all loads."""
    found = everything(warehouse)
    summary = "user_id, measure, dimension, max(last_at), sum(event_count)"
    stats = "source_id, stat_date, interaction, channel, sum(event_count)"
    with shown(warehouse, "user_message_summary", "source_daily_stats") as session:
        found["user_message_summary"] = Counter(
            session.execute(f"SELECT {summary} FROM user_message_summary GROUP BY ALL").fetchall()
        )
        found["source_daily_stats"] = Counter(
            session.execute(f"SELECT {stats} FROM source_daily_stats GROUP BY ALL").fetchall()
        )
    return found
