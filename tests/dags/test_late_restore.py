"""The deadline of a restore: a mail when one takes long, and none when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.settings import Settings
from perennial.thaw import warn_when_late
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag

CONF: dict[str, Any] = {"source_ids": ["nobody"], "notify": ["ann@example.com"], "reason": "Q3 replay"}
DAG = "restore_interactions"


class Supervisor:
    """Answers a trigger as the supervisor of Airflow's triggerer does: from the API over Airflow's own database."""

    def __init__(self) -> None:
        from airflow.sdk.api.client import Client
        from airflow.sdk.execution_time.supervisor import in_process_api_server

        # The one that `DAG.test` asks too: each has an event loop that nobody closes.
        transport = in_process_api_server().transport
        self.client = Client(base_url=None, token="", dry_run=True, transport=transport)
        self.client.base_url = "http://in-process.invalid./"  # type: ignore[assignment]  # it takes a text

    def send(self, msg: Any) -> Any:
        from airflow.sdk.execution_time.comms import DagRunStateResult, GetTaskStates, TaskStatesResult

        if isinstance(msg, GetTaskStates):
            states = self.client.task_instances.get_task_states(dag_id=msg.dag_id, run_ids=msg.run_ids)
            return TaskStatesResult.from_api_response(states)
        return DagRunStateResult.from_api_response(self.client.dag_runs.get_state(msg.dag_id, msg.run_id))


@pytest.fixture(scope="module")
def supervisor(dags: Mapping[str, Any]) -> Supervisor:
    return Supervisor()


@pytest.fixture
def triggerer(supervisor: Supervisor, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the callback run as in a triggerer, over this test's workspace and its mail server."""
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)


@pytest.fixture
def run_id(dags: Mapping[str, Any], settings: Settings, warehouse: Warehouse) -> str:
    """A restore that Airflow has begun, and none of whose tasks has been."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.utils.types import DagRunTriggeredByType

    run = trigger_dag(DAG, triggered_by=DagRunTriggeredByType.TEST, conf=CONF)
    assert run is not None
    put(run.run_id, "running")
    return str(run.run_id)


def put(run_id: str, state: str, **tasks: str) -> None:
    """Bring a run and some of its tasks into a state."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state=state))
        for task_id, task_state in tasks.items():
            of_run = (TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
            changed = session.execute(update(TaskInstance).where(*of_run).values(state=task_state))
            assert changed.rowcount == 1  # type: ignore[attr-defined]  # an update has one


def deadline_of(run_id: str, state: str = "running") -> dict[str, Any]:
    """What Airflow hands over when a deadline passes: 15 minutes after the run was queued, when it had a state."""
    queued_at = (datetime.now(UTC) - timedelta(minutes=15, seconds=2)).isoformat()
    dag_run = {"dag_id": DAG, "dag_run_id": run_id, "queued_at": queued_at, "state": state, "conf": CONF}
    return {"dag_run": dag_run, "deadline": {"id": "1"}}


def warned(context: dict[str, Any]) -> str:
    return asyncio.run(warn_when_late(context=context))


@pytest.mark.long
def test_r12_a_restore_that_has_failed_is_followed_by_no_second_mail(
    triggerer: None, run_dag: RunDag, warehouse: Warehouse, mailbox: Mailbox
) -> None:
    run = run_dag(DAG, CONF)
    assert run.state == "failed"

    assert warned(deadline_of(run.run_id, "failed")) == "the run has ended"

    assert [mail.subject for mail in mailbox.messages()] == ["Restore failed: nobody"]


@pytest.mark.parametrize(
    ("state", "tasks"),
    [
        ("failed", {}),
        ("success", {}),
        # Airflow notes the end of a run some seconds after its last task.
        ("running", {"notify_requesters": "running"}),
        ("running", {"notify_requesters": "up_for_retry"}),
        ("running", {"notify_requesters": "success"}),
        ("running", {"notify_requesters": "failed"}),
    ],
    ids=str,
)
def test_a_run_that_has_ended_meanwhile_or_is_telling_so_is_not_late(
    triggerer: None, run_id: str, state: str, tasks: dict[str, str], mailbox: Mailbox
) -> None:
    put(run_id, state, **tasks)

    assert warned(deadline_of(run_id)) == "the run has ended"

    assert mailbox.messages() == []


@pytest.mark.parametrize(
    ("state", "tasks", "said"),
    [
        ("running", {}, "It has been running for 15 minutes."),
        ("running", {"plan": "up_for_retry", "notify_requesters": "scheduled"}, "It has been running for 15 minutes."),
        ("queued", {}, "It has been waiting for its turn for 15 minutes."),
    ],
    ids=["running", "its last task is near", "queued"],
)
def test_a_run_that_goes_on_is_announced_once_however_often_the_triggerer_starts_anew(
    triggerer: None, run_id: str, state: str, tasks: dict[str, str], said: str, mailbox: Mailbox
) -> None:
    put(run_id, state, **tasks)

    deadline = deadline_of(run_id, state)
    assert [warned(deadline) for _ in range(2)] == ["notified ann@example.com"] * 2

    (mail,) = mailbox.messages()
    assert mail.recipients == ("ann@example.com",)
    assert said in mail.text
    assert "Nothing is lost" in mail.text


@pytest.mark.parametrize("state", ["awaiting_input", "deferred"])
def test_r23_a_run_that_waits_for_a_person_is_not_late(
    triggerer: None, run_id: str, state: str, mailbox: Mailbox
) -> None:
    put(run_id, "running", plan=state)
    assert warned(deadline_of(run_id)) == "the run waits for a person's approval"
    assert mailbox.messages() == []


def test_a_run_that_somebody_has_removed_is_not_late(
    triggerer: None, run_id: str, settings: Settings, mailbox: Mailbox
) -> None:
    assert warned(deadline_of(f"not {run_id}")) == "the run has ended"
    assert mailbox.messages() == []


@pytest.mark.parametrize(("state", "mails"), [("failed", 0), ("running", 1)])
def test_where_airflow_does_not_answer_what_it_said_when_the_deadline_passed_has_to_do(
    run_dag: RunDag, warehouse: Warehouse, mailbox: Mailbox, state: str, mails: int
) -> None:
    warned(deadline_of("r1", state))
    assert len(mailbox.messages()) == mails
