"""Connects Airflow's tasks with this package: which run it is, what a task writes, which errors to retry.

DAG files import it while they are parsed, so nothing heavy is imported here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import DAG, Asset, AssetAlias, get_current_context

try:
    from airflow.sdk.exceptions import (  # noqa: TID251 - Airflow 3.1 has them elsewhere: the one place that knows
        AirflowException,
        AirflowFailException,
        AirflowRescheduleException,
        DownstreamTasksSkipped,
    )
    from airflow.sdk.exceptions import AirflowSkipException as AirflowSkipException  # noqa: TID251 - as above
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined, no-redef]
        AirflowException,
        AirflowFailException,
        AirflowRescheduleException,
        DownstreamTasksSkipped,
    )
    from airflow.exceptions import AirflowSkipException as AirflowSkipException  # type: ignore[no-redef]

from perennial import operations
from perennial.errors import (
    PerennialError,
    TerminalDeliveryError,
    TerminalError,
    TerminalRequestError,
    TransientDeliveryError,
)
from perennial.metrics import METRICS, send
from perennial.operations import Run, hashed_name, refuse_future_run, take_turn
from perennial.refusals import sentences, unknown_params
from perennial.settings import Settings, dag_id
from perennial.storage import storage_for

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

OWNER = "perennial"
DEFAULT_ARGS = {
    "owner": OWNER,
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
}
# Airflow needs a limit. If it could be reached, runs dated in the future would reach it, which
# Airflow 3.3 starts and never continues, and they would block every run after them (ADR 14).
MAX_ACTIVE_RUNS = 100_000
# Their runs go one after the other.
IN_TURN = frozenset(
    dag_id(name)
    for name in (
        "check_archive",
        "erase_users",
        "expire_interactions",
        "load_interactions",
        "maintain_warehouse",
        "sync_sources",
    )
)
TURN_POLL = timedelta(seconds=30)
# Task and key by which the page says who has cancelled a restore; Airflow clears them when that task, the last, begins.
CANCELLED_XCOM = ("conclude", "cancelled_by")
# What Airflow itself adds to a run's conf: TriggerDagRunOperator says which run triggered it.
AIRFLOW_CONF = frozenset({"openlineage"})


def asset(table: str) -> Asset:
    """Return the asset of one warehouse table."""
    settings = Settings.from_environment()
    name = f"{settings.namespace}.{table}"
    return Asset(name=name, uri=f"iceberg://{settings.catalog}/{settings.namespace}/{table}", group="perennial")


def assets(*tables: str) -> list[Asset]:
    """Return the assets of several tables."""
    return [asset(table) for table in tables]


def report_written(context: Any, counts: dict[str, dict[str, Any]]) -> None:
    """Add counts to the events of the assets that a task writes, by table."""
    for table, extra in counts.items():
        context["outlet_events"][asset(table)].extra.update(extra)


def asset_alias(name: str) -> AssetAlias:
    """Return the alias by which a task writes the assets that `report_aliased` names: none if it wrote nothing."""
    return AssetAlias(f"{Settings.from_environment().namespace}.{name}", group="perennial")


def report_aliased(context: Any, name: str, counts: dict[str, dict[str, Any]]) -> None:
    """Say which assets a task with an alias has written, and how much, by table."""
    for table, extra in counts.items():
        context["outlet_events"][asset_alias(name)].add(asset(table), extra=extra)


def skip_rest_of_group() -> NoReturn:
    """End the current task as a success, and skip the other tasks of its group without starting a process for any."""
    task: Any = get_current_context()["task"]
    others = [other.task_id for other in task.task_group.iter_tasks() if other.task_id != task.task_id]
    raise DownstreamTasksSkipped(tasks=others)  # type: ignore[no-untyped-call]


def testable(dag: DAG) -> DAG:
    """Let `airflow dags test` and `DAG.test` run a DAG that has a deadline.

    Airflow 3.3 looks the deadline of a finished run up in its database, where only the scheduler puts it, and fails. It
    has no switch for that; what is replaced is the method of this DAG, not of the class.
    """
    run_test = dag.test

    def test(*arguments: Any, **named: Any) -> Any:
        deadline, dag.deadline = dag.deadline, None
        try:
            return run_test(*arguments, **named)
        finally:
            dag.deadline = deadline

    dag.test = test  # type: ignore[method-assign]  # see above
    return dag


def open_warehouse() -> Warehouse:
    """Open the configured warehouse, created on first use; `perennial init` adds a newer version's columns."""
    from perennial.erasures.hashes import make_key
    from perennial.warehouse import Warehouse

    warehouse = Warehouse(Settings.from_environment())
    if warehouse.missing_tables():
        warehouse.create_tables()
        make_key(warehouse.settings)
    return warehouse


