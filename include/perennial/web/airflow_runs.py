"""Runs of the restore DAG, in Airflow's own database: this process is its API server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from perennial.airflow import CANCELLED_XCOM
from perennial.notify.deadline import WAITING
from perennial.refusals import CLOCK_DIFFERENCE, lies_ahead
from perennial.web.access import EXPIRE_DAG, RESTORE_DAG

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import timedelta

    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

    from perennial.moves import RestoreRequest

QUEUED, RUNNING, SUCCESS, FAILED = "queued", "running", "success", "failed"
OVER = (SUCCESS, FAILED)
RECENT = 50

_P = ParamSpec("_P")
_T = TypeVar("_T")


def brief(ask: Callable[Concatenate[Session, _P], _T]) -> Callable[Concatenate[Session, _P], _T]:
    """Return a session's connection to the pool as soon as Airflow's database has answered.

    The next step reads the warehouse, for seconds; Airflow has few connections, and without one no user can log in.
    """

    @wraps(ask)
    def asked(session: Session, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return ask(session, *args, **kwargs)
        finally:
            session.rollback()

    return asked


@dataclass(frozen=True)
class RestoreRun:
    """One run of the restore DAG.

    Attributes:
        run_id: Airflow's id of it.
        state: queued, running, success or failed.
        conf: The request; any text, as given when the run was triggered.
        requested_by: Who triggered it.
        queued_at: When that was.
        started_at: None while it is queued.
        ended_at: None until it is over.
        now: The run's date (moves.runs.Run).
    """

    run_id: str
    state: str
    conf: Mapping[str, Any] = field(hash=False)
    requested_by: str
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    now: datetime

    def asked(self, param: str) -> tuple[str, ...]:
        """Return one of the requested lists; Airflow's own form and API accept anything in it."""
        value = self.conf.get(param)
        return tuple(map(_text, value)) if isinstance(value, list) else ()

    @property
    def lies_ahead(self) -> bool:
        """Whether Airflow starts the run only at a later date; until then it does nothing."""
        return self.state not in OVER and lies_ahead(self.now, datetime.now(UTC))

    @property
    def reason(self) -> str:
        """The reason in the request."""
        return _text(self.conf.get("reason") or "")


def _text(value: object) -> str:
    # Half of a surrogate pair cannot be stored in a database or sent in an answer, and is not printable either.
    text = str(value)
    return text if text.isprintable() else text.encode(errors="replace").decode()


@brief
def find_obstacle(session: Session, dag_id: str = RESTORE_DAG, what: str = "restore") -> str:
    """Say why no run of a DAG can be started at the moment, and who can fix that; empty if one can be started.

    Args:
        session: Airflow's.
        dag_id: The DAG.
        what: What its runs do: restore or hold.
    """
    from airflow.models.dag import DagModel

    dag = session.get(DagModel, dag_id, populate_existing=True)
    if dag is None or dag.is_stale:
        return (
            f"Airflow does not have the DAG {dag_id} at the moment, so no {what} is possible. Whoever runs "
            "Airflow should see that its DAG processor reads the project's dags folder."
        )
    if dag.has_import_errors:
        return (
            f"Airflow cannot read the DAG {dag_id}, so no {what} is possible. Whoever runs Airflow finds the "
            "error among the import errors on its page."
        )
    if dag.is_paused:
        return (
            f"The DAG {dag_id} is paused: a {what} would wait unnoticed. Somebody who may edit it has to "
            "unpause it in Airflow first."
        )
    return ""


@brief
def trigger_restore(session: Session, request: RestoreRequest, user_name: str, by_page: bool) -> str:
    """Start a restore in the user's name and record that in Airflow's audit log; returns the run's id.

    Args:
        session: Airflow's; it is committed.
        request: Checked and resolved.
        user_name: The user who requests it.
        by_page: Whether a person requested it on the page; otherwise a program did.
    """
    conf = {
        "source_ids": list(request.source_ids),
        "tags": list(request.tags),
        "notify": list(request.notify),
        "reason": request.reason,
        **{name: value for name in ("max_cost", "max_bytes") if (value := getattr(request, name)) is not None},
    }
    logged = {"source_count": len(request.source_ids), "tags": conf["tags"], "reason": request.reason}
    return trigger_run(session, RESTORE_DAG, conf, logged, user_name, by_page)


