"""Runs that cannot be meant as they are: refused by the first task of every DAG, before any table changes."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial import airflow as bridge
from perennial.airflow import kept_error_of
from perennial.moves import Run
from perennial.operations import take_turn
from perennial.storage import storage_for
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, TABLES
from perennial.warehouse import Warehouse
from tests.airflow import RunDag
from tests.conftest import MadeOnce
from tests.rows import append_hot, hot_and_archive, interaction, multiset
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
TOMORROW = datetime.now(UTC) + timedelta(days=1)
ASKED: dict[str, dict[str, Any]] = {
    "check_archive": {},
    "erase_users": {"user_ids": ["u1"]},
    "expire_interactions": {},
    "export_user_data": {"source_id": "old", "notify": ["ann@example.com"]},
    "load_interactions": {},
    "maintain_warehouse": {},
    "restore_interactions": {"source_ids": ["old"], "notify": ["ann@example.com"]},
    "sync_sources": {},
}
MISSPELT = {
    "check_archive": ("sample_percnt", "did you mean 'sample_percent'?"),
    "erase_users": ("userids", "did you mean 'user_ids'?"),
    "expire_interactions": ("dryrun", "did you mean 'dry_run'?"),
    "export_user_data": ("all-recipient", "did you mean 'all_recipients'?"),
    "load_interactions": ("dry_run", "'dry_run' is not a param"),
    "maintain_warehouse": ("Retain_Day", "did you mean 'retain_days'?"),
    "restore_interactions": ("Dry-Run", "did you mean 'dry_run'?"),
    "sync_sources": ("dry_run", "'dry_run' is not a param"),
}
# What TriggerDagRunOperator adds.
LINEAGE = {"openlineage": {"parentJobName": "mine.trigger", "parentRunId": "018f-1"}}
PATIENCE_SECONDS = 60


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(fill)


def fill(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped")
    for number in range(3):
        append_hot(warehouse, [interaction("old", number)])
    workspace.sync()
    return workspace


def every_table(warehouse: Warehouse) -> dict[str, str]:
    """Where the newest metadata of each table lies: another place after any commit."""
    return {name: warehouse.table(name).metadata_location for name in (table.name for table in TABLES)}


@pytest.mark.long(but="restore|hold")
@pytest.mark.parametrize("dag_id", ASKED)
def test_every_dag_refuses_a_misspelt_param_and_names_the_nearest(
    workspace: Workspace, run_dag: RunDag, dag_id: str
) -> None:
    before = every_table(workspace.warehouse)
    name, said = MISSPELT[dag_id]

    run = run_dag(dag_id, {**ASKED[dag_id], name: True}, at=NOW)

    assert run.state == "failed"
    assert every_table(workspace.warehouse) == before
    error = kept_error_of(workspace.warehouse, dag_id, run.run_id)
    assert f"{name!r} is not a param" in error
    assert said in error


def test_what_an_earlier_release_kept_of_a_failed_run_is_still_known(workspace: Workspace) -> None:
    name = hashlib.sha256(b"restore_interactions\nr1").hexdigest()
    uri = f"{workspace.warehouse.operations_uri()}/errors/{name}.txt"
    storage_for(uri).write(uri, b"The archive was away.")

    assert kept_error_of(workspace.warehouse, "restore_interactions", "r1") == "The archive was away."


@pytest.mark.long(but="expire|hold")
@pytest.mark.parametrize("dag_id", ASKED)
def test_r24_every_dag_refuses_a_run_that_is_dated_in_the_future(
    workspace: Workspace, run_dag: RunDag, dag_id: str
) -> None:
    before = every_table(workspace.warehouse)

    run = run_dag(dag_id, ASKED[dag_id], at=TOMORROW)

    assert run.state == "failed"
    assert every_table(workspace.warehouse) == before
    assert f"is dated {TOMORROW:%Y-%m-%d}" in kept_error_of(workspace.warehouse, dag_id, run.run_id)


@pytest.mark.long
def test_r24_a_dry_run_may_ask_about_the_future_and_waits_for_nobody(workspace: Workspace, run_dag: RunDag) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")

    with another_run(warehouse, "scheduled__at_work", NOW - timedelta(minutes=1)):
        run = run_dag("expire_interactions", {"dry_run": True}, at=TOMORROW)
    restore = run_dag("restore_interactions", {**ASKED["restore_interactions"], "dry_run": True}, at=TOMORROW)

    assert [run.state, restore.state] == ["success", "success"]
    assert [row["decision"] for row in warehouse.read("expiry_decisions").to_pylist()] == ["expire"]
    assert multiset(warehouse, "interactions") == before


@pytest.mark.long(but="restore|maintain")
@pytest.mark.parametrize(
    "dag_id", ["expire_interactions", "export_user_data", "maintain_warehouse", "restore_interactions"]
)
def test_what_airflow_adds_to_the_conf_is_nobodys_mistake(workspace: Workspace, run_dag: RunDag, dag_id: str) -> None:
    assert run_dag(dag_id, {**ASKED[dag_id], **LINEAGE}, at=NOW).state == "success"


@pytest.mark.long
def test_a_dry_run_that_airflow_is_told_to_ignore_moves_nothing(
    workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__DAG_RUN_CONF_OVERRIDES_PARAMS", "False")
    before = every_table(workspace.warehouse)

    run = run_dag("expire_interactions", {"dry_run": True}, at=NOW)

    assert run.state == "failed"
    assert every_table(workspace.warehouse) == before
    assert "dag_run_conf_overrides_params" in kept_error_of(workspace.warehouse, "expire_interactions", run.run_id)


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        ("expire_interactions", {"dry_run": "yes"}),
        ("expire_interactions", {"dry_run": 0}),
        ("maintain_warehouse", {"retain_days": True}),
        ("maintain_warehouse", {"retain_days": 10**9}),
        ("restore_interactions", {"source_ids": ["old"], "notify": []}),
        ("restore_interactions", {"source_ids": ["old"], "notify": None}),
        ("restore_interactions", {"source_ids": ["old"], "notify": ["ann@example.com"], "thaw_tier": "fast"}),
        ("export_user_data", {"source_id": "old", "notify": ["ann@example.com"], "all_recipients": "no"}),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_moves_nothing(
    workspace: Workspace, run_dag: RunDag, dag_id: str, conf: dict[str, Any]
) -> None:
    from airflow.providers.common.compat.sdk import ParamValidationError

    before = every_table(workspace.warehouse)

    with pytest.raises(ParamValidationError):
        run_dag(dag_id, conf, at=NOW)

    assert every_table(workspace.warehouse) == before


# --- one run after the other ------------------------------------------------------------------------------------------


@contextmanager
def another_run(warehouse: Warehouse, run_id: str, at: datetime) -> Iterator[None]:
    """A run of the expiry that is at work, as Airflow and the warehouse know it; its worker is killed at the end."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        session.add(
            DagRun(
                dag_id="expire_interactions",
                run_id=run_id,
                logical_date=at,
                run_after=at,
                state="running",
                run_type=DagRunType.SCHEDULED,
                triggered_by=DagRunTriggeredByType.TIMETABLE,
            )
        )
    assert take_turn(warehouse, "expire_interactions", Run(run_id, at), lambda _: True) == ""
    yield
    set_state(run_id, "failed")


