"""Airflow in this process: a metadata database of its own, and DAG runs from their first to their last task."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from perennial.resources import resource

BUNDLE = "dags-folder"


def airflow_environment(airflow_home: Path) -> dict[str, str]:
    """Return the variables that point Airflow at this project. They must be set before Airflow is first imported."""
    return {
        "AIRFLOW_HOME": str(airflow_home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(resource("dags")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # The sample workspace is there to be watched. In an Airflow of somebody's own its own setting says.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
    }


def open_dags() -> Mapping[str, Any]:
    """Make the metadata database and parse every DAG as the DAG processor does.

    Returns:
        The DAGs by id.
    """
    with warnings.catch_warnings():
        # What Airflow and its dependencies warn about on import is theirs.
        warnings.simplefilter("ignore")
        from airflow.models.dagbundle import DagBundleModel
        from airflow.utils.db import initdb
        from airflow.utils.session import create_session

        initdb()
        with create_session() as session:
            if session.get(DagBundleModel, BUNDLE) is None:
                session.add(DagBundleModel(name=BUNDLE))
        bag = parse_dags(Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]))
        _dag_bags().sync_bag_to_db(bag, BUNDLE, None)
    if bag.import_errors:
        raise ImportError(f"DAG files that cannot be imported: {bag.import_errors}")
    dags: Mapping[str, Any] = bag.dags
    return dags


def parse_dags(folder: Path) -> Any:
    """Return Airflow's bag of the DAGs in a folder."""
    return _dag_bags().DagBag(folder, load_op_links=False)


def _dag_bags() -> Any:
    try:
        return import_module("airflow.dag_processing.dagbag")
    except ModuleNotFoundError:  # Airflow 3.1
        return import_module("airflow.models.dagbag")


def run_dag(dag: Any, conf: Mapping[str, Any] | None = None, at: datetime | None = None) -> Any:
    """Run a DAG to its end; returns the DAG run, whose `state` says how it ended.

    Args:
        dag: As `open_dags` returned it.
        conf: Params.
        at: Logical date; now where there is none.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.dagrun import DagRun
    from sqlalchemy import event

    event.listen(DagRun, "before_insert", _start_now)
    try:
        # From the bundles DAG.test() would parse and write every DAG anew, which `open_dags` has done.
        unparsed = patch.object(DagBundlesManager, "get_all_dag_bundles", return_value=[])
        with warnings.catch_warnings(), kept_defaults(dag), unparsed:
            warnings.simplefilter("ignore")
            return dag.test(run_after=at, logical_date=at, run_conf=dict(conf or {}))
    finally:
        event.remove(DagRun, "before_insert", _start_now)


@contextmanager
def kept_defaults(dag: Any) -> Iterator[None]:
    """Keep the defaults of params: a run in process leaves its conf behind as the defaults of the next one."""
    params = [owner.params.get_param(name) for owner in (dag, *dag.tasks) for name in owner.params]
    defaults = [param.value for param in params]
    try:
        yield
    finally:
        for param, value in zip(params, defaults, strict=True):
            param.value = value


@contextmanager
def answering(option: str) -> Iterator[list[str]]:
    """Answer what runs ask of a person meanwhile, as the API behind Airflow's *Required Actions* does.

    Args:
        option: Approve or Reject.

    Yields:
        The subjects of what was asked, filled while runs ask.
    """
    asked: list[str] = []
    over = threading.Event()

    def answer() -> None:
        while not over.wait(0.2):
            asked.extend(_answer_open_questions(option))

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        with _triggers_see_answers():
            yield asked
    finally:
        over.set()
        thread.join()


@contextmanager
def _triggers_see_answers() -> Iterator[None]:
    """Give triggers the answers that they ask for: Airflow 3.1 and 3.2 do it in a triggerer, and not in process."""
    from airflow.sdk.execution_time.comms import GetHITLDetailResponse
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor

    handle = InProcessTestSupervisor._handle_request

    def handle_request(supervisor: Any, msg: Any, log: Any, req_id: int) -> None:
        if isinstance(msg, GetHITLDetailResponse):
            supervisor.send_msg(supervisor.client.hitl.get_detail_response(ti_id=msg.ti_id), request_id=req_id)
        else:
            handle(supervisor, msg, log, req_id)

    with patch.object(InProcessTestSupervisor, "_handle_request", handle_request):
        yield


def _answer_open_questions(option: str) -> list[str]:
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        details = session.scalars(select(HITLDetail).where(HITLDetail.responded_at.is_(None))).all()
        answered = []
        for detail in details:
            task = session.get(TaskInstance, detail.ti_id)
            # Airflow 3.1 and 3.2 call a task queued while its trigger runs in this process.
            if task is None or task.state not in ("awaiting_input", "queued"):
                continue
            detail.responded_at, detail.responded_by = datetime.now(UTC), {"id": "demo", "name": "demo"}
            detail.chosen_options, detail.params_input = [option], {}
            if task.state == "awaiting_input":
                event: Any = TriggerEvent(detail.as_resume_event_payload())  # type: ignore[no-untyped-call]
                handle_event_submit(event, task_instance=task, session=session)
            answered.append(detail.subject)
        return answered


def _start_now(_mapper: Any, _connection: Any, run: Any) -> None:
    # DAG.test() says that a run started at its logical date, so that nobody could find out how long it took.
    run.start_date = run.queued_at = datetime.now(UTC)