def current_run() -> Run:
    """Return the run that the current task belongs to; its now is the logical date where there is one."""
    context = get_current_context()
    dag_run = context["dag_run"]
    now: datetime = dag_run.logical_date or dag_run.run_after
    return Run(
        run_id=dag_run.run_id,
        now=now,
        requested_by=dag_run.triggering_user_name or str(dag_run.run_type.value),
        reason=context["params"].get("reason") or None,
        requested_at=dag_run.start_date,
    )


def current_params() -> dict[str, Any]:
    """Return the params of the current run, with the quirks of Airflow's form removed.

    The form sends null for an empty field, which means its default: such a param is left out. It sends every line of a
    list, even the empty one after the last. Keys that Airflow itself adds to a conf are left out as well.
    """
    given = get_current_context()["params"].items()
    return {
        name: [item for item in value if item != ""] if isinstance(value, list) else value
        for name, value in given
        if name not in AIRFLOW_CONF and value is not None
    }


def _refuse_unusable_run() -> None:
    """Refuse the current run if it cannot be meant: unknown or ignored params, a future date (R24).

    Raises:
        TerminalRequestError: Names every param that cannot be used, or the date, and the remedy.
    """
    context = get_current_context()
    params = context["params"]
    known = list(context["dag"].params)
    conf = {name: value for name, value in (context["dag_run"].conf or {}).items() if name not in AIRFLOW_CONF}
    # Airflow's [core] dag_run_conf_overrides_params = False silently ignores the params of a run.
    wrong = [
        # Not its value: it may be the id of somebody who is to be erased, and this goes to the log.
        f"param {name!r} was given, but Airflow ignores it while its setting [core] "
        "dag_run_conf_overrides_params is False"
        for name in known
        if name in conf and conf[name] != params[name]
    ]
    wrong += unknown_params(conf, known)
    if wrong:
        raise TerminalRequestError(sentences(wrong))
    if params.get("dry_run") is not True:
        refuse_future_run(current_run())


def _take_turn(warehouse: Warehouse) -> str:
    """Take the current run's turn where its DAG has them; returns the id of the run that goes first, if any."""
    context = get_current_context()
    dag_id, instance = context["dag_run"].dag_id, context["ti"]
    # A dry run neither copies nor commits anything, so it waits for no other run.
    if dag_id not in IN_TURN or context["params"].get("dry_run") is True:
        return ""

    def is_active(run_id: str) -> bool:
        return bool(instance.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]))

    return take_turn(warehouse, dag_id, current_run(), is_active)


def give_turn_back(warehouse: Warehouse) -> None:
    """Let other runs of the DAG go first, while the current one waits for a person."""
    dag_run = get_current_context()["dag_run"]
    operations.give_turn_back(warehouse, dag_run.dag_id, dag_run.run_id)


def current_run_url() -> str | None:
    """Return the address of the current run on Airflow's page; None if no address is configured."""
    from perennial.notify import airflow_url, run_url

    dag_run = get_current_context()["dag_run"]
    return run_url(base_url, dag_run.dag_id, dag_run.run_id) if (base_url := airflow_url()) else None


def current_page_url() -> str | None:
    """Return the address of the page; None if no address is configured."""
    from perennial.notify import airflow_url, page_url

    return page_url(base_url) if (base_url := airflow_url()) else None


def marked_failed_by() -> str | None:
    """Return who has marked the current run failed, which stops all tasks but those of a teardown; None if nobody has.

    Airflow does not show this to a task. A task that fails makes those after it `upstream_failed`; marking a run failed
    skips them. The page, which does the same, leaves the user's name; who did it in Airflow is in its audit log.

    Returns:
        The user's name; empty if it is unknown.
    """
    context = get_current_context()
    instance, run_id = context["ti"], context["dag_run"].run_id
    if by := instance.xcom_pull(task_ids=CANCELLED_XCOM[0], key=CANCELLED_XCOM[1]):
        return str(by)
    states = instance.get_task_states(dag_id=context["dag_run"].dag_id, run_ids=[run_id]).get(run_id, {})
    return "" if "skipped" in states.values() and "upstream_failed" not in states.values() else None


def is_last_attempt() -> bool:
    """Return whether the current task is not tried again when it fails."""
    task = get_current_context()["ti"]
    return bool(task.try_number > task.max_tries)


