"""Another writer wins a race against a restore: what it changed is planned again, and all of it is shown at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from perennial.errors import TransientConflictError
from perennial.moves import Run, expire_sources, inline, recovery, restore_sources
from perennial.moves.move_plan import MovePlan
from perennial.moves.restore import check_request, plan_restore
from perennial.operations import pending_records
from perennial.storage import storage_for
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.moves.steps import finish_move, prepare
from tests.moves.trails import assert_trails_alternate
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
DAY = timedelta(days=1)
REQUEST = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}
LATE = 5
Interfere = Callable[[Warehouse], Any]


@pytest.fixture
def warehouse(local_warehouse: Warehouse) -> Warehouse:
    """Two expired sources."""
    workspace = Workspace(local_warehouse)
    for source_id in ("a", "b"):
        workspace.source(source_id)
    append_hot(local_warehouse, [interaction(source_id, number) for source_id in ("a", "b") for number in range(20)])
    workspace.sync()
    expire_sources(local_warehouse, Run("r1", NOW))
    return local_warehouse


def rewritten(warehouse: Warehouse) -> None:
    """A program that knows nothing of this project writes the archived rows of one source anew."""
    table = warehouse.table("interactions_archive")
    rows = table.scan(row_filter=EqualTo("source_id", "a")).to_arrow()
    table.overwrite(rows, overwrite_filter=EqualTo("source_id", "a"))


def appended(warehouse: Warehouse) -> None:
    """A program puts more rows of one source into the archive."""
    rows = [interaction("a", 1000 * len(hot_and_archive(warehouse)) + number) for number in range(LATE)]
    append_hot(warehouse, rows, table="interactions_archive")


def disturb(step: str, interfere: Interfere, times: int) -> None:
    """Have another writer come before a step of a restore in this process, so many times."""
    original = getattr(inline, step)

    def disturbed(warehouse: Warehouse, plan: MovePlan, *arguments: Any) -> Any:
        nonlocal times
        if times:
            times -= 1
            interfere(warehouse)
        return original(warehouse, plan, *arguments)

    setattr(inline, step, disturbed)


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what `disturb` changes put back after the test."""
    for step in ("commit_destination", "finish_move"):
        monkeypatch.setattr(inline, step, getattr(inline, step))


def restore(warehouse: Warehouse, run_id: str = "r2", now: datetime = NOW + DAY) -> dict[str, int]:
    report = restore_sources(warehouse, REQUEST, Run(run_id, now))
    return {source.source_id: source.row_count for source in report.sources if source.outcome == "restored"}


def restore_disturbed(warehouse: Warehouse) -> None:
    disturb("finish_move", appended, 1)
    restore(warehouse)


def restored_events(warehouse: Warehouse) -> dict[str, int]:
    rows = [row for row in warehouse.read("lifecycle_events").to_pylist() if row["event"] == "restored"]
    events = {row["source_id"]: row["row_count"] for row in rows}
    assert len(rows) == len(events)
    return events


def assert_all_is_back(warehouse: Warehouse, before: Counter[str]) -> None:
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}
    assert not list(pending_records(warehouse))
    assert_trails_alternate(warehouse)


CASES = [("commit_destination", rewritten), ("finish_move", rewritten), ("finish_move", appended)]


