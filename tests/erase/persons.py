"""A workspace in which one person is everywhere, and what must be true once the person is erased."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection

from perennial.erase.purge_history import PurgedFiles, purge_history
from perennial.erase.remove import RemovedRows, remove_rows
from perennial.erase.verify_tables import verify_tables
from perennial.moves import Run, expire_sources
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, REJECTED_EVENTS, USER_MESSAGE_SUMMARY, USERS
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Of those that `interaction` gives its rows to in turn.
PERSON = "user-3"
TABLES = (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name, USER_MESSAGE_SUMMARY.name, USERS.name, REJECTED_EVENTS.name)
FACTS = TABLES[:2]


def populated(warehouse: Warehouse) -> Workspace:
    """Two sources in the archive, one of them merged on its way there; two in hot; and the other tables."""
    workspace = Workspace(warehouse)
    for source in ("a", "b"):
        workspace.source(source)
    for source in ("busy", "running"):
        workspace.source(source, "active")
    append_hot(warehouse, *([interaction("b", 10 * load + number) for number in range(10)] for load in range(9)))
    append_hot(warehouse, [interaction(source, number) for source in ("a", "busy", "running") for number in range(30)])
    append_hot(warehouse, [interaction("busy", 100 + number, user_id="user-1") for number in range(5)])
    workspace.sync()
    users = [f"user-{number}" for number in range(7)]
    named = [{"user_id": user, "email": f"{user}@example.com", "invalid_phone": False} for user in users]
    workspace.replace(USERS.name, [{**user, "feature_flags": []} for user in named])
    for load in range(2):
        append(warehouse, USER_MESSAGE_SUMMARY.name, [summary(user, load) for user in users])
        append(warehouse, REJECTED_EVENTS.name, [rejected(user, load) for user in users])
    expire_sources(warehouse, Run("expiry", NOW))
    return workspace


def summary(user: str, load: int) -> dict[str, Any]:
    return {"user_id": user, "measure": "received", "dimension": "email", "last_at": NOW, "event_count": load + 1}


def rejected(user: str, line: int) -> dict[str, Any]:
    payload = json.dumps({"user_id": user, "name": 7})
    return {"file_uri": "landing/1", "line": line, "reason": "no name", "payload": payload, "rejected_at": NOW}


def append(warehouse: Warehouse, table: str, rows: list[dict[str, Any]]) -> None:
    warehouse.append_rows(table, rows, f"test:{uuid.uuid4().hex}")


def records_of(*persons: str) -> Any:
    """Recognise rejected records by the id in their payload."""

    def condition(connection: DuckDBPyConnection) -> str:
        connection.register("rejected_ids", pa.table({"id": pa.array(persons, pa.string())}))
        return "json_extract_string(payload, '$.user_id') IN (SELECT id FROM rejected_ids)"

    return condition


def contents(warehouse: Warehouse) -> dict[str, Counter[str]]:
    """All rows of all tables that may hold a person's."""
    return {name: Counter(map(repr, warehouse.read(name).to_pylist())) for name in TABLES}


def without(rows: dict[str, Counter[str]], *persons: str) -> dict[str, Counter[str]]:
    """The rows of all others."""
    return {
        name: Counter({row: count for row, count in found.items() if not any(_names(row, one) for one in persons)})
        for name, found in rows.items()
    }


def _names(row: str, person: str) -> bool:
    return f"'user_id': {person!r}" in row or f'"user_id": {json.dumps(person)}' in row


def facts(rows: dict[str, Counter[str]]) -> Counter[str]:
    """Rows of both tables of interactions together: which of them has a row is for the moves to say."""
    return rows[FACTS[0]] + rows[FACTS[1]]


def erase(warehouse: Warehouse, *persons: str) -> RemovedRows:
    return remove_rows(warehouse, persons, rejected=records_of(*persons))


def purge(warehouse: Warehouse, *persons: str) -> PurgedFiles:
    return purge_history(warehouse, persons, records_of(*persons))


def assert_gone(warehouse: Warehouse, *persons: str) -> None:
    """Nothing of the persons is listed, in an earlier snapshot, or left in storage."""
    found = verify_tables(warehouse, persons, records_of(*persons))
    assert not found, "; ".join(map(str, found))
    if not str(warehouse.table(INTERACTIONS.name).location()).startswith("s3"):
        assert_no_file_names(warehouse, persons)


def assert_no_file_names(warehouse: Warehouse, persons: Collection[str]) -> None:
    """Look at every Parquet file below HOME without any of the product's code."""
    import pyarrow.parquet as pq

    for path in warehouse.settings.home.resolve().rglob("*.parquet"):
        rows = pq.ParquetFile(path).read().to_pylist()
        assert not [row for row in rows if row.get("user_id") in persons], path
        assert not [row for row in rows if any(repr(one)[1:-1] in row.get("payload", "") for one in persons)], path
