"""Restores that tests ask for: sources to ask about, and runs that go task by task without a scheduler."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from perennial.moves import Run, expire_sources
from perennial.warehouse import Warehouse
from perennial_sample.in_process import kept_defaults
from tests.rows import append_hot, interaction
from tests.workspace import LONG_AGO, Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>/\"'&\u202e🎈;?id=old#" + "x" * 400
ORDER: dict[str, Any] = {"source_ids": ["old"], "notify": ["uma@example.com"], "reason": "Q3 replay"}


def expired_workspace(warehouse: Warehouse) -> Workspace:
    """Expired: old, older (tag promo) and one whose id is hostile. There: running. Empty: never. Deleted: gone."""
    workspace = Workspace(warehouse)
    for source_id in ("old", "older", HOSTILE):
        workspace.source(source_id, "stopped", "promo")
    workspace.source("running", "active", "promo")
    workspace.source("never", "active")
    workspace.source("gone", interaction_data_deleted_at=LONG_AGO)
    workspace.sync()
    full = ("old", "older", HOSTILE, "running")
    append_hot(warehouse, [interaction(source, number) for source in full for number in range(30)])
    expire_sources(warehouse, Run("expiry", NOW))
    return workspace


def form(text: str) -> dict[str, Any]:
    """The fields of the form on the page, as a browser would send them."""
    fields: dict[str, Any] = {"source_ids": [], "tags": []}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text):
        fields[name].append(html.unescape(value))
    return fields


def runs() -> list[Any]:
    """Every run that Airflow knows."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return list(session.scalars(select(DagRun)))


def forget_runs() -> None:
    """Let the next test begin without those of the one before."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(DagRun))


def hand_on(task_id: str, run_id: str, value: Any) -> None:
    """Make Airflow believe that a task of a restore has ended, and what it handed on."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        XComModel.set(
            "return_value", value, dag_id="restore_interactions", task_id=task_id, run_id=run_id, session=session
        )


@contextmanager
def restore_dag_with(**changes: bool) -> Iterator[None]:
    """Change the restore DAG as Airflow has it, for a while."""
    _set(changes)
    try:
        yield
    finally:
        _set(dict.fromkeys(changes, False))


def _set(values: Mapping[str, bool]) -> None:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    with create_session() as session:
        dag = session.get(DagModel, "restore_interactions")
        for name, value in values.items():
            setattr(dag, name, value)


def run_queued(dags: Mapping[str, Any], run_id: str, look: Callable[[str], None] = lambda task_id: None) -> str:
    """Run a restore to its end or until it waits for a person, and return its state then.

    Args:
        dags: As `open_dags` returned them.
        run_id: Of a run of restore_interactions.
        look: Called before every task with its id.
    """
    dag = dags["restore_interactions"]
    with warnings.catch_warnings(), kept_defaults(dag):
        # What Airflow and its dependencies warn about is theirs.
        warnings.simplefilter("ignore")
        return _run(dag, run_id, look)


def _run(dag: Any, run_id: str, look: Callable[[str], None]) -> str:
    from airflow._shared.timezones import timezone
    from airflow.models.dagrun import DagRun
    from airflow.sdk.definitions.dag import _run_task
    from airflow.serialization import serialized_objects
    from airflow.utils.session import create_session
    from sqlalchemy import select

    # Airflow 3.1 calls it by another name.
    form = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)
    serialized = form.deserialize_dag(form.serialize_dag(dag))
    serialized.deadline = None
    with create_session(scoped=False) as session:
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.run_id == run_id)).one()
        run.dag = serialized
        run.state, run.start_date = "running", timezone.utcnow()
        session.commit()
        while run.state == "running":
            session.expire_all()
            ready, _ = run.update_state(session=session)
            states = {instance.state for instance in run.get_task_instances(session=session)}
            # A person's answer makes a task that waited for it go on.
            ready += [one for one in run.get_task_instances(state=["scheduled"], session=session) if one not in ready]
            if not ready and "awaiting_input" in states:
                break
            for instance in ready:
                instance.try_number += 1
                instance.state = "scheduled"
                # A run in process really sleeps between tries.
                instance.max_tries = 0
            session.commit()
            for instance in ready:
                look(instance.task_id)
                _run_task(ti=instance, task=dag.task_dict[instance.task_id], run_triggerer=True)
        return str(run.state)
