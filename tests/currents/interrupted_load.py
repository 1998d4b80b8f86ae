"""Loads in processes of their own that kill themselves at a named point: `python -m tests.currents.interrupted_load`.

Reads lines `POINT HOME`, starts a load for each in a fork (so that none pays for the imports), answers each
with `started PID`, and the line `wait PID` with `ended STATUS`. POINT is a step of the load and when:
`before:record`, `after:commit:interactions`, … or `never`.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from perennial.currents import commit, load, load_interactions, prepare
from perennial.quality import check_load
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.currents.landing import NOW

TABLES = (
    "loaded_events", "interactions", "user_message_summary", "source_daily_stats", "rejected_events", "loaded_files"
)  # fmt: skip
STEPS = ("read", "write:interactions", "prepare", "record:plan", "record", *(f"commit:{table}" for table in TABLES))
POINTS = ["before:record", *(f"after:{step}" for step in (*STEPS, "forget:record", "forget"))]


def _die_at(point: str, name: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        step = name(*args, **options)
        if point == f"before:{step}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if point == f"after:{step}":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


def arm(point: str) -> None:
    """Make the load die at a point."""

    def patch(module: Any, attribute: str, name: Callable[..., str]) -> None:
        setattr(module, attribute, _die_at(point, name, getattr(module, attribute)))

    patch(load, "read_batch", lambda *_: "read")
    patch(load, "prepare_load", lambda *_: "prepare")
    patch(prepare, "write_files", lambda _connection, relation, *_: f"write:{relation.removeprefix('new_')}")
    patch(commit, "write_file_list", lambda *_: "record:plan")
    patch(load, "record_load", lambda *_: "record")
    patch(commit, "remove_pending", lambda *_: "forget:record")
    patch(commit, "_forget", lambda *_: "forget")
    patch(commit, "_commit_ledger", lambda *_: "commit:loaded_events")
    patch(Warehouse, "append_files", lambda _self, table, *_: f"commit:{table}")


def fork_load(point: str, home: str) -> int:
    pid = os.fork()
    if pid == 0:
        arm(point)
        settings = {"PERENNIAL_HOME": home, "PERENNIAL_LANDING_SETTLE_SECONDS": "0"}
        try:
            load_interactions(Warehouse(Settings.from_environment(settings)), NOW)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


if __name__ == "__main__":
    check_load([])
    for line in sys.stdin:
        word, rest = line.rstrip("\n").split(maxsplit=1)
        if word == "wait":
            print("ended", os.waitstatus_to_exitcode(os.waitpid(int(rest), 0)[1]), flush=True)
        else:
            print("started", fork_load(word, rest), flush=True)
