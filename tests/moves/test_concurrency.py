"""Moves beside each other and beside writers: every interleaving ends with every row once."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.moves import Run, expire_sources, inline, restore_sources
from perennial.moves.move_plan import EXPIRE, RESTORE, Direction, MovePlan
from perennial.moves.plan import plan_sources
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.kill import with_environment
from tests.moves.conftest import SetClock
from tests.moves.places import on_s3
from tests.moves.steps import add_copies, copy_files, finish_move, verify_copies
from tests.moves.trails import assert_trails_alternate
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["a"], "notify": ["ann@example.com"]}
Step = Callable[[], Any]


@pytest.fixture
def workspace(local_warehouse: Warehouse) -> Workspace:
    """On a local disk: which commit comes before which is the same question everywhere."""
    return filled(local_warehouse)


def filled(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("running", "active")
    for first in (0, 20):
        append_hot(warehouse, [interaction(s, n) for s in ("a", "running") for n in range(first, first + 20)])
    workspace.sync()
    return workspace


def expire(warehouse: Warehouse, run_id: str, now: datetime = NOW) -> None:
    expire_sources(warehouse, Run(run_id, now))


def restore(warehouse: Warehouse, run_id: str, now: datetime = NOW + timedelta(days=1)) -> None:
    restore_sources(warehouse, REQUEST, Run(run_id, now))


def steps(warehouse: Warehouse, direction: Direction, run: Run, sources: Sequence[str] = ("a",)) -> list[Step]:
    """The steps of one move as separate calls, so that another move's can come between any two of them."""
    plan: list[str] = []

    def with_plan(step: Callable[[str], Any]) -> Step:
        return lambda: [step(uri) for uri in plan]

    return [
        lambda: plan.extend(plan_sources(warehouse, direction, sources)),
        with_plan(lambda uri: copy_files(warehouse, uri, 0)),
        with_plan(lambda uri: verify_copies(warehouse, uri)),
        with_plan(lambda uri: add_copies(warehouse, uri)),
        with_plan(lambda uri: finish_move(warehouse, uri, run)),
    ]


def interleaved(one: list[Step], other: list[Step], pattern: str) -> None:
    """Run two rows of steps in the order that a pattern of 1 and 2 gives."""
    queues = {"1": iter(one), "2": iter(other)}
    for turn in pattern:
        next(queues[turn])()
    assert not [step for queue in queues.values() for step in queue]


PATTERNS = ["1212121212", "1222221111", "1112222211", "1111222221", "2111112222"]


@pytest.mark.long(but="1212121212")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_two_restores_of_the_same_source_bring_every_row_back_once(workspace: Workspace, pattern: str) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse, "r1")

    one, other = (steps(warehouse, RESTORE, Run(name, NOW + timedelta(days=1))) for name in ("r2", "r3"))
    interleaved(one, other, pattern)

    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}
    assert_trails_alternate(warehouse)


@pytest.mark.long
@pytest.mark.parametrize("pattern", PATTERNS)
def test_late_rows_leaving_while_their_source_comes_back_end_up_visible_once(
    workspace: Workspace, pattern: str
) -> None:
    warehouse = workspace.warehouse
    expire(warehouse, "r1")
    append_hot(warehouse, [interaction("a", number) for number in range(40, 50)])
    everything = hot_and_archive(warehouse)

    leaving = steps(warehouse, EXPIRE, Run("late", NOW + timedelta(days=1)))
    returning = steps(warehouse, RESTORE, Run("back", NOW + timedelta(days=1)))
    interleaved(leaving, returning, pattern)

    assert hot_and_archive(warehouse) == everything
    expire(warehouse, "after", NOW + timedelta(days=2))
    restore(warehouse, "again", NOW + timedelta(days=2))
    assert visible(warehouse) == everything
    assert multiset(warehouse, "interactions_archive") == {}


