"""What the forecast says, against what the daily runs then do (R1-R6, R9, R19)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from perennial.errors import TerminalRequestError
from perennial.moves import Run, expire_sources
from perennial.moves.forecast import forecast, next_run
from perennial.policy.hold_requests import HoldRequest, place_hold
from perennial.tables import LIFECYCLE_EVENTS
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction
from tests.workspace import Workspace, member, received

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAYS = 4


def random_workspace(warehouse: Warehouse, seed: int) -> Workspace:
    """Twenty sources that stopped around the time that makes them due in these days; some are referenced, held or gone."""
    chance = random.Random(seed)
    workspace = Workspace(warehouse)
    for number in range(20):
        source_id = f"c{number}"
        stopped = NOW - timedelta(days=92) + timedelta(hours=chance.randint(-60, 24 * DAYS + 60))
        workspace.source(
            source_id, chance.choice(["stopped", "stopped", "archived", "active"]), "t", stopped_at=stopped
        )
        if chance.random() < 0.3:
            status = chance.choice(["active", "stopped"])
            workspace.audience(f"campaign:r{number}", {"or": [received(source_id), member("s")]}, status)
    workspace.audience("segment:s", received("c1"), "draft")
    workspace.sync()
    append_hot(warehouse, [interaction(f"c{n}", k) for n in range(18) for k in range(chance.randint(1, 3))])
    for number in range(2, 8):
        until = chance.choice([None, NOW + timedelta(hours=chance.randint(1, 24 * DAYS + 48))])
        place_hold(warehouse, HoldRequest(f"c{number}", None, "ann", "Needed", until), NOW)
    return workspace


@pytest.mark.parametrize("seed", [1])
def test_the_daily_runs_do_what_was_forecast(local_warehouse: Warehouse, seed: int) -> None:
    random_workspace(local_warehouse, seed)
    said = forecast(local_warehouse, NOW, DAYS)
    moved: dict[object, list[str]] = {}
    rows = 0
    for day in range(DAYS):
        run_at = next_run(NOW) + timedelta(days=day)
        expire_sources(local_warehouse, Run(f"run-{day}", run_at, "scheduler"))
        events = local_warehouse.read(LIFECYCLE_EVENTS.name).to_pylist()
        fresh = [event for event in events if event["run_id"] == f"run-{day}"]
        rows += sum(event["row_count"] for event in fresh)
        if fresh:
            moved[run_at.date()] = sorted(event["source_id"] for event in fresh)
    assert {day.day: list(day.source_ids) for day in said.days} == moved
    assert said.row_count == rows
    assert len(moved) > 2


def test_a_forecast_says_what_it_comes_to(local_warehouse: Warehouse) -> None:
    workspace = Workspace(local_warehouse)
    workspace.source("c1", stopped_at=NOW - timedelta(days=90))
    workspace.source("c2", stopped_at=NOW - timedelta(days=10))
    workspace.audience("campaign:old", {"not": received("c1")}, "stopped")
    workspace.audience("campaign:other", received("c2"), "stopped")
    workspace.sync()
    append_hot(local_warehouse, [interaction("c1", n) for n in range(5)])
    said = forecast(local_warehouse, NOW, 30)
    assert said.sentence() == "Until 2026-07-01, 5 interactions of 1 source expire, if nothing changes."
    assert [(day.source_ids, day.audience_count, day.saved_per_month) for day in said.days] == [(("c1",), 1, None)]
    assert forecast(local_warehouse, NOW, 1).sentence() == "Nothing expires until 2026-06-02."
    with pytest.raises(TerminalRequestError, match="days is 0; give 1 to 366"):
        forecast(local_warehouse, NOW, 0)


def test_nothing_is_forecast_while_an_active_referrer_cannot_be_read(local_warehouse: Warehouse) -> None:
    workspace = Workspace(local_warehouse)
    workspace.source("c1", stopped_at=NOW - timedelta(days=100))
    workspace.audience("campaign:a", "{", "active")
    workspace.sync()
    append_hot(local_warehouse, [interaction("c1", 1)])
    said = forecast(local_warehouse, NOW, 30)
    assert said.days == ()
    assert said.sentence().startswith("Nothing expires at the moment. An active referrer cannot be read")
