"""The audit trail alternates, whoever ends a move and in whichever order: expired, restored, expired, …"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.engines.duckdb import open_status_session
from perennial.moves import Run, audit_trail, expire_sources, finish, recovery, restore_sources
from perennial.moves.finish import finish_expiry
from perennial.moves.move_plan import EXPIRE, read_plan
from perennial.moves.plan import plan_sources
from perennial.moves.restore import check_request, plan_restore, restore_report
from perennial.operations import wall_clock
from perennial.settings import Settings
from perennial.storage.local import LocalStorage
from perennial.warehouse import Warehouse, commits
from tests.kill import Point, forked, run_and_kill
from tests.moves.places import everywhere
from tests.moves.steps import add_copies, copy_files, finish_move, verify_copies
from tests.moves.trails import assert_trails_alternate, trails
from tests.rows import append_hot, hot_and_archive, interaction, multiset, shown, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
REQUEST = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}
ROWS = {"a": 40, "b": 20}
ONCE = {source_id: ["expired", "restored"] for source_id in ROWS}


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    """Two sources that are due, of two files and of one, and one that stays."""
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("b")
    workspace.source("running", "active")
    loads = (("a", range(20)), ("a", range(20, 40)), ("b", range(20)), ("running", range(20)))
    append_hot(warehouse, *([interaction(source, number) for number in numbers] for source, numbers in loads))
    workspace.sync()
    return workspace


def expire_all(warehouse: Warehouse, run_id: str = "expiry", now: datetime = NOW) -> None:
    expire_sources(warehouse, Run(run_id, now))


def restore(warehouse: Warehouse, run_id: str = "restore", now: datetime = NOW + DAY) -> None:
    restore_sources(warehouse, REQUEST, Run(run_id, now))


def move(warehouse: Warehouse, plan_uris: list[str]) -> None:
    """Steps 2 to 4."""
    for plan_uri in plan_uris:
        copy_files(warehouse, plan_uri, 0)
        verify_copies(warehouse, plan_uri)
        add_copies(warehouse, plan_uri)


def restored_rows(warehouse: Warehouse) -> dict[str, int]:
    with shown(warehouse, "lifecycle_events") as session:
        rows = session.execute(
            "SELECT source_id, sum(row_count)::BIGINT FROM lifecycle_events WHERE event = 'restored' GROUP BY source_id"
        ).fetchall()
    return dict(rows)


@pytest.mark.long
def test_two_restores_of_the_same_sources_are_one_event_and_both_requesters_learn_that_all_is_back(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire_all(warehouse)
    runs = [Run("first", NOW + DAY), Run("second", NOW + 2 * DAY)]
    requests = [check_request(warehouse, REQUEST) for _ in runs]
    plans = [plan_restore(warehouse, request, run) for request, run in zip(requests, runs, strict=True)]
    for plan_uris in plans:
        move(warehouse, plan_uris)
    for plan_uris, run in zip(plans, runs, strict=True):
        for plan_uri in plan_uris:
            finish_move(warehouse, plan_uri, run)

    assert visible(warehouse) == before
    assert trails(warehouse) == ONCE
    assert restored_rows(warehouse) == ROWS
    for request, plan_uris, run in zip(requests, plans, runs, strict=True):
        report = restore_report(warehouse, request, run, wall_clock(), plan_uris)
        assert report.state == "finished"
        assert {source.source_id: (source.outcome, source.row_count) for source in report.sources} == {
            source_id: ("restored", row_count) for source_id, row_count in ROWS.items()
        }
    with open_status_session(warehouse) as session:
        clocks = session.execute("SELECT DISTINCT last_restored_at FROM source_moves").fetchall()
    assert clocks == [(NOW + DAY,)]


@pytest.mark.long
def test_a_restore_that_failed_before_another_brought_its_sources_back_stays_failed(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    expire_all(warehouse)
    failed = Run("failed", NOW + DAY)
    request = check_request(warehouse, REQUEST)
    ended_at = wall_clock() - timedelta(hours=3)
    assert restore_report(warehouse, request, failed, ended_at).state == "failed"

    restore(warehouse)

    assert restore_report(warehouse, request, failed, ended_at).state == "failed"


@pytest.mark.long
@everywhere
@pytest.mark.parametrize("step", ["add", "remove"])
def test_a_restore_says_what_a_killed_one_has_brought_back_and_recovery_says_nothing_more(
    workspace: Workspace, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire_all(warehouse)
    run_and_kill(warehouse.settings, Point("after", f"commit:{step}"), restore)
    # Another request, killed before it could say anything.
    run_and_kill(warehouse.settings, Point("before", "commit:record"), restore, "second")

    report = restore_sources(warehouse, REQUEST, Run("third", NOW + 2 * DAY))
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    expire_all(warehouse, "later", NOW + 3 * DAY)

    assert visible(warehouse) == before
    assert trails(warehouse) == ONCE
    assert restored_rows(warehouse) == ROWS
    assert {source.source_id: source.row_count for source in report.sources} == ROWS


@pytest.mark.long
def test_two_dead_restores_that_are_finished_one_after_the_other_are_one_event(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    expire_all(warehouse)
    plans = [plan_restore(warehouse, check_request(warehouse, REQUEST), Run(name, NOW + DAY)) for name in ("1", "2")]
    for plan_uris in plans:
        move(warehouse, plan_uris)

    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    expire_all(warehouse, "later", NOW + 2 * DAY)

    assert trails(warehouse) == ONCE
    assert restored_rows(warehouse) == ROWS


def test_an_event_sorts_after_the_one_before_it_whatever_the_clock_of_the_machine_says(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire_all(warehouse)
    monkeypatch.setattr(audit_trail, "wall_clock", lambda: wall_clock() - timedelta(minutes=10))
    restore(warehouse)

    assert trails(warehouse) == ONCE
    assert visible(warehouse) == before


@pytest.mark.long
def test_r13_an_expiry_that_was_decided_before_its_source_went_and_came_back_moves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow run, while another expires the same sources and somebody restores them."""
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    (slow,), (fast,) = (plan_sources(warehouse, EXPIRE, ["a", "b"]) for _ in range(2))
    move(warehouse, [slow, fast])
    record_checksums = finish._record_checksums

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(finish, "_record_checksums", record_checksums)
        finish_expiry(warehouse, read_plan(fast), Run("fast", NOW))
        restore(warehouse)
        record_checksums(*arguments)

    monkeypatch.setattr(finish, "_record_checksums", meanwhile)
    finish_expiry(warehouse, read_plan(slow), Run("slow", NOW))

    assert trails(warehouse) == ONCE
    assert visible(warehouse) == multiset(warehouse, "interactions") == before