@pytest.mark.long(but="1212121212")
@pytest.mark.parametrize("pattern", PATTERNS)
def test_two_expiries_of_the_same_sources_move_every_row_once(workspace: Workspace, pattern: str) -> None:
    """Of one whose tiny files are merged on their way, and of one whose files are copied."""
    warehouse = workspace.warehouse
    workspace.source("whole")
    workspace.sync()
    append_hot(warehouse, [interaction("whole", number) for number in range(20)])
    for load in range(9):
        append_hot(warehouse, [interaction("a", 100 + load)])
    before = multiset(warehouse, "interactions")

    one, other = (steps(warehouse, EXPIRE, Run(name, NOW), ["a", "whole"]) for name in ("r1", "r2"))
    interleaved(one, other, pattern)

    assert hot_and_archive(warehouse) == before
    assert warehouse.source_totals("interactions").keys() == {"running"}


@pytest.mark.long
def test_a_restore_leaves_alone_the_merged_copy_that_a_slower_expiry_has_still_to_withdraw(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    for load in range(9):
        append_hot(warehouse, [interaction("a", 100 + load)])
    before = multiset(warehouse, "interactions")
    one, other = (steps(warehouse, EXPIRE, Run(name, NOW)) for name in ("r1", "r2"))
    # Both copies are listed, and the first expiry has removed the originals of both.
    interleaved(one, other[:4], "111122221")

    back = steps(warehouse, RESTORE, Run("r3", NOW + timedelta(days=1)))
    interleaved(back, other[4:], "111112")

    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}


def test_rows_that_arrive_between_plan_and_commit_stay(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    late = [interaction("a", number) for number in range(100, 105)]
    really_add = inline.commit_destination

    def add_while_rows_arrive(opened: Warehouse, plan: MovePlan) -> int:
        append_hot(warehouse, late)
        return really_add(opened, plan)

    monkeypatch.setattr(inline, "commit_destination", add_while_rows_arrive)
    expire(warehouse, "r1")

    assert sum(multiset(warehouse, "interactions", ["a"]).values()) == len(late)
    assert not multiset(warehouse, "interactions_archive") - before
    assert hot_and_archive(warehouse) - before == multiset(warehouse, "interactions", ["a"])
    assert visible(warehouse) == multiset(warehouse, "interactions", ["running"])


BATCHES = 6
TURNS = 2


def _append_batches(settings: Settings, writer: int) -> None:
    warehouse = Warehouse(settings)
    for batch in range(BATCHES):
        append_hot(warehouse, [interaction(s, n) for s in ("a", "running") for n in _numbers(writer, batch)])


def _numbers(writer: int, batch: int) -> range:
    first = 1_000_000 * writer + batch * 10
    return range(first, first + 5)


def _expire_and_restore(settings: Settings, mover: int) -> None:
    warehouse = Warehouse(settings)
    for turn in range(TURNS):
        # Each expiry comes three months after the restore before it.
        now = NOW + timedelta(days=100 * turn)
        expire_sources(warehouse, Run(f"expire-{mover}-{turn}", now))
        restore_sources(warehouse, REQUEST, Run(f"restore-{mover}-{turn}", now))


@pytest.mark.long
@on_s3
def test_writers_expiries_and_restores_at_once_lose_and_double_nothing(
    warehouse: Warehouse, set_clock: SetClock
) -> None:
    filled(warehouse)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill_preload"])
    work = [(_append_batches, 1), (_append_batches, 2), (_expire_and_restore, 1), (_expire_and_restore, 2)]
    processes = [
        context.Process(target=with_environment, args=(dict(os.environ), target, warehouse.settings, number))
        for target, number in work
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    # A mover may give up when others win every race; it may not break anything.
    assert [process.exitcode for process in processes[:2]] == [0, 0]

    set_clock(NOW + timedelta(days=5001))
    expire(warehouse, "recover", NOW + timedelta(days=5000))
    restore(warehouse, "last", NOW + timedelta(days=5001))
    found = hot_and_archive(warehouse)
    assert max(found.values()) == 1
    assert_trails_alternate(warehouse)
    arrived = {n for writer in (1, 2) for batch in range(BATCHES) for n in _numbers(writer, batch)}
    expected = {f"{source}#{number}" for source in ("a", "running") for number in {*range(40), *arrived}}
    assert {json.loads(row)["event_id"] for row in found} == expected