@brief
def trigger_run(
    session: Session,
    dag_id: str,
    conf: dict[str, Any],
    logged: Mapping[str, Any],
    user_name: str,
    by_page: bool,
) -> str:
    """Start a run of a DAG in the user's name and record that in Airflow's audit log; returns the run's id.

    Args:
        session: Airflow's; it is committed.
        dag_id: The DAG.
        conf: Its params.
        logged: What the audit log records of them.
        user_name: The user who requests it.
        by_page: As in `trigger_restore`.
    """
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.models.log import Log
    from airflow.utils.types import DagRunTriggeredByType

    by = DagRunTriggeredByType.UI if by_page else DagRunTriggeredByType.REST_API
    run = trigger_dag(dag_id, triggered_by=by, triggering_user_name=user_name, conf=conf, session=session)
    assert run is not None
    # Airflow's own action_logging would record neither the DAG nor the run, nor anything of a form.
    session.add(
        Log(
            event="trigger_dag_run",
            owner=user_name,
            owner_display_name=user_name,
            dag_id=dag_id,
            run_id=run.run_id,
            extra=json.dumps(logged),
        )
    )
    session.commit()
    return str(run.run_id)


@brief
def cancel_run(session: Session, run: RestoreRun, user_name: str) -> None:
    """Mark a restore's run failed, as Airflow's own page does, and record who did; the run's last tasks do the rest.

    Args:
        session: Airflow's; it is committed.
        run: A run that is not over.
        user_name: The user who cancels it.
    """
    from airflow.api.common.mark_tasks import set_dag_run_state_to_failed
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from airflow.models.log import Log
    from airflow.models.xcom import XComModel
    from airflow.utils.state import DagRunState
    from sqlalchemy import select

    found = session.scalars(select(DagRun).where(DagRun.dag_id == RESTORE_DAG, DagRun.run_id == run.run_id)).one()
    task_id, key = CANCELLED_XCOM
    # As tasks read it: the text itself. `XComModel.set` would encode it in Airflow 3.1.
    named = {"dag_run_id": found.id, "dag_id": RESTORE_DAG, "task_id": task_id, "run_id": run.run_id, "map_index": -1}
    session.merge(XComModel(**named, key=key, value=user_name))
    dag = DBDagBag().get_dag_for_run(found, session=session)
    assert dag is not None
    set_dag_run_state_to_failed(dag=dag, run_id=run.run_id, commit=True, session=session)
    if run.lies_ahead:
        # Airflow begins no task of it before its date, not even the last ones.
        found.set_state(DagRunState.FAILED)
    entry = Log(event="cancel_restore", owner=user_name, owner_display_name=user_name, dag_id=RESTORE_DAG)
    entry.run_id = run.run_id
    session.add(entry)
    session.commit()


@brief
def find_canceller(session: Session, run_id: str) -> str:
    """Return who has cancelled a restore on the page; empty if nobody has."""
    return str(dict(_results(session, CANCELLED_XCOM[0], [run_id], CANCELLED_XCOM[1])).get(run_id, ""))


@brief
def find_run(session: Session, run_id: str, dag_id: str = RESTORE_DAG) -> RestoreRun | None:
    """Look one run up, of the restore DAG or of another."""
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    found = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if found is None else _run(found)


