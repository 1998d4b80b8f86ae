"""Runs of the DAGs as an earlier version had them, whose last task had another name: they go on under today's."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.demo.in_process import BUNDLE
from perennial.demo.mailbox import Mailbox
from perennial.lifecycle import Run, expire_sources
from perennial.settings import PROJECT_ROOT, Settings
from perennial.warehouse import Warehouse
from tests.rows import append_hot, interaction, multiset, visible
from tests.upgrade.airflow_runs import go_on, states
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Put together, so that no renaming reaches them: what the tasks were called until the rebuild.
OLD = {word: f"{'tell'}_{word}" for word in ("owners", "requesters")}
TASK = re.compile(r"@task\(([^()]*)\)(\s+def \w+_(owners|requesters)\()")


@pytest.fixture
def workspace(warehouse: Warehouse, settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", mailbox.airflow_connection())
    workspace = Workspace(warehouse)
    workspace.source("old", owner_email="owner@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    return workspace


@pytest.fixture
def old_dags(dags: Mapping[str, Any], tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """The DAGs as an earlier version had them; Airflow knows them, until `upgrade`."""
    folder = tmp_path / "dags"
    folder.mkdir()
    for path in (PROJECT_ROOT / "dags").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        renamed, count = TASK.subn(lambda found: f"@task({found[1]}, task_id={OLD[found[3]]!r}){found[2]}", text)
        if count:
            (folder / path.name).write_text(renamed, encoding="utf-8")
    yield synced(folder)
    upgrade()


def synced(folder: str | Path) -> Mapping[str, Any]:
    """Let Airflow know the DAGs of a folder, as its DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # Upgrades are further apart than tests.
        patch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
        bag = DagBag(str(folder), load_op_links=False)
        sync_bag_to_db(bag, BUNDLE, None)
    assert not bag.import_errors
    return dict(bag.dags)


def upgrade() -> Mapping[str, Any]:
    return synced(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def trigger(airflow: TestClient, dag_id: str, conf: dict[str, Any]) -> str:
    at = datetime.now(UTC).isoformat()
    answer = airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": at, "conf": conf})
    return str(answer.raise_for_status().json()["dag_run_id"])


def miss_deadline(run_id: str) -> None:
    """Have 15 minutes gone by: until then Airflow 3.3 cannot clear a run that has a deadline (apache/airflow#70368)."""
    from airflow.models.dagrun import DagRun
    from airflow.models.deadline import Deadline
    from airflow.utils.session import create_session
    from sqlalchemy import select, update

    with create_session() as session:
        run = select(DagRun.id).where(DagRun.run_id == run_id).scalar_subquery()
        session.execute(update(Deadline).where(Deadline.dagrun_id == run).values(missed=True))


def clear(airflow: TestClient, dag_id: str, run_id: str, **options: Any) -> None:
    body = {"dry_run": False, **options}
    airflow.post(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear", json=body).raise_for_status()


CLEARED = [
    {"only_failed": True},
    {"only_failed": True, "run_on_latest_version": True},
    {"run_on_latest_version": True},
    {},
]


@pytest.mark.parametrize("options", CLEARED, ids=str)
def test_a_restore_that_failed_before_the_upgrade_is_cleared_after_it(
    workspace: Workspace, old_dags: Mapping[str, Any], airflow: TestClient, mailbox: Mailbox, options: dict[str, Any]
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire_sources(warehouse, Run("expiry", NOW))
    run_id = trigger(airflow, "restore_interactions", {"source_ids": ["old"], "notify": ["ann@example.com"]})
    copies = Path(warehouse.table("interactions").location_provider().data_path.removeprefix("file://"))
    hidden = copies.with_name("hidden")

    def lose_copies(task_id: str) -> bool:
        if task_id == "move_files.commit_destination":
            copies.rename(hidden)
        return True

    assert go_on(old_dags["restore_interactions"], run_id, lose_copies) == "failed"
    print(states("restore_interactions", run_id))
    hidden.rename(copies)
    miss_deadline(run_id)

    dags = upgrade()
    clear(airflow, "restore_interactions", run_id, **options)
    print(states("restore_interactions", run_id))
    state = go_on(dags["restore_interactions"], run_id)
    print(states("restore_interactions", run_id))
    print([mail.subject for mail in mailbox.messages()])
    assert state == "success"
    assert multiset(warehouse, "interactions") == visible(warehouse) == before


@pytest.mark.parametrize("options", CLEARED, ids=str)
def test_an_expiry_whose_mail_failed_before_the_upgrade_is_cleared_after_it(
    workspace: Workspace, old_dags: Mapping[str, Any], airflow: TestClient, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    run_id = trigger(airflow, "expire_interactions", {})
    def stop(task_id):
        from perennial.lifecycle import telling
        if task_id == OLD["owners"]:
            return False
        return True
    state = go_on(old_dags["expire_interactions"], run_id, stop)
    print(state, states("expire_interactions", run_id))
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update
    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.task_id == OLD["owners"]).values(state="failed"))
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state="failed"))
    dags = upgrade()
    clear(airflow, "expire_interactions", run_id, **options)
    print(states("expire_interactions", run_id))
    state = go_on(dags["expire_interactions"], run_id)
    print(states("expire_interactions", run_id))
    print([mail.subject for mail in mailbox.messages()])
    assert state == "success"


def test_a_run_that_is_under_way_at_the_upgrade_ends_under_the_new_names(
    workspace: Workspace, old_dags: Mapping[str, Any], airflow: TestClient, mailbox: Mailbox
) -> None:
    run_id = trigger(airflow, "expire_interactions", {})
    assert go_on(old_dags["expire_interactions"], run_id, lambda task_id: task_id != "move_files.copy") == "running"
    print(states("expire_interactions", run_id))
    dags = upgrade()
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update
    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.state == "scheduled").values(state=None))
    state = go_on(dags["expire_interactions"], run_id)
    print(states("expire_interactions", run_id))
    print([mail.subject for mail in mailbox.messages()])
    assert state == "success"
