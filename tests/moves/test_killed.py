"""Every step of both directions is killed and run again: nothing is lost, nothing doubled, nothing half visible."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves import Run, expire_sources, recovery, restore_sources
from perennial.moves.inline import carry_out
from perennial.moves.move_plan import find_plan
from perennial.operations import pending_records
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.moves.places import everywhere
from tests.moves.steps import finish_move, prepare
from tests.moves.trails import assert_trails_alternate
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
REQUEST = {"source_ids": ["a", "b"], "notify": ["ann@example.com"]}

COMMON = [
    Point("before", "perennial.moves.plan:write_pending"),
    Point("before", "perennial.moves.plan:write_plan"),
    Point("before", "perennial.moves.copy:taken_over"),
    Point("before", "perennial.moves.copy:write_file_list"),
    Point("before", "perennial.moves.copy:_write_results"),
    Point("before", "perennial.moves.verify:_write_report"),
    Point("before", "commit:add"),
    Point("after", "commit:add"),
    # Before each of the others is after the one before it.
    Point("after", "commit:remove"),
    Point("after", "commit:record"),
]
EXPIRING = [*COMMON, Point("after", "commit:checksums")]
EXPIRING.append(Point("before", "perennial.moves.finish:remove_pending"))
# A copy that is not flushed, or whose name is not; and one copy of several.
WHILE_COPYING = [
    ("local", Point("before", "perennial.storage.local:_flush_content")),
    ("local", Point("before", "perennial.storage.local:LocalStorage.make_durable")),
    ("lake", Point("after", "perennial.storage.s3:S3Storage.copy")),
]
RESTORING = [*COMMON, Point("before", "perennial.moves.finish:remove_pending")]


def in_places(points: list[Point]) -> list[tuple[str, Point]]:
    """On a local disk every point; on S3 after every commit, and where copies have been made but not noted."""
    on_s3 = [point for point in points if str(point).startswith(("after-", "before-write_results"))]
    return [*(("local", point) for point in points), *(("lake", point) for point in on_s3)]


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    """Two sources that are due, one of them with tiny files that are merged on their way, and one that stays."""
    workspace = Workspace(warehouse)
    workspace.source("a")
    workspace.source("b")
    workspace.source("running", "active")
    loads = [[interaction("b", load * 10 + number) for number in range(10)] for load in range(9)]
    loads.append([interaction(source, number) for source in ("a", "running") for number in range(100, 130)])
    append_hot(warehouse, *loads)
    workspace.sync()
    return workspace


def expire(warehouse: Warehouse, run_id: str = "r1", now: datetime = NOW) -> None:
    expire_sources(warehouse, Run(run_id, now))


def restore(warehouse: Warehouse, run_id: str = "r2", now: datetime = NOW + timedelta(days=1)) -> None:
    restore_sources(warehouse, REQUEST, Run(run_id, now))


def carry_on(warehouse: Warehouse, kind: str, run: Run) -> bool:
    """Do again what Airflow's next try of the same run does; False when the run had not come as far as a plan."""
    plans = [plan for record in pending_records(warehouse, kind) if (plan := find_plan(record.plan_uri))]
    for plan in plans:
        if plan.uri.startswith("s3:"):
            # As the task of a small move; the others as the tasks of a large one.
            carry_out(warehouse, [plan.uri], run)
        else:
            prepare(warehouse, plan.uri)
            finish_move(warehouse, plan.uri, run)
    return bool(plans)


def assert_nothing_lost_or_doubled(warehouse: Warehouse, before: Counter[str]) -> None:
    """What must hold at any moment: every row is somewhere, features see each at most once, and never half a source."""
    assert hot_and_archive(warehouse).keys() == before.keys()
    seen = visible(warehouse)
    assert not seen - before
    for source in ("a", "b", "running"):
        whole = Counter({row: count for row, count in before.items() if f'"source_id":"{source}"' in row})
        found = Counter({row: count for row, count in seen.items() if f'"source_id":"{source}"' in row})
        assert found in (Counter(), whole), source


def assert_expired(warehouse: Warehouse, before: Counter[str]) -> None:
    assert hot_and_archive(warehouse) == before
    assert warehouse.source_totals("interactions").keys() == {"running"}
    assert visible(warehouse) == multiset(warehouse, "interactions")


def assert_restored(warehouse: Warehouse, before: Counter[str]) -> None:
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert multiset(warehouse, "interactions_archive") == {}
    assert_trails_alternate(warehouse)


@pytest.mark.long(but="local-after-add")
@pytest.mark.parametrize(
    ("warehouse", "point"), [*in_places(EXPIRING), *WHILE_COPYING], indirect=["warehouse"], ids=str
)
def test_a_killed_expiry_is_finished_by_its_next_try_or_by_tomorrows_run(workspace: Workspace, point: Point) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")

    run_and_kill(warehouse.settings, point, expire)
    assert_nothing_lost_or_doubled(warehouse, before)

    # Both ways of going on, each from the same wreck in half of the cases.
    if point not in EXPIRING or EXPIRING.index(point) % 2 or not carry_on(warehouse, "expire", Run("r1", NOW)):
        expire(warehouse, "tomorrow", NOW + timedelta(days=1))
    assert_expired(warehouse, before)

    restore(warehouse, "back", NOW + timedelta(days=2))
    assert_restored(warehouse, before)


@pytest.mark.long(but="local-after-(add|remove)")
@pytest.mark.parametrize(("warehouse", "point"), in_places(RESTORING), indirect=["warehouse"], ids=str)
def test_a_killed_restore_is_finished_by_its_next_try_or_by_another_request(workspace: Workspace, point: Point) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)

    run_and_kill(warehouse.settings, point, restore)
    assert_nothing_lost_or_doubled(warehouse, before)

    if RESTORING.index(point) % 2 or not carry_on(warehouse, "restore", Run("r2", NOW + timedelta(days=1))):
        restore(warehouse, "again", NOW + timedelta(days=1))
    assert_restored(warehouse, before)


@pytest.mark.long(but="^(after-add-local)$")
@everywhere
@pytest.mark.parametrize("point", [Point("after", "commit:add"), Point("after", "commit:remove")], ids=str)
def test_a_dead_restore_is_finished_by_the_next_expiry(
    workspace: Workspace, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    run_and_kill(warehouse.settings, point, restore)

    expire(warehouse, "soon", NOW + timedelta(days=1))
    assert_nothing_lost_or_doubled(warehouse, before)
    monkeypatch.setattr(recovery, "RESTORE_SILENT_SECONDS", 0)
    expire(warehouse, "later", NOW + timedelta(days=1, hours=1))

    assert_restored(warehouse, before)
