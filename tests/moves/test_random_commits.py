"""Two hundred commits in random order, by moves, loads, compaction and another writer, leave every row exactly once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from perennial.maintenance.compaction import compact_table
from perennial.moves.commit import commit_destination, commit_origin
from perennial.moves.copy import copy_chunk
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction
from perennial.moves.plan import plan_move
from perennial.moves.verify import verify_move
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.warehouse import Warehouse
from perennial.warehouse.history import expire_snapshots
from tests.others.writer import append, table_of_others
from tests.rows import append_hot, hot_and_archive, interaction, multiset

COMMITS = 200
CHECKED_EVERY = 50
SOURCES = [f"source-{number}" for number in range(12)]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def as_counted(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Counter[str]:
    """What `multiset` says of rows that are in no table."""
    fresh = pa.Table.from_pylist(list(rows), schema=schema)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("fresh", fresh)
        return Counter(str(text) for (text,) in connection.execute("SELECT to_json(r) FROM fresh AS r").fetchall())


def as_pyiceberg_reads(warehouse: Warehouse) -> Counter[str]:
    """Event ids of both tables, through pyiceberg's own manifests and readers."""
    scans = (table_of_others(warehouse, table.name).scan() for table in (INTERACTIONS, INTERACTIONS_ARCHIVE))
    return Counter(event_id for scan in scans for event_id in scan.to_arrow()["event_id"].to_pylist())


def commits(warehouse: Warehouse) -> int:
    tables = (table_of_others(warehouse, table.name) for table in (INTERACTIONS, INTERACTIONS_ARCHIVE))
    return sum(table.metadata.last_sequence_number for table in tables)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1])
def test_two_hundred_commits_in_random_order_leave_every_row_once(local_warehouse: Warehouse, seed: int) -> None:
    warehouse, chance = local_warehouse, random.Random(seed)
    added: list[dict[str, Any]] = []

    def fresh() -> list[dict[str, Any]]:
        chosen = chance.sample(SOURCES, chance.randint(1, 4))
        rows = [interaction(source, len(added) + number) for source in chosen for number in range(chance.randint(1, 9))]
        added.extend(rows)
        return rows

    def move(direction: Direction) -> None:
        plan = plan_move(warehouse, direction, chance.sample(SOURCES, chance.randint(1, 6)), f"move-{chance.random()}")
        if plan is None:
            return
        for chunk in range(plan.chunk_count):
            copy_chunk(warehouse, plan, chunk)
        verify_move(warehouse, plan)
        commit_destination(warehouse, plan)
        assert not commit_origin(warehouse, plan, plan.source_ids)

    steps = {
        lambda: append_hot(warehouse, fresh(), fresh()): 4,
        lambda: append(warehouse, fresh()): 2,
        lambda: move(EXPIRE): 4,
        lambda: move(RESTORE): 4,
        lambda: compact_table(warehouse, INTERACTIONS.name): 1,
        lambda: expire_snapshots(warehouse, chance.choice([INTERACTIONS, INTERACTIONS_ARCHIVE]).name, NOW, NOW): 1,
    }
    schema, checked, archived = warehouse.arrow_schema(INTERACTIONS.name), 0, 0
    while (made := commits(warehouse)) < COMMITS:
        (step,) = chance.choices(list(steps), list(steps.values()))
        step()
        if made >= checked + CHECKED_EVERY:
            checked = made
            assert hot_and_archive(warehouse) == as_counted(added, schema)
            archived += multiset(warehouse, INTERACTIONS_ARCHIVE.name).total()
    assert hot_and_archive(warehouse) == as_counted(added, schema)
    assert as_pyiceberg_reads(warehouse) == Counter(row["event_id"] for row in added)
    assert archived