@contextmanager
def step(first: bool = False) -> Iterator[Warehouse]:
    """Open the warehouse for one task; a terminal error fails the task for good, and its text is kept.

    The text is kept in storage because a later task that notifies people of it cannot ask Airflow for it.

    Args:
        first: Whether it is the first task of its run: it refuses a run that cannot be meant (R24), and waits without a
            worker for the runs that go before it. If runs take turns, it must run once at a time
            (`max_active_tis_per_dag`), so that only one of two runs takes the turn.
    """
    warehouse = open_warehouse()
    try:
        if first:
            _refuse_unusable_run()
        # Any task takes the turn: one that is cleared after its run was over blocks later runs again.
        if (before := _take_turn(warehouse)) and first:
            log.info("Run %s of this DAG goes first; this one checks again in %s.", before, TURN_POLL)
            raise AirflowRescheduleException(datetime.now(UTC) + TURN_POLL)  # type: ignore[no-untyped-call]
        yield warehouse
    except PerennialError as error:
        # Undelivered mails are written down elsewhere, and are not why the work failed.
        if not isinstance(error, TerminalDeliveryError | TransientDeliveryError):
            _keep_error(warehouse, error)
        if isinstance(error, TerminalError):
            _count_failure()
            raise AirflowFailException(str(error)) from error
        if is_last_attempt():
            _count_failure()
        raise
    except Exception as error:
        # What Airflow itself raises says how a task goes on, or that it is skipped.
        if not isinstance(error, AirflowException) and is_last_attempt():
            _count_failure()
        raise


def _count_failure() -> None:
    name = str(get_current_context()["dag_run"].dag_id).removeprefix(dag_id(""))
    if f"{name}_failures_total" in METRICS:
        send({f"{name}_failures_total": 1})


def kept_error(warehouse: Warehouse) -> str:
    """Return the text of the last error in the current run; empty if there is none."""
    dag_run = get_current_context()["dag_run"]
    return kept_error_of(warehouse, dag_run.dag_id, dag_run.run_id)


def kept_error_details(warehouse: Warehouse) -> dict[str, str]:
    """Return what programs need to know of what went wrong last in the current run, as in `PerennialError`."""
    dag_run = get_current_context()["dag_run"]
    kept = _read_error(_error_uri(warehouse, dag_run.dag_id, dag_run.run_id))
    return dict(json.loads(kept)["details"]) if kept else {}


def kept_error_of(warehouse: Warehouse, dag_id: str, run_id: str) -> str:
    """Return what went wrong last in a run; empty when nothing did that has a text."""
    uri = _error_uri(warehouse, dag_id, run_id)
    if kept := _read_error(uri):
        return str(json.loads(kept)["text"])
    # Runs of earlier releases kept the text alone.
    return _read_error(uri.removesuffix(".json") + ".txt")


def _read_error(uri: str) -> str:
    try:
        return storage_for(uri).read(uri).decode()
    except FileNotFoundError:
        return ""


def _keep_error(warehouse: Warehouse, error: PerennialError) -> None:
    dag_run = get_current_context()["dag_run"]
    uri = _error_uri(warehouse, dag_run.dag_id, dag_run.run_id)
    kept = {"text": str(error), "details": dict(error.details)}
    storage_for(uri).write(uri, json.dumps(kept).encode())


def _error_uri(warehouse: Warehouse, dag_id: str, run_id: str) -> str:
    return f"{warehouse.operations_uri()}/errors/{hashed_name(dag_id, run_id)}.json"


def trigger_dag(name: str, conf: dict[str, Any], by: str) -> str:
    """Start a run in the Airflow whose database this process is configured for; returns the run's id.

    Args:
        name: Of the DAG, without the prefix of this Airflow.
        conf: Its params.
        by: Who triggers it.

    Raises:
        TerminalRequestError: Airflow's database cannot be used from here, or has no such DAG, or the DAG is paused: its
            run would wait unnoticed.
    """
    from airflow.api.common.trigger_dag import trigger_dag as trigger
    from airflow.models.dag import DagModel
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy.exc import SQLAlchemyError

    try:
        dag = DagModel.get_current(dag_id(name))
        if dag is None or dag.is_paused:
            lacks = "has it paused" if dag else "does not have it"
            raise TerminalRequestError(f"The DAG {dag_id(name)} was not triggered: the Airflow of this shell {lacks}.")
        run = trigger(dag_id(name), triggered_by=DagRunTriggeredByType.CLI, triggering_user_name=by, conf=conf)
    except SQLAlchemyError as error:
        raise TerminalRequestError(
            f"The DAG {dag_id(name)} was not triggered: the Airflow of this shell has no usable database."
        ) from error
    assert run is not None
    return str(run.run_id)
