"""Runs of the DAGs as an earlier version had them: they go on under today's names, and with today's tasks.

Their last task had another name, and of a move of any size every step was a task of its own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.moves import Run, expire_sources
from perennial.moves.move_plan import read_plan
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.in_process import BUNDLE
from perennial_sample.mailbox import Mailbox
from tests import PROJECT_ROOT
from tests.rows import append_hot, interaction, multiset, visible
from tests.upgrade.airflow_runs import go_on, states
from tests.workspace import Workspace

RESTORE, EXPIRY = "restore_interactions", "expire_interactions"
NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
# Put together, so that no renaming reaches them: what the tasks were called until the rebuild.
OLD = {word: f"{'tell'}_{word}" for word in ("owners", "requesters")}
TASK = re.compile(r"@task\(([^()]*)\)(\s+def \w+_(owners|requesters)\()")


@pytest.fixture
def workspace(warehouse: Warehouse, settings: Settings, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    workspace = Workspace(warehouse)
    workspace.source("old", owner_email="owner@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    return workspace


@pytest.fixture
def old_dag(dags: Mapping[str, Any], tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Return a function that puts a DAG in place, in Airflow too, as the earlier version had it."""
    assert dags
    changed = []

    def old(dag_id: str) -> Any:
        text = dag_file(dag_id).read_text(encoding="utf-8")
        # The last tasks of a restore were not a teardown.
        text = text.replace(
            "@teardown(on_failure_fail_dagrun=True)\n    def notify", '@task(trigger_rule="all_done")\n    def notify'
        ).replace("@teardown(on_failure_fail_dagrun=True)\n    def conclude", "@task\n    def conclude")
        renamed, count = TASK.subn(lambda found: f"@task({found[1]}, task_id={OLD[found[3]]!r}){found[2]}", text)
        assert count == 1
        path = tmp_path / dag_file(dag_id).name
        path.write_text(renamed, encoding="utf-8")
        changed.append(dag_id)
        dag = synced(path, dag_id)
        dag.task_dict["move_files.split"].python_callable = split
        return dag

    yield old
    for dag_id in changed:
        upgrade(dag_id)


def split(plan_uris: list[str]) -> list[dict[str, Any]]:
    """What the task did that carries out small moves now."""
    return [{"plan_uri": uri, "chunk": chunk} for uri in plan_uris for chunk in range(read_plan(uri).chunk_count)]


def dag_file(dag_id: str) -> Path:
    return PROJECT_ROOT / "dags" / f"{dag_id}.py"


def synced(path: Path, dag_id: str) -> Any:
    """Let Airflow know a DAG, as its DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # Upgrades are further apart than tests.
        patch.setenv("AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL", "0")
        bag = DagBag(str(path), load_op_links=False)
        sync_bag_to_db(bag, BUNDLE, None)
    assert not bag.import_errors
    return bag.dags[dag_id]


def upgrade(dag_id: str) -> Any:
    return synced(dag_file(dag_id), dag_id)


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
    """Clear tasks of a run and what comes after them, as Airflow's page does."""
    body = {"dag_run_id": run_id, "dry_run": False, "only_failed": False, "include_downstream": True, **options}
    airflow.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body).raise_for_status()


def fail(run_id: str, task_id: str) -> None:
    """Have a run failed because one of its tasks was."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        of_task = TaskInstance.run_id == run_id, TaskInstance.task_id == task_id
        session.execute(update(TaskInstance).where(*of_task).values(state="failed"))
        session.execute(update(DagRun).where(DagRun.run_id == run_id).values(state="failed"))


LATEST = pytest.mark.parametrize("latest", [None, True], ids=["clear", "clear on the latest version"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("latest", "task_id"), [(None, "commit_destination"), (True, "commit_destination"), (True, "split")]
)
def test_a_restore_that_failed_before_the_upgrade_is_cleared_after_it(
    workspace: Workspace,
    old_dag: Callable[[str], Any],
    airflow: TestClient,
    mailbox: Mailbox,
    latest: bool | None,
    task_id: str,
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    expire_sources(warehouse, Run("expiry", NOW))
    old = old_dag(RESTORE)
    run_id = trigger(airflow, RESTORE, {"source_ids": ["old"], "notify": ["ann@example.com"]})
    copies = Path(warehouse.table("interactions").location_provider().data_path.removeprefix("file://"))
    hidden = copies.with_name("hidden")

    def lose_copies(task_id: str) -> bool:
        if task_id == "move_files.commit_destination":
            copies.rename(hidden)
        return True

    assert go_on(old, run_id, lose_copies) == "failed"
    assert states(RESTORE, run_id)[OLD["requesters"]] == "success"
    hidden.rename(copies)
    miss_deadline(run_id)

    new = upgrade(RESTORE)
    clear(airflow, RESTORE, run_id, task_ids=[f"move_files.{task_id}"], run_on_latest_version=latest)

    assert go_on(new, run_id) == "success"
    assert states(RESTORE, run_id)[OLD["requesters"]] == "removed"
    assert multiset(warehouse, "interactions") == visible(warehouse) == before
    assert [mail.subject for mail in mailbox.messages()] == [
        "Restore failed: Name of old",
        "Restored: Name of old, 3 interactions",
    ]


@pytest.mark.long
@LATEST
def test_an_expiry_whose_mail_failed_before_the_upgrade_is_cleared_after_it(
    workspace: Workspace, old_dag: Callable[[str], Any], airflow: TestClient, mailbox: Mailbox, latest: bool | None
) -> None:
    old = old_dag(EXPIRY)
    run_id = trigger(airflow, EXPIRY, {})
    assert go_on(old, run_id, lambda task_id: task_id != OLD["owners"]) == "running"
    fail(run_id, OLD["owners"])

    new = upgrade(EXPIRY)
    clear(airflow, EXPIRY, run_id, only_failed=True, run_on_latest_version=latest)

    assert go_on(new, run_id) == "success"
    assert [mail.subject for mail in mailbox.messages()] == ["Interaction data moved to the archive: Name of old"]


@pytest.mark.long
def test_a_run_that_is_under_way_at_the_upgrade_ends_under_the_new_names(
    workspace: Workspace, old_dag: Callable[[str], Any], airflow: TestClient, mailbox: Mailbox
) -> None:
    old = old_dag(EXPIRY)
    run_id = trigger(airflow, EXPIRY, {})
    assert go_on(old, run_id, lambda task_id: task_id != "move_files.copy") == "running"

    assert go_on(upgrade(EXPIRY), run_id) == "success"
    assert workspace.warehouse.source_totals("interactions").keys() == {"running"}
    assert [mail.subject for mail in mailbox.messages()] == ["Interaction data moved to the archive: Name of old"]
