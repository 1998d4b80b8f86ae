"""Another engine appends, deletes or rewrites between two steps of a move: nothing is lost, doubled or brought back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from perennial.engines.spark import SparkSession
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.expire import decide_expiry, plan_expiry
from perennial.moves.recovery import recover_interrupted_moves
from perennial.tables import INTERACTIONS
from perennial.warehouse import Warehouse
from tests.engines.test_other_writers import COLUMNS, delete_by_position
from tests.maintenance.steps import data_files
from tests.moves.steps import add_copies, copy_files, finish_move, verify_copies
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.spark import Spark
from tests.workspace import Workspace

RUN = Run("r1", datetime(2026, 6, 1, 4, tzinfo=UTC), "ann")
LATER = Run("r2", datetime(2026, 6, 2, 4, tzinfo=UTC), "ann")
STEPS = ("plan", "verify", "add")


@pytest.fixture(scope="module")
def session(spark: Spark) -> Iterator[Any]:
    opened = SparkSession(connection=spark.url)
    yield opened
    opened.stop()


@pytest.fixture
def warehouse(lake_warehouse: Warehouse) -> Warehouse:
    workspace = Workspace(lake_warehouse)
    workspace.source("old")
    for first in (0, 10):
        append_hot(lake_warehouse, [interaction("old", first + number) for number in range(10)])
    workspace.sync()
    return lake_warehouse


def appended(warehouse: Warehouse, session: Any, before: Counter[str]) -> Counter[str]:
    """Spark inserts a copy of a row under another id."""
    table = f"{warehouse.settings.namespace}.{INTERACTIONS.name}"
    values = COLUMNS.replace("event_id", "'spark#1'", 1)
    session.sql(f"INSERT INTO {table} ({COLUMNS}) SELECT {values} FROM {table} WHERE event_id = 'old#3'").collect()
    (row,) = [row for row in before if '"old#3"' in row]
    return before + Counter([row.replace("old#3", "spark#1")])


def deleted(warehouse: Warehouse, session: Any, before: Counter[str]) -> Counter[str]:
    """Spark deletes two rows by position; they must not come back with the copies made before."""
    delete_by_position(warehouse, session, "old#4", "old#15")
    return Counter({row: count for row, count in before.items() if '"old#4"' not in row and '"old#15"' not in row})


def rewritten(warehouse: Warehouse, session: Any, before: Counter[str]) -> Counter[str]:
    """Spark merges the source's files into one: Sail has no rewrite_data_files, and an UPDATE does the same to files."""
    files = data_files(warehouse, INTERACTIONS.name)
    table = f"{warehouse.settings.namespace}.{INTERACTIONS.name}"
    session.sql(f"UPDATE {table} SET channel = channel WHERE source_id = 'old'").collect()
    merged = data_files(warehouse, INTERACTIONS.name)
    assert (len(files), len(merged), files & merged) == (2, 1, set())
    return before


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS, ids=[f"spark-after-{step}" for step in STEPS])
@pytest.mark.parametrize("interfere", [appended, deleted, rewritten])
def test_whatever_another_engine_does_between_two_steps_is_kept(
    warehouse: Warehouse, session: Any, step: str, interfere: Callable[..., Counter[str]]
) -> None:
    before = multiset(warehouse, INTERACTIONS.name)
    (plan_uri,) = plan_expiry(warehouse, decide_expiry(warehouse, RUN).uri, RUN)
    steps: dict[str, Callable[[], object]] = {
        "plan": lambda: None,
        "copy": lambda: copy_files(warehouse, plan_uri, 0),
        "verify": lambda: verify_copies(warehouse, plan_uri),
        "add": lambda: add_copies(warehouse, plan_uri),
    }
    expected = before
    for name, run in steps.items():
        run()
        if name == step:
            expected = interfere(warehouse, session, before)
    finish_move(warehouse, plan_uri, RUN)

    # What arrived or was rewritten after the plan may have stayed; the next day's run finds it.
    assert hot_and_archive(warehouse) == expected
    recover_interrupted_moves(warehouse, LATER)
    expire_sources(warehouse, LATER)
    assert multiset(warehouse, INTERACTIONS.name) == Counter()
    assert hot_and_archive(warehouse) == expected

    restore_sources(warehouse, {"source_ids": ["old"], "notify": ["ann@example.com"]}, LATER)
    assert multiset(warehouse, INTERACTIONS.name) == expected