@pytest.mark.long
def test_what_another_program_has_put_into_the_archive_comes_back_without_a_second_restored_event(
    workspace: Workspace,
) -> None:
    warehouse = workspace.warehouse
    expire_all(warehouse)
    restore(warehouse)
    strange = [interaction("a", number) for number in range(100, 105)]
    append_hot(warehouse, strange, table="interactions_archive")

    report = restore_sources(warehouse, {**REQUEST, "source_ids": ["a"]}, Run("again", NOW + 2 * DAY))

    assert [(source.outcome, source.row_count) for source in report.sources] == [("restored", 5)]
    assert sum(visible(warehouse).values()) == 80 + 5
    assert trails(warehouse) == ONCE


def _dying(settings: Settings, moment: int, work: Callable[..., None], run_id: str, now: datetime) -> None:
    """Do some work in this process until the moment comes: a commit or a small file, before it or after it."""
    passed = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            for result in (None, original(*arguments, **named)):  # noqa: B007 - the second is returned
                nonlocal passed
                passed += 1
                if passed == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    commits._commit = counted(commits._commit)
    LocalStorage.write = counted(LocalStorage.write)  # type: ignore[method-assign]
    work(Warehouse(settings), run_id, now)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_trails_alternate_after_kills_at_random_moments(
    workspace: Workspace, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expiry is killed at two thirds and two restores at half, then the next ones go on."""
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    moments = random.Random(seed)
    for turn in range(2):
        # Each expiry comes three months after the restore before it.
        now = NOW + timedelta(days=100 * turn)
        for work, about in ((expire_all, 24), (restore, 18), (restore, 18)):
            # One that dies gives no answer, one that comes to its end does.
            with suppress(RuntimeError):
                forked(_dying, warehouse.settings, about + moments.randint(-8, 8), work, f"{turn}{about}", now)
        expire_all(warehouse, f"next {turn}", now + DAY)
        assert hot_and_archive(warehouse).keys() == before.keys()
        restore(warehouse, f"last {turn}", now + 2 * DAY)

        assert visible(warehouse) == multiset(warehouse, "interactions") == before
        assert_trails_alternate(warehouse)
