"""Runs of one DAG go one after the other, whatever becomes of the one that is at work (ADR 14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves import Run
from perennial.operations import pending_records, take_turn
from perennial.warehouse import Warehouse
from tests.moves.places import everywhere

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
MONDAY, TUESDAY, WEDNESDAY = (Run(f"run {day}", NOW + timedelta(days=day)) for day in range(3))


class Line:
    """The runs of a DAG, and which of them Airflow says are under way."""

    def __init__(self, warehouse: Warehouse, *active: Run) -> None:
        self.warehouse = warehouse
        self.active = {run.run_id for run in active}

    def take(self, run: Run, dag_id: str = "expire_interactions") -> str:
        return take_turn(self.warehouse, dag_id, run, self.active.__contains__)

    def end(self, run: Run) -> None:
        self.active.remove(run.run_id)


@pytest.fixture
def line(warehouse: Warehouse) -> Line:
    return Line(warehouse, MONDAY, TUESDAY, WEDNESDAY)


@everywhere
def test_one_run_at_a_time_oldest_first(line: Line) -> None:
    assert line.take(MONDAY) == ""
    assert line.take(WEDNESDAY) == MONDAY.run_id
    assert line.take(TUESDAY) == MONDAY.run_id
    assert line.take(MONDAY) == ""

    line.end(MONDAY)

    assert line.take(WEDNESDAY) == TUESDAY.run_id
    assert line.take(TUESDAY) == ""
    assert line.take(WEDNESDAY) == TUESDAY.run_id
    line.end(TUESDAY)
    assert line.take(WEDNESDAY) == ""


def test_a_run_that_is_older_waits_for_one_that_is_at_work(line: Line) -> None:
    assert line.take(TUESDAY) == ""
    assert line.take(MONDAY) == TUESDAY.run_id
    assert line.take(TUESDAY) == ""


def test_a_run_that_was_killed_holds_nobody_up_and_takes_its_turn_again_when_it_is_cleared(line: Line) -> None:
    assert line.take(MONDAY) == ""
    line.end(MONDAY)
    assert line.take(TUESDAY) == ""
    line.end(TUESDAY)

    line.active.add(MONDAY.run_id)

    assert line.take(MONDAY) == ""
    assert line.take(WEDNESDAY) == MONDAY.run_id


def test_a_cleared_run_keeps_the_turn_that_nobody_has_taken_since(line: Line) -> None:
    assert line.take(TUESDAY) == ""
    line.end(TUESDAY)
    line.active.add(TUESDAY.run_id)

    assert line.take(WEDNESDAY) == TUESDAY.run_id
    assert line.take(TUESDAY) == ""


def test_a_run_that_was_cleared_beside_another_is_waited_for_by_those_after_it(line: Line) -> None:
    line.end(MONDAY)
    assert line.take(TUESDAY) == ""
    line.active.add(MONDAY.run_id)
    assert line.take(MONDAY) == TUESDAY.run_id
    line.end(TUESDAY)

    assert line.take(WEDNESDAY) == MONDAY.run_id


def test_runs_that_never_began_hold_nobody_up(warehouse: Warehouse) -> None:
    line = Line(warehouse, MONDAY, *(Run(f"hung {year}", NOW.replace(year=year)) for year in range(2030, 2060)))

    assert line.take(MONDAY) == ""


def test_dags_do_not_wait_for_each_other_and_a_turn_is_no_operation_under_way(line: Line) -> None:
    assert line.take(MONDAY) == ""
    assert line.take(TUESDAY, "load_interactions") == ""
    assert not list(pending_records(line.warehouse))
