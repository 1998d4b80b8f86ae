"""A workspace for tests: sources, tags and audiences put into the warehouse's tables directly."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from perennial.platform import sync_sources
from perennial.statements import statement
from perennial.tables import AUDIENCES, SOURCE_TAGS, SOURCES
from perennial.warehouse import Warehouse

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Workspace:
    """What the platform would have; `sync` replaces the tables by it."""

    warehouse: Warehouse
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: list[tuple[str, str]] = field(default_factory=list)
    audiences: list[dict[str, Any]] = field(default_factory=list)

    def source(self, source_id: str, status: str = "stopped", *tags: str, **fields: Any) -> None:
        self.sources[source_id] = {
            "source_id": source_id,
            "kind": "campaign",
            "name": f"Name of {source_id}",
            "status": status,
            "created_at": LONG_AGO,
            "stopped_at": None if status == "active" else LONG_AGO,
            **fields,
        }
        self.tags += [(source_id, tag) for tag in tags]

    def audience(self, owner: str, definition: Any, status: str = "active", part: str = "audience") -> None:
        kind, _, owner_id = owner.partition(":")
        self.audiences.append(
            {
                "owner_kind": kind,
                "owner_id": owner_id,
                "owner_name": owner,
                "owner_status": status,
                "part": part,
                "definition": definition if isinstance(definition, str) else json.dumps(definition),
            }
        )

    def sync(self) -> None:
        self.replace(SOURCES.name, list(self.sources.values()))
        self.replace(SOURCE_TAGS.name, [{"source_id": source_id, "tag": tag} for source_id, tag in self.tags])
        self.replace(AUDIENCES.name, self.audiences)

    def replace(self, table: str, rows: list[dict[str, Any]]) -> None:
        schema = self.warehouse.arrow_schema(table)
        batches = pa.Table.from_pylist(rows, schema=schema).to_batches()
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        self.warehouse.replace_rows(table, reader, f"test:{uuid.uuid4().hex}")


@dataclass
class PlatformWorkspace(Workspace):
    """The same, with the platform's database in between: `sync` is the real one."""

    def sync(self, at: datetime = LONG_AGO, allow_vanishing: bool = False) -> None:
        self.write()
        sync_sources(self.warehouse, f"sync {uuid.uuid4().hex}", allow_vanishing, lambda: at)

    def write(self) -> None:
        """Make the platform's database say what this workspace has; the warehouse does not know yet."""
        with closing(sqlite3.connect(self.warehouse.settings.home / "platform.db")) as database, database:
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(statement("platform/create_platform"))
            tables: dict[str, list[dict[str, Any]]] = {
                AUDIENCES.name: self.audiences,
                SOURCE_TAGS.name: [{"source_id": name, "tag": tag} for name, tag in self.tags if name in self.sources],
                SOURCES.name: list(self.sources.values()),
            }
            for name in tables:
                database.execute(f"DELETE FROM {name}")
            for name, rows in tables.items():
                for row in rows:
                    binds = ", ".join(f":{column}" for column in row)
                    values = {key: str(value) if isinstance(value, datetime) else value for key, value in row.items()}
                    database.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({binds})", values)


def received(source_id: str) -> dict[str, str]:
    """A filter that keeps a campaign (R4)."""
    return {"filter": "received_message_from_campaign", "campaign_id": source_id}


def member(segment_id: str) -> dict[str, str]:
    return {"filter": "segment_membership", "segment_id": segment_id}
