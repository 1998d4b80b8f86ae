"""Maintenance that is killed, and maintenance beside processes that load, expire and restore."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perennial.moves.move_plan import EXPIRE, RESTORE
from perennial.warehouse import Warehouse
from tests.maintenance.child import SOURCES
from tests.maintenance.maintain import maintain_warehouse
from tests.maintenance.steps import Move, append_loads, data_files, data_path, stored
from tests.rows import hot_and_archive, multiset

ROOT = Path(__file__).parents[2]
SECONDS = 4.0


def start(role: str, warehouse: Warehouse, argument: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.maintenance.child", role, str(warehouse.settings.home), str(argument)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def run_beside_each_other(warehouse: Warehouse, *roles: str) -> dict[str, int]:
    """Run some roles at once; returns what each has counted."""
    children = {role: start(role, warehouse, SECONDS) for role in roles}
    for child in children.values():
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children.values():
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    counts = {}
    for role, child in children.items():
        output, errors = child.communicate(timeout=240)
        assert child.returncode == 0, f"{role}: {errors}"
        counts[role] = int(output)
    return counts


@pytest.mark.long
@pytest.mark.parametrize(
    "point",
    [
        "rows rewritten",
        "about to commit",
        "committed",
        "snapshots of one table expired",
        "some files purged",
    ],
)
def test_maintenance_killed_at_any_point_is_made_good_by_the_next_run(warehouse: Warehouse, point: str) -> None:
    append_loads(warehouse, ["a", "b"], loads=4)
    Move(warehouse, EXPIRE, ["b"]).run()
    before = hot_and_archive(warehouse)

    child = start("be killed", warehouse, point)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, errors
    assert hot_and_archive(warehouse) == before

    maintain_warehouse(warehouse, datetime.now(UTC) + timedelta(days=100))

    assert hot_and_archive(warehouse) == before
    assert len(data_files(warehouse, "interactions")) == 1
    for table in ("interactions", "interactions_archive"):
        assert stored(data_path(warehouse, table)) == data_files(warehouse, table)
    Move(warehouse, RESTORE, ["b"]).run()
    assert multiset(warehouse, "interactions") == before


@pytest.mark.long
def test_a_loader_a_mover_and_a_maintainer_at_once_lose_nothing_and_double_nothing(warehouse: Warehouse) -> None:
    append_loads(warehouse, SOURCES, loads=5)
    counts = run_beside_each_other(warehouse, "load", "move", "maintain")

    assert min(counts.values()) > 0, counts
    rows = hot_and_archive(warehouse)
    twice = {row: count for row, count in rows.items() if count > 1}
    assert not twice
    assert rows.total() == 2 * len(SOURCES) * (5 + counts["load"]), counts
    users = Counter(warehouse.read("user_message_summary")["user_id"].to_pylist())
    assert users == {f"u{number}": 1 for number in range(counts["load"])}