@pytest.mark.long
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(("step", "interfere"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_what_another_writer_changed_comes_back_in_a_second_round_and_all_of_it_is_one_event(
    warehouse: Warehouse, step: str, interfere: Interfere, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Counter[str]] = []
    really_plan = inline.plan_next_round

    def between_the_rounds(*arguments: Any) -> list[str]:
        seen.append(visible(warehouse))
        return really_plan(*arguments)

    monkeypatch.setattr(inline, "plan_next_round", between_the_rounds)
    disturb(step, interfere, 1)
    rows = restore(warehouse)

    assert seen == [Counter()]
    assert rows == restored_events(warehouse) == {"a": 20 + (LATE if interfere is appended else 0), "b": 20}
    assert_all_is_back(warehouse, hot_and_archive(warehouse))


@pytest.mark.long
@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(("step", "interfere"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_the_tasks_of_a_large_move_find_a_small_one_done_and_bring_back_what_is_left_of_it(
    warehouse: Warehouse, step: str, interfere: Interfere
) -> None:
    run = Run("r2", NOW + DAY)
    (plan_uri,) = plan_restore(warehouse, check_request(warehouse, REQUEST), run)
    disturb(step, interfere, 1)
    assert inline.carry_out(warehouse, [plan_uri], run)[plan_uri].left == ("a",)
    everything = hot_and_archive(warehouse)

    prepare(warehouse, plan_uri)
    assert finish_move(warehouse, plan_uri, run).left == ("a",)

    assert restored_events(warehouse) == {"a": 20 + (LATE if interfere is appended else 0), "b": 20}
    assert_all_is_back(warehouse, Counter(dict.fromkeys(everything, 1)))


@pytest.mark.long
@pytest.mark.usefixtures("undisturbed")
def test_a_restore_that_loses_every_race_shows_nothing_and_the_next_one_goes_on(warehouse: Warehouse) -> None:
    disturb("finish_move", appended, inline.ROUNDS)

    with pytest.raises(TransientConflictError, match="archived files of a "):
        restore(warehouse)
    everything = hot_and_archive(warehouse)
    assert max(everything.values()) == 1
    assert visible(warehouse) == {}

    rows = restore(warehouse, "r3")

    assert rows == restored_events(warehouse) == {"a": 20 + LATE * inline.ROUNDS, "b": 20}
    assert_all_is_back(warehouse, everything)


@pytest.mark.long
@pytest.mark.usefixtures("undisturbed")
def test_a_damaged_rest_keeps_its_own_source_hidden_and_no_other(warehouse: Warehouse) -> None:
    def damaged(opened: Warehouse) -> None:
        known = {live.uri for live in opened.live_files(opened.table("interactions_archive"))}
        appended(opened)
        (rest,) = {live.uri for live in opened.live_files(opened.table("interactions_archive"))} - known
        storage_for(rest).delete(rest)

    disturb("finish_move", damaged, 1)
    rows = restore(warehouse)

    assert rows == restored_events(warehouse) == {"b": 20}
    assert visible(warehouse) == multiset(warehouse, "interactions", ["b"])
    assert warehouse.source_totals("interactions_archive")["a"].row_count == LATE
    assert not list(pending_records(warehouse))


POINTS = [
    Point("before", "perennial.moves.finish:_outcome"),
    Point("before", "perennial.moves.recovery:plan_move"),
    Point("after", "perennial.moves.recovery:plan_move"),
    Point("before", "commit:add", 2),
    Point("after", "commit:add", 2),
    Point("after", "commit:remove", 2),
    Point("after", "commit:record"),
    # Before the record of the first move goes, and before that of the second.
    Point("before", "perennial.moves.finish:remove_pending"),
    Point("before", "perennial.moves.finish:remove_pending", 2),
]


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS, ids=str)
def test_a_restore_killed_between_or_in_its_rounds_is_finished_by_another_request_or_by_tomorrows_expiry(
    warehouse: Warehouse, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_kill(warehouse.settings, point, restore_disturbed)
    everything = hot_and_archive(warehouse)
    assert len(everything) == 40 + LATE
    shown = visible(warehouse)
    assert shown in (Counter(), everything)

    if POINTS.index(point) % 2:
        restore(warehouse, "again", NOW + 2 * DAY)
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    monkeypatch.setattr(recovery, "ABANDONED_SECONDS", 0)
    expire_sources(warehouse, Run("tomorrow", NOW + 2 * DAY))

    assert restored_events(warehouse) == {"a": 20 + LATE, "b": 20}
    assert_all_is_back(warehouse, Counter(dict.fromkeys(everything, 1)))
