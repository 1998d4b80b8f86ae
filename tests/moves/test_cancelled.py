"""A restore that is cancelled (R23): before the hot commit nothing of it is left, after that it is finished."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from perennial.errors import TerminalCancelledError, TerminalRequestError
from perennial.moves import Run, plan, restore_sources
from perennial.moves.cancel import cancel_restore
from perennial.moves.inline import carry_out, end_stopped_run
from perennial.moves.restore import check_request, plan_restore, restore_report
from perennial.moves.restore_start import note_end
from perennial.operations import pending_records
from perennial.warehouse import Warehouse
from tests.kill import Point, run_and_kill
from tests.moves.test_killed import NOW, REQUEST, RESTORING, assert_restored, expire
from tests.rows import append_hot, interaction, multiset, visible
from tests.workspace import Workspace

LATER = NOW + timedelta(days=1)
RUN = Run("r2", LATER, "ann")
COMMITTED = ("after-add", "after-remove", "after-record", "before-remove_pending", "after-remove_pending")


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


@pytest.mark.long(but="^after-add$")
@pytest.mark.parametrize("point", RESTORING, ids=str)
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


# Until it has planned, while it copies, and the race for the commit; also where another catalog decides it.
RUNNING = [
    ("local", Point("before", "perennial.moves.plan:write_plan")),
    ("local", Point("before", "perennial.moves.copy:_write_results")),
    ("local", Point("before", "commit:add")),
    ("lake", Point("before", "commit:add")),
    ("lake", Point("after", "commit:add")),
    ("local", Point("after", "commit:record")),
    ("local", Point("after", "perennial.moves.finish:remove_pending")),
]


@pytest.mark.long(but="local-before-add")
@pytest.mark.parametrize(("warehouse", "point"), RUNNING, indirect=["warehouse"], ids=str)
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
        assert sentence.startswith("Too late")
    else:
        assert sentence.startswith("Cancelled. Nothing was moved")
        assert state(warehouse) == expired
        assert_comes_back(warehouse, before)


@pytest.mark.long
def test_r23_of_several_moves_those_that_have_arrived_are_finished_and_the_report_says_which(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    monkeypatch.setattr(plan, "MOVE_FILES", 1)
    said: list[str] = []
    request_uri = check_request(warehouse, REQUEST, "r2")
    plan_uris = plan_restore(warehouse, request_uri, RUN)
    with monkeypatch.context() as patched:
        while_it_runs(
            patched, Point("after", "commit:add"), lambda: said.append(str(cancel_restore(warehouse, "r2", "ann")))
        )
        with pytest.raises(TerminalCancelledError):
            carry_out(warehouse, plan_uris, RUN)

    report = restore_report(warehouse, request_uri, RUN, LATER, plan_uris)
    assert said == [
        "Cancelled for 1 source, expired exactly as before. The data of 1 source is in the hot table already; their "
        "restore is finished."
    ]
    assert (report.state, report.cancelled) == ("finished in part", "The restore was cancelled by ann.")
    assert {source.source_id: source.outcome for source in report.sources} == {"a": "restored", "b": "cancelled"}
    assert visible(warehouse) == multiset(warehouse, "interactions")
    assert warehouse.source_totals("interactions").keys() == {"a", "running"}
    assert not list(pending_records(warehouse))
    assert_comes_back(warehouse, before)


@pytest.mark.long
def test_r23_what_is_not_under_way_cannot_be_cancelled(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    expire(warehouse)
    plan_restore(warehouse, check_request(warehouse, REQUEST, "manual__2026-06-02"), Run("manual__2026-06-02", LATER))

    with pytest.raises(TerminalRequestError, match="did you mean 'manual__2026-06-02'"):
        cancel_restore(warehouse, "manual_2026-06-02", "ann")
    assert [record.run_id for record in pending_records(warehouse)] == ["manual__2026-06-02"]

    restore(warehouse)
    note_end(warehouse, "r2")
    with pytest.raises(TerminalRequestError, match="'r2' has ended"):
        cancel_restore(warehouse, "r2", "ann")


def test_r23_a_run_that_is_cleared_after_it_was_cancelled_begins_anew(workspace: Workspace) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire(warehouse)
    request_uri = check_request(warehouse, REQUEST, "r2")
    cancel_restore(warehouse, "r2", "ann")
    with pytest.raises(TerminalCancelledError, match="cancelled by ann"):
        plan_restore(warehouse, request_uri, RUN)

    restore(warehouse)
    assert_restored(warehouse, before)
