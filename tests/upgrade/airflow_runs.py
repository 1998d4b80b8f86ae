"""Runs that Airflow has already, gone on with as its scheduler does, without one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any


def go_on(dag: Any, run_id: str, before: Callable[[str], bool] = lambda _: True) -> str:
    """Do with a run what the scheduler does, and run its tasks, until it ends or `before` refuses one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _go_on(dag, run_id, before)


def _go_on(dag: Any, run_id: str, before: Callable[[str], bool]) -> str:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dagrun import DagRun
    from airflow.sdk.definitions.dag import _run_task
    from airflow.utils.session import create_session
    from sqlalchemy import select

    scheduler = SchedulerJobRunner(Job())
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id)).one()
        run.state = "running"
        session.commit()
        while run.state == "running":
            session.expire_all()
            run.dag = scheduler.scheduler_dag_bag.get_dag_for_run(dag_run=run, session=session)
            assert scheduler._verify_integrity_if_dag_changed(run, session)
            ready, _ = run.update_state(session=session)
            for instance in ready:
                instance.try_number += 1
                instance.state = "scheduled"
                # A run in process really sleeps between tries.
                instance.max_tries = 0
            session.commit()
            for instance in ready:
                if not before(instance.task_id):
                    instance.state = None
                    session.commit()
                    return str(run.state)
                _run_task(ti=instance, task=dag.task_dict[instance.task_id], run_triggerer=True)
        return str(run.state)


def states(dag_id: str, run_id: str) -> dict[str, str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(
            select(TaskInstance.task_id, TaskInstance.state).where(
                TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
            )
        )
        return {row.task_id: row.state for row in found}


def hand_on(dag_id: str, run_id: str, **returned: Any) -> None:
    """Make Airflow believe that some tasks of a run have ended, and what they returned."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskmap import TaskMap
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        for task_id, value in returned.items():
            place = {"dag_id": dag_id, "task_id": task_id, "run_id": run_id}
            XComModel.set("return_value", value, **place, serialize=False, session=session)
            if isinstance(value, list):
                # Other tasks may be mapped over it.
                session.add(TaskMap(**place, map_index=-1, length=len(value), keys=None))
        of_run = TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id.in_(returned)
        session.execute(update(TaskInstance).where(*of_run).values(state="success"))
