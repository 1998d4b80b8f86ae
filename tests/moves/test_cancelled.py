"""A restore that is cancelled (R23): before the hot commit nothing of it is left, after that it is finished."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.errors import TerminalCancelledError, TerminalRequestError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.cancel import cancel_restore
from perennial.moves.inline import end_stopped_run
from perennial.moves.move_plan import find_plan
from perennial.moves.restore import check_request, plan_restore
from perennial.operations import pending_records
from perennial.warehouse import Warehouse
from perennial.warehouse import commits
from tests.kill import Point, run_and_kill
from tests.moves.places import everywhere
from tests.moves.steps import add_copies, prepare
from tests.moves.test_killed import COMMON, NOW, REQUEST, assert_restored, expire
from tests.moves.trails import assert_trails_alternate
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

LATER = NOW + timedelta(days=1)
RUN = Run("r2", LATER, "ann")
COMMITTED = ("after-add", "after-remove", "after-record", "before-remove_pending")


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    """Two expired sources and one that stays."""
    workspace = Workspace(warehouse)
    for source_id, status in (("a", "stopped"), ("b", "stopped"), ("running", "active")):
        workspace.source(source_id, status)
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(20)])
    workspace.sync()
    return workspace


def restore(warehouse: Warehouse) -> None:
    restore_sources(warehouse, REQUEST, RUN)


def state(warehouse: Warehouse) -> tuple[Any, ...]:
    """All that an expired source is: rows in both tables, what features see, its history, and no lock."""
    events = sorted(map(str, warehouse.read("lifecycle_events").to_pylist()))
    return (
        multiset(warehouse, "interactions"),
        multiset(warehouse, "interactions_archive"),
        visible(warehouse),
        events,
        list(pending_records(warehouse)),
    )


def assert_comes_back(warehouse: Warehouse, before: Counter[str]) -> None:
    restore_sources(warehouse, REQUEST, Run("again", LATER))
    assert_restored(warehouse, before)


POINTS = [*COMMON, Point("before", "perennial.moves.finish:remove_pending")]


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_r23_a_restore_that_was_stopped_at_any_step_is_cancelled_or_finished(
    workspace: Workspace, point: Point
) -> None:
    """As when a run is marked failed: its process is killed, then its teardown runs."""
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    expired = state(warehouse)
    run_and_kill(warehouse.settings, point, restore)

    end_stopped_run(warehouse, RUN, "ann", planned=True)

    if str(point) in COMMITTED:
        assert_restored(warehouse, before)
        assert not list(pending_records(warehouse))
    else:
        assert state(warehouse) == expired
        assert_comes_back(warehouse, before)


def while_it_runs(monkeypatch: pytest.MonkeyPatch, point: Point, interfere: Callable[[], object]) -> None:
    """Do something once when a running restore comes to a point."""
    kind, _, name = point.target.partition(":")
    module = importlib.import_module("perennial.warehouse.commits" if kind == "commit" else kind)
    attribute = "_commit" if kind == "commit" else name
    original = getattr(module, attribute)
    done: list[object] = []

    def watched(*positional: Any, **named: Any) -> Any:
        meant = not done and (kind != "commit" or name in positional[2].split(":"))
        if meant and point.when == "before":
            done.append(interfere())
        result = original(*positional, **named)
        if meant and point.when == "after":
            done.append(interfere())
        return result

    monkeypatch.setattr(module, attribute, watched)


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_r23_a_running_restore_stops_at_its_next_step_or_finishes(
    workspace: Workspace, point: Point, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `perennial cancel`, which stops no process: even one that is about to commit loses the race."""
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    expired = state(warehouse)
    said: list[str] = []
    with monkeypatch.context() as patched:
        while_it_runs(patched, point, lambda: said.append(str(cancel_restore(warehouse, "r2", "ann"))))
        if str(point) in COMMITTED:
            restore(warehouse)
        else:
            with pytest.raises(TerminalCancelledError, match="cancelled"):
                restore(warehouse)

    (sentence,) = said
    if str(point) in COMMITTED:
        assert_restored(warehouse, before)
        assert sentence.startswith(("Too late", "Cancelled. Nothing was moved"))
    else:
        assert sentence.startswith("Cancelled. Nothing was moved")
        assert state(warehouse) == expired
        assert_comes_back(warehouse, before)