def set_state(run_id: str, state: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state=state))


@pytest.mark.long
def test_a_run_waits_for_the_one_before_it_and_goes_on_when_that_was_killed(
    workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    monkeypatch.setattr(bridge, "TURN_POLL", timedelta(seconds=0.5))
    before = multiset(warehouse, "interactions")
    seen: list[Any] = []

    def kill_when_it_waits() -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "up_for_reschedule" not in seen and time.monotonic() < deadline:
            seen.append(state_of("recover"))
            time.sleep(0.1)
        seen.append(multiset(warehouse, "interactions") == before)
        set_state("scheduled__killed", "failed")

    with another_run(warehouse, "scheduled__killed", NOW - timedelta(days=1)):
        thread = threading.Thread(target=kill_when_it_waits)
        thread.start()
        run = run_dag("expire_interactions", at=NOW)
        thread.join()

    assert seen[-2:] == ["up_for_reschedule", True]
    assert run.state == "success"
    assert not multiset(warehouse, "interactions")
    assert hot_and_archive(warehouse) == before


def state_of(task_id: str) -> str | None:
    """State of a task in the expiry that began last."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance.state).where(
        TaskInstance.dag_id == "expire_interactions", TaskInstance.task_id == task_id
    )
    with create_session() as session:
        return session.scalars(query.order_by(TaskInstance.id.desc()).limit(1)).first()


def test_only_one_first_task_of_a_dag_looks_whose_turn_it_is(dags: Mapping[str, Any]) -> None:
    for dag_id in bridge.IN_TURN:
        first = [task for task in dags[dag_id].tasks if not task.upstream_task_ids]
        assert [task.max_active_tis_per_dag for task in first] == [1] * len(first)


EMPTY = {
    "export_user_data": {"source_id": "running", "notify": ["ann@example.com", ""], "all_recipients": None},
    "expire_interactions": {"dry_run": None},
    "maintain_warehouse": {"retain_days": None},
    "restore_interactions": {
        "source_ids": ["old", ""], "tags": None, "notify": ["ann@example.com", ""], "reason": None, "thaw_tier": None,
        "dry_run": None,
    },
}  # fmt: skip


@pytest.mark.long
def test_a_field_that_is_left_empty_in_airflows_form_means_its_default(workspace: Workspace, run_dag: RunDag) -> None:
    workspace.source("running", "active")
    workspace.sync()
    append_hot(workspace.warehouse, [interaction("running", 1)])
    before = multiset(workspace.warehouse, INTERACTIONS.name)

    states = {
        dag_id: run_dag(dag_id, EMPTY[dag_id]).state
        for dag_id in ("expire_interactions", "restore_interactions", "export_user_data", "maintain_warehouse")
    }

    assert states == dict.fromkeys(EMPTY, "success")
    events = [(row["event"], row["row_count"]) for row in workspace.warehouse.read("lifecycle_events").to_pylist()]
    assert sorted(events) == [("expired", 3), ("restored", 3)]
    assert multiset(workspace.warehouse, INTERACTIONS.name) == before
    assert not multiset(workspace.warehouse, INTERACTIONS_ARCHIVE.name)
