"""A process that goes on for weeks: questions, page views and restores on S3 leave nothing open behind them.

`make bench ONLY=soak` runs it for longer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

import perennial
from perennial.lifecycle import Run, expire_sources, restore_sources
from perennial.tables import USERS
from perennial.warehouse import Warehouse
from tests.features.received_world import user
from tests.rows import append_hot, interaction, visible
from tests.web.conftest import As
from tests.workspace import Workspace, received

ROUNDS = int(os.environ.get("PERENNIAL_SOAK_ROUNDS", "40"))
FIGURES = os.environ.get("PERENNIAL_SOAK_FIGURES")
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
SETTLED = 10
"""The round after which nothing grows any more."""


@dataclass(frozen=True)
class Held:
    """What the process holds after a round."""

    descriptors: int
    threads: int
    megabytes: int


def source(number: int) -> str:
    return f"source-{number:04}"


@pytest.fixture
def warehouse(lake_warehouse: Warehouse) -> Warehouse:
    """One source a round that has expired, and one that is there."""
    workspace = Workspace(lake_warehouse)
    sources = [source(number) for number in range(ROUNDS)]
    for source_id in sources:
        workspace.source(source_id)
    workspace.source("running", "active")
    workspace.audience("segment:s1", received("running"))
    workspace.replace(USERS.name, [user(f"user-{number}") for number in range(7)])
    workspace.sync()
    append_hot(lake_warehouse, [interaction(name, number) for name in [*sources, "running"] for number in range(10)])
    expire_sources(lake_warehouse, Run("expiry", NOW))
    return lake_warehouse


VIEWS = (
    "/perennial/overview",
    "/perennial/sources",
    "/perennial/source?id=running",
    "/perennial/users?q=user-1",
    "/perennial/restore?id=" + source(ROUNDS - 1),
)


def rounds(warehouse: Warehouse, page: TestClient) -> Iterator[Held]:
    process = psutil.Process()
    for number, view in zip(range(ROUNDS), cycle(VIEWS)):
        sql = "SELECT count(*) AS found FROM available_interactions"
        assert perennial.query(sql)["found"].to_pylist() == [10 * (number + 1)]
        answer = page.get(view, headers={"Accept": "text/html"})
        assert answer.status_code == 200, answer.text
        request = {"source_ids": [source(number)], "notify": ["ann@example.com"]}
        report = restore_sources(warehouse, request, Run(f"restore-{number}", NOW + timedelta(minutes=number)))
        assert [(found.outcome, found.row_count) for found in report.sources] == [("restored", 10)]
        yield Held(process.num_fds(), process.num_threads(), process.memory_info().rss >> 20)


def test_a_process_holds_after_many_rounds_what_it_held_after_ten(warehouse: Warehouse, page: As) -> None:
    import time
    held = []
    t=time.time()
    for h in rounds(warehouse, page("vic")):
        held.append(h)
        print(len(held), h, round(time.time()-t,2)); t=time.time()
    if FIGURES:
        Path(FIGURES).write_text(json.dumps([asdict(round_) for round_ in held]))
    assert sum(visible(warehouse).values()) == 10 * (ROUNDS + 1)
    settled, last = held[SETTLED - 1], held[-1]
    assert last.descriptors <= settled.descriptors + 10, held
    assert last.threads <= settled.threads + 2, held
    assert last.megabytes <= settled.megabytes + 50, held
