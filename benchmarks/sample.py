"""A warehouse of interactions for the benchmarks: made by DuckDB, with ids and times as real ones have them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from perennial.engines.duckdb import open_connection
from perennial.engines.write_files import write_files
from perennial.settings import Settings
from perennial.tables import AUDIENCES, INTERACTIONS, SOURCE_TAGS, SOURCES
from perennial.warehouse import Warehouse

LOADS = 2
USERS = 200_000
STOPPED_AT = datetime(2025, 6, 1, tzinfo=UTC)

ROWS = """
CREATE OR REPLACE TEMP TABLE fresh AS SELECT
    uuid()::VARCHAR AS event_id,
    ['users.messages.email.Send', 'users.messages.email.Open', 'users.messages.email.Click'][1 + i % 3] AS event_type,
    TIMESTAMPTZ '2025-01-01 00:00:00+00' + to_microseconds($load * 2592000000000 + (i * 1000003) % 2592000000000)
        AS occurred_at,
    md5((i % $users)::VARCHAR) AS user_id,
    CASE WHEN i % 4 > 0 THEN 'ext-' || (i % $users) END AS external_user_id,
    'source-' || (i % $sources) AS source_id,
    'campaign' AS source_kind,
    NULL::VARCHAR AS canvas_step_id,
    'variant-' || (i % 3) AS variant_id,
    'email' AS channel,
    ['received', 'opened', 'clicked'][1 + i % 3] AS interaction,
    CASE WHEN i % 3 = 2 THEN 'alias-' || (i % 11) END AS link_alias,
    CASE WHEN i % 3 = 1 THEN i % 5 = 0 END AS machine_open,
    NULL::INTEGER AS conversion_index,
    NULL::VARCHAR AS keyword_category,
    md5((i // 1000)::VARCHAR) AS dispatch_id,
    NULL::VARCHAR AS send_id,
    NULL::BOOLEAN AS is_suspected_bot_click
FROM range($rows) AS t(i)
"""


def create_warehouse(
    home: Path, rows: int, sources: int, *, loads: int = LOADS, users: int = USERS, status: str = "stopped"
) -> Warehouse:
    """Fill a fresh warehouse: every source stopped long ago, its interactions in a few files, one a load."""
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(home)}))
    return fill_warehouse(warehouse, rows, sources, loads=loads, users=users, status=status)


def fill_warehouse(
    warehouse: Warehouse, rows: int, sources: int, *, loads: int = LOADS, users: int = USERS, status: str = "stopped"
) -> Warehouse:
    """The same in a warehouse that is empty or has no tables yet."""
    warehouse.create_tables()
    for load in range(loads):
        with open_connection() as connection:
            connection.execute(ROWS, {"load": load, "rows": rows // loads, "sources": sources, "users": users})
            stem = uuid.uuid4().hex
            files = write_files(connection, "fresh", warehouse.table(INTERACTIONS.name), stem)
        warehouse.append_files(INTERACTIONS.name, files, stem)
    replace(warehouse, SOURCES.name, [source_row(number, status) for number in range(sources)])
    replace(warehouse, SOURCE_TAGS.name, [{"source_id": f"source-{n}", "tag": "all"} for n in range(sources)])
    replace(warehouse, AUDIENCES.name, [])
    return warehouse


def source_row(number: int, status: str) -> dict[str, object]:
    return {
        "source_id": f"source-{number}",
        "kind": "campaign",
        "name": f"Campaign {number}",
        "status": status,
        "created_at": STOPPED_AT - timedelta(days=300),
        "stopped_at": STOPPED_AT,
        "owner_email": f"owner-{number % 20}@example.com",
    }


def replace(warehouse: Warehouse, table: str, rows: list[dict[str, object]]) -> None:
    schema = warehouse.arrow_schema(table)
    batches = pa.Table.from_pylist(rows, schema=schema).to_batches()
    warehouse.replace_rows(table, pa.RecordBatchReader.from_batches(schema, batches), uuid.uuid4().hex)
