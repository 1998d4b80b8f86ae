"""A process that goes on for weeks: questions, page views and restores on S3 leave nothing open behind them.

`make bench ONLY=soak` runs this for hundreds of rounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from fastapi.testclient import TestClient

from perennial.engines.duckdb import open_session
from perennial.moves import Run, expire_sources, restore_sources
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from tests.exports.received_world import user
from tests.rows import append_hot, interaction, visible
from tests.web.conftest import As
from tests.workspace import Workspace

ROUNDS = int(os.environ.get("PERENNIAL_SOAK_ROUNDS", "24"))
# A restore takes ten times as long as a question.
RESTORE_EVERY = int(os.environ.get("PERENNIAL_SOAK_RESTORE_EVERY", "6"))
FIGURES = os.environ.get("PERENNIAL_SOAK_FIGURES")
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
WARMED_UP = 10
"""The round after which the process should hold no more than before."""
POOLED = 60
"""Descriptors that the pools of connections may still come to hold, three a connection; a leak is ten a round."""
VIEWS = ("overview", "sources", "source?id=running", "users?q=user-1", "restore?id=source-0000")


@dataclass(frozen=True)
class Held:
    """What the process holds after a round."""

    descriptors: int
    threads: int
    megabytes: int


@pytest.fixture
def restorable(lake_warehouse: Warehouse) -> list[str]:
    """Sources that have expired, one for each restore, beside one that is there."""
    sources = [f"source-{number:04}" for number in range(ROUNDS // RESTORE_EVERY)]
    workspace = Workspace(lake_warehouse)
    for source_id in sources:
        workspace.source(source_id)
    workspace.source("running", "active")
    workspace.replace(USERS.name, [user(f"user-{number}") for number in range(7)])
    workspace.sync()
    append_hot(lake_warehouse, [interaction(name, number) for name in [*sources, "running"] for number in range(10)])
    expire_sources(lake_warehouse, Run("expiry", NOW))
    return sources


def rounds(warehouse: Warehouse, page: TestClient, restorable: list[str]) -> Iterator[Held]:
    process, left = psutil.Process(), list(restorable)
    for number in range(ROUNDS):
        with open_session(warehouse) as session:
            found = session.execute("SELECT count(*) FROM available_interactions").fetchall()
        assert found == [(10 * (1 + len(restorable) - len(left)),)]
        answer = page.get(f"/perennial/{VIEWS[number % len(VIEWS)]}", headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        if number % RESTORE_EVERY == 0 and left:
            request = {"source_ids": [left.pop()], "notify": ["ann@example.com"]}
            report = restore_sources(warehouse, request, Run(f"restore-{number}", NOW + timedelta(minutes=number)))
            assert [(source.outcome, source.row_count) for source in report.sources] == [("restored", 10)]
        yield Held(process.num_fds(), process.num_threads(), process.memory_info().rss >> 20)


@pytest.mark.long
def test_a_process_holds_after_many_rounds_what_it_held_after_ten(
    lake_warehouse: Warehouse, restorable: list[str], page: As
) -> None:
    held = list(rounds(lake_warehouse, page("vic"), restorable))

    if FIGURES:
        Path(FIGURES).write_text(json.dumps([asdict(each) for each in held]))
    assert sum(visible(lake_warehouse).values()) == 10 * (len(restorable) + 1)
    warm, last = held[WARMED_UP - 1], held[-1]
    assert last.descriptors <= warm.descriptors + POOLED, held
    assert last.threads <= warm.threads + 10, held
    assert last.megabytes <= warm.megabytes + 100, held
