"""A users export of 50 ids on 50 million interactions, and the user-data file of a source with 5 million."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

from benchmarks.audiences import LOADS, PEOPLE, SAMPLE_USERS, SOURCES, fill
from benchmarks.audiences import ROWS as WORKSPACE_ROWS
from benchmarks.figures import Cost, Figure, median_cost
from benchmarks.processes import measured
from benchmarks.sample import create_warehouse
from perennial.exports.models import parse_request
from perennial.exports.user_data import UserDataRequest, write_user_data
from perennial.exports.users import export_users
from perennial.tables import USERS
from perennial.warehouse import Warehouse

FILE_ROWS, ROUNDS = 5_000_000, 3
NOW = datetime(2025, 6, 1, tzinfo=UTC)


def run() -> list[Figure]:
    """Measure both, each round in a process of its own, so that its peak memory is its own."""
    with tempfile.TemporaryDirectory() as home:
        workspace = _workspace(Path(home) / "many", WORKSPACE_ROWS, SOURCES)
        ids = [measured(export_ids, workspace.settings) for _ in range(ROUNDS)]
        one = _workspace(Path(home) / "one", FILE_ROWS, 1)
        files = [measured(export_file, one.settings) for _ in range(ROUNDS)]
        tenth = _workspace(Path(home) / "tenth", FILE_ROWS // 10, 1)
        small = measured(export_file, tenth.settings)
    at_a_tenth = f"; {small.peak_bytes / 1e6:,.0f} MB at a tenth of the rows"
    return [
        _row(f"users export of 50 ids, {WORKSPACE_ROWS:,} interactions", ids, WORKSPACE_ROWS),
        _row(f"user-data file of {FILE_ROWS:,} interactions", files, FILE_ROWS, at_a_tenth),
    ]


def export_ids(warehouse: Warehouse) -> None:
    ids = [md5(str(number).encode(), usedforsecurity=False).hexdigest() for number in range(50)]
    answer = export_users(warehouse, parse_request({"braze_id": ids}))
    assert len(answer.users) == 50
    assert all(user.campaigns_received for user in answer.users)


def export_file(warehouse: Warehouse) -> None:
    request = UserDataRequest(source_id="source-0", notify=("ann@example.com",))
    assert write_user_data(warehouse, request, "bench", NOW).user_count > 0


def _row(name: str, rounds: list[Cost], rows: int, more: str = "") -> Figure:
    ours = median_cost(rounds)
    return Figure(name, ours=ours, detail=f"{rows / ours.seconds:,.0f} interactions a second{more}")


def _workspace(home: Path, rows: int, sources: int) -> Warehouse:
    warehouse = create_warehouse(home, rows, sources, loads=LOADS, users=PEOPLE, status="active")
    fill(warehouse, USERS.name, SAMPLE_USERS)
    return warehouse
