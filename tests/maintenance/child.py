"""What a test runs in a process of its own: a role for a while, or maintenance that is killed at a named point."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.erase.purge_history import purge_history
from perennial.erase.remove import remove_rows
from perennial.errors import TransientConflictError, TransientError
from perennial.maintenance import compact_tables, compaction, expire_old_snapshots, purge, purge_files
from perennial.moves.move_plan import EXPIRE, RESTORE
from perennial.warehouse import Warehouse, commits, history
from tests.maintenance.maintain import maintain_warehouse
from tests.maintenance.steps import Move, append_loads, open_again

DAY = timedelta(days=1)
SOURCES = ["a", "b", "it's/c"]
# Longer than any file waits between being written and being committed, on a busy machine as well.
STILL_YOUNG = timedelta(seconds=20)


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any], calls: int = 1) -> Callable[..., Any]:
    """Let a function do its work so many times, then die."""
    made = []

    def called(*arguments: Any) -> Any:
        result = function(*arguments)
        made.append(result)
        if len(made) == calls:
            die()
        return result

    return called


def be_killed(warehouse: Warehouse, point: str) -> None:
    """Run maintenance until the point."""
    if point == "rows rewritten":
        compaction._replace = die
    elif point == "about to commit":
        commits._commit = die
    elif point == "committed":
        commits._commit = after(commits._commit)
    elif point == "snapshots of one table expired":
        history._remove = after(history._remove)
    elif point == "some files purged":
        purge._delete_old = after(purge._delete_old, calls=7)
    maintain_warehouse(warehouse, datetime.now(UTC) + 100 * DAY)


def load(warehouse: Warehouse, end: float) -> None:
    """Append row after row, none twice; says at the end how many loads there were."""
    loads = 0
    while time.time() < end:
        append_loads(warehouse, SOURCES, loads=1, first=1000 + loads)
        row = {"user_id": f"u{loads}", "measure": "received", "dimension": "email", "event_count": 1}
        rows = [{**row, "last_at": datetime.now(UTC)}]
        warehouse.append_rows("user_message_summary", rows, f"test:{uuid.uuid4().hex}")
        loads += 1
    print(loads)


def move(warehouse: Warehouse, end: float) -> None:
    """Expire and restore in turn; says at the end how many moves there were."""
    moves = 0
    while time.time() < end:
        for direction in (EXPIRE, RESTORE):
            Move(warehouse, direction, SOURCES[:2]).run()
            moves += 1
    print(moves)


def maintain(warehouse: Warehouse, end: float) -> None:
    """Maintain without pause, with windows as short as it goes; says how many rounds there were."""
    rounds = 0
    while time.time() < end:
        try:
            compact_tables(warehouse)
            expire_old_snapshots(warehouse, datetime.now(UTC) + DAY, retain_days=1)
        except TransientConflictError as error:
            print(error, file=sys.stderr)
        purge_files(warehouse, datetime.now(UTC) + DAY - STILL_YOUNG, retain_days=1)
        rounds += 1
    print(rounds)


def erase(warehouse: Warehouse, end: float) -> None:
    """Erase one of the users again and again, and purge; says how many rows that were."""
    count = 0
    while time.time() < end:
        try:
            count += sum(remove_rows(warehouse, ["user-3"]).rows.values())
            purge_history(warehouse, ["user-3"])
        except TransientError as error:
            print(error, file=sys.stderr)
    print(count)


if __name__ == "__main__":
    role, home, argument = sys.argv[1:]
    opened = open_again(home)
    if role == "be killed":
        be_killed(opened, argument)
    else:
        # Starting up takes seconds: all begin when the last one is ready.
        print("ready", flush=True)
        sys.stdin.readline()
        {"load": load, "move": move, "maintain": maintain, "erase": erase}[role](opened, time.time() + float(argument))