@brief
def recent_runs(session: Session, states: Collection[str] = (), limit: int | None = RECENT) -> list[RestoreRun]:
    """List runs, latest first.

    Args:
        session: Airflow's.
        states: Only runs in one of these; every run where none is given.
        limit: How many at most; None: all.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.dag_id == RESTORE_DAG).order_by(DagRun.id.desc()).limit(limit)
    if states:
        query = query.where(DagRun.state.in_(states))
    return [_run(found) for found in session.scalars(query)]


@brief
def measured_runs(session: Session) -> dict[str, timedelta]:
    """Return how long runs took from the request to their end, which is how long somebody waits at the page.

    Only runs that a scheduler ran from their first to their last task, and that succeeded, are counted: `DAG.test`, as
    in the demo, starts no process for a task; a backfill or a run of another date repeats finished work, and part of a
    cleared run had been done before.

    Returns:
        By id, the latest first.
    """
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import select

    query = (
        select(DagRun)
        .where(
            DagRun.dag_id == RESTORE_DAG,
            DagRun.state == SUCCESS,
            DagRun.clear_number == 0,
            DagRun.triggered_by.is_distinct_from(DagRunTriggeredByType.TEST),
            DagRun.triggered_by.is_distinct_from(DagRunTriggeredByType.BACKFILL),
            DagRun.queued_at.is_not(None),
            DagRun.end_date.is_not(None),
        )
        .order_by(DagRun.id.desc())
        .limit(RECENT)
    )
    runs = map(_run, session.scalars(query))
    return {
        run.run_id: run.ended_at - run.queued_at
        for run in runs
        if run.ended_at is not None and abs(run.now - run.queued_at) <= CLOCK_DIFFERENCE
    }


@brief
def task_states(session: Session, run_id: str) -> dict[str, dict[int, str | None]]:
    """Return the state of every task of a run, by task id and by the index of a mapped one (-1: not mapped)."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    query = select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
        TaskInstance.dag_id == RESTORE_DAG, TaskInstance.run_id == run_id
    )
    states: dict[str, dict[int, str | None]] = {}
    for task_id, map_index, state in session.execute(query):
        states.setdefault(task_id, {})[map_index] = state
    return states


@brief
def task_results(session: Session, task_id: str, run_ids: Collection[str]) -> dict[str, Any]:
    """Return a task's result in each of some runs; a run whose task has not ended is left out."""
    return dict(_results(session, task_id, run_ids)) if run_ids else {}


def _results(
    session: Session, task_id: str, run_ids: Collection[str], key: str = "return_value"
) -> Iterator[tuple[str, Any]]:
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    query = select(XComModel).where(
        XComModel.dag_id == RESTORE_DAG,
        XComModel.task_id == task_id,
        XComModel.key == key,
        XComModel.run_id.in_(run_ids),
    )
    for found in session.scalars(query):
        yield found.run_id, XComModel.deserialize_value(found)


def _run(found: DagRun) -> RestoreRun:
    return RestoreRun(
        run_id=found.run_id,
        state=str(found.state),
        conf=found.conf if isinstance(found.conf, dict) else {},
        requested_by=found.triggering_user_name or str(found.run_type),
        queued_at=found.queued_at or found.run_after,
        started_at=found.start_date,
        ended_at=found.end_date,
        now=found.logical_date or found.run_after,
    )


class Waiting(BaseModel):
    """A run that waits until a person approves it."""

    dag_id: str
    run_id: str
    task_id: str
    subject: str
    asked_at: datetime

    @property
    def path(self) -> str:
        """Address of the question, below Airflow's own."""
        parts = (quote(part, safe="") for part in (self.dag_id, self.run_id, self.task_id))
        return "/dags/{}/runs/{}/tasks/{}/required_actions".format(*parts)


@brief
def waiting_runs(session: Session) -> list[Waiting]:
    """List the runs of our DAGs that wait for an answer, the oldest question first."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    asked = (
        select(
            TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, HITLDetail.subject, HITLDetail.created_at
        )
        .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .where(
            HITLDetail.responded_at.is_(None),
            TaskInstance.dag_id.in_([EXPIRE_DAG, RESTORE_DAG]),
            TaskInstance.state.in_(WAITING),
        )
        .order_by(HITLDetail.created_at, TaskInstance.run_id)
    )
    return [
        Waiting(dag_id=dag_id, run_id=run_id, task_id=task_id, subject=subject, asked_at=asked_at)
        for dag_id, run_id, task_id, subject, asked_at in session.execute(asked)
    ]
