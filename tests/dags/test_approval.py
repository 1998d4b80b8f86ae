"""A run that would move unusually much waits for a person; what is answered decides what moves (R21)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from perennial.moves.forecast import next_run
from perennial.policy.hold_requests import HoldRequest, place_hold
from perennial.warehouse import Warehouse
from perennial_sample import in_process
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    """Two sources of one owner are due, a third has rows that came late, and one stays."""
    workspace = Workspace(warehouse)
    for name in ("old", "older"):
        workspace.source(name, owner_email="owner@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(10)])
    workspace.sync()
    return workspace


@pytest.fixture
def guarded(run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> RunDag:
    monkeypatch.setenv("PERENNIAL_APPROVE_ABOVE_SHARE", "0.5")
    return run_dag


def states(run: object) -> dict[str, str]:
    return {task.task_id: str(task.state) for task in run.get_task_instances()}  # type: ignore[attr-defined]


def test_r21_what_is_approved_moves_less_what_is_held_meanwhile(
    workspace: Workspace, guarded: RunDag, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    really_answer = in_process._answer_open_questions
    parked: list[dict[str, int]] = []

    def hold_then_answer(option: str) -> list[str]:
        answered = really_answer(option)
        if answered:
            parked.append({name: total.row_count for name, total in warehouse.source_totals("interactions").items()})
            place_hold(warehouse, HoldRequest("older", None, "ann", "Still needed"), datetime.now(UTC))
        return answered

    monkeypatch.setattr(in_process, "_answer_open_questions", hold_then_answer)
    with in_process.answering("Approve") as asked:
        run = guarded("expire_interactions", at=NOW)

    assert run.state == "success"
    assert asked == ["Approve that 20 interactions of 2 sources move to long-term storage?"]
    assert parked == [{"old": 10, "older": 10, "running": 10}]
    assert warehouse.source_totals("interactions").keys() == {"older", "running"}
    assert hot_and_archive(warehouse) == before
    question, digest = mailbox.messages()
    assert question.recipients == digest.recipients == ("owner@example.com",)
    assert "Approval needed before 2 sources of yours expire" in question.subject
    for part in (question.text, question.html):
        assert (
            "It would move 67% of the hot interactions; the limit (PERENNIAL_APPROVE_ABOVE_SHARE) is 50%."
            in " ".join(part.split())
        )
        assert "Name of old" in part


@pytest.mark.long
def test_r21_a_rejection_moves_nothing_but_late_rows_and_the_next_run_asks_anew(
    workspace: Workspace, guarded: RunDag, mailbox: Mailbox
) -> None:
    warehouse = workspace.warehouse
    with in_process.answering("Approve"):
        guarded("expire_interactions", at=NOW)
    append_hot(warehouse, [interaction("old", number) for number in range(10, 15)])
    workspace.source("fresh", owner_email="owner@example.com")
    append_hot(warehouse, [interaction("fresh", number) for number in range(40)])
    workspace.sync()
    before = hot_and_archive(warehouse)
    for day in (1, 2):
        with in_process.answering("Reject") as asked:
            run = guarded("expire_interactions", at=NOW + timedelta(days=day))
        assert run.state == "success"
        assert len(asked) == 1
        found = states(run)
        assert found["approve"] == "success"
        assert found["plan_approved"] == "skipped"
        # What came late did not wait.
        assert warehouse.source_totals("interactions").keys() == {"fresh", "running"}
        assert hot_and_archive(warehouse) == before


@pytest.mark.long
def test_nobody_is_asked_below_the_limits_or_by_a_dry_run(
    workspace: Workspace, guarded: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = guarded("expire_interactions", {"dry_run": True}, at=NOW)
    assert (run.state, states(run)["approve"]) == ("success", "skipped")
    monkeypatch.setenv("PERENNIAL_APPROVE_ABOVE_SHARE", "0.9")
    run = guarded("expire_interactions", at=NOW + timedelta(days=1))
    assert (run.state, states(run)["approve"]) == ("success", "skipped")
    assert workspace.warehouse.source_totals("interactions").keys() == {"running"}


@pytest.mark.long
def test_r21_without_an_answer_before_the_next_daily_run_nothing_moves(
    workspace: Workspace, guarded: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    ends: list[datetime] = []

    def let_time_pass(_option: str) -> list[str]:
        """The wait is over; what then happens is the scheduler's own doing."""
        with create_session() as session:
            for task in session.scalars(select(TaskInstance).where(TaskInstance.state == "awaiting_input")):
                ends.append(task.trigger_timeout)
                task.trigger_timeout = NOW
        SchedulerJobRunner(Job()).check_awaiting_input_timeouts()
        return []

    monkeypatch.setattr(in_process, "_answer_open_questions", let_time_pass)
    before = multiset(workspace.warehouse, "interactions")
    with in_process.answering("Approve"):
        run = guarded("expire_interactions", at=NOW)

    assert (run.state, states(run)["plan_approved"]) == ("success", "skipped")
    assert ends[0] < next_run(datetime.now(UTC))
    assert multiset(workspace.warehouse, "interactions") == before
