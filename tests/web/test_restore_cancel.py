"""Restores that are cancelled on the page or in Airflow, and restores above their ceiling that wait for approval (R23)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.operations import pending_records
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.conftest import MadeOnce
from tests.moves.steps import prepare
from tests.rows import multiset, visible
from tests.web.conftest import As
from tests.web.restoring import ORDER, expired_workspace, forget_runs, run_queued
from tests.workspace import Workspace

RESTORES = "/perennial/api/restores"
DAG_RUNS = "/api/v2/dags/restore_interactions/dagRuns"


class _StopError(Exception):
    """The process that ran the tasks is gone."""


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(expired_workspace)


@pytest.fixture
def ann(page: As, workspace: Workspace, mailbox: Mailbox) -> Iterator[TestClient]:
    """Somebody who may change runs."""
    forget_runs()
    yield page("ann")
    forget_runs()


def start(client: TestClient, **more: Any) -> str:
    answer = client.post(RESTORES, json=ORDER | more)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


def progress(client: TestClient, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"{RESTORES}/run", params={"id": run_id}).json()
    return found


def run_until(dags: Mapping[str, Any], run_id: str, stop_at: str) -> None:
    """Run a restore until a task begins, which then stands as if its process had died."""

    def look(task_id: str) -> None:
        if task_id == stop_at:
            raise _StopError

    with pytest.raises(_StopError):
        run_queued(dags, run_id, look)


def rows(warehouse: Warehouse) -> tuple[Counter[str], ...]:
    return multiset(warehouse, "interactions"), multiset(warehouse, "interactions_archive"), visible(warehouse)


def cancel_on_page(client: TestClient, run_id: str) -> str:
    assert "Cancel this restore" in client.get("/perennial/restores/run", params={"id": run_id}).text
    answer = client.post("/perennial/restores/cancel", data={"run_id": run_id})
    assert (answer.status_code, "/perennial/restores/run?id=" in answer.headers["location"]) == (303, True)
    assert progress(client, run_id)["phase"] == "stopping"
    return "cancelled by ann"


def cancel_by_api(client: TestClient, run_id: str) -> str:
    assert client.post(f"{RESTORES}/cancel", json={"run_id": run_id}).status_code == 202
    return "cancelled by ann"


def mark_failed(client: TestClient, run_id: str) -> str:
    assert client.patch(f"{DAG_RUNS}/{run_id}", json={"state": "failed"}).status_code == 200
    return "cancelled by somebody who marked its run in Airflow"


@pytest.mark.long(but="planned-on")
@pytest.mark.parametrize(
    ("stop_at", "cancel"),
    [("check_request", mark_failed), ("move_files.split", cancel_on_page), ("move_files.split", mark_failed)],
    ids=["queued-in-airflow", "planned-on-the-page", "planned-in-airflow"],
)
def test_r23_a_restore_that_is_cancelled_before_its_hot_commit_leaves_nothing_and_the_mail_says_so(
    ann: TestClient, workspace: Workspace, dags: Mapping[str, Any], mailbox: Mailbox, stop_at: str, cancel: Any
) -> None:
    warehouse = workspace.warehouse
    before = rows(warehouse)
    run_id = start(ann)
    run_until(dags, run_id, stop_at)

    said = cancel(ann, run_id)

    assert run_queued(dags, run_id) == "failed"
    assert rows(warehouse) == before
    assert not list(pending_records(warehouse))
    (mail,) = mailbox.messages()
    assert mail.subject.startswith("Restore cancelled: ")
    for part in (mail.text, mail.html):
        assert said in part
        assert "expired exactly as before" in " ".join(part.split())
    shown = progress(ann, run_id)
    assert (shown["phase"], shown["error"]) == ("cancelled", "")
    assert said in shown["cancelled"]
    assert ann.post(f"{RESTORES}/cancel", json={"run_id": run_id}).status_code == 409


@pytest.mark.long
def test_r23_a_restore_that_is_cancelled_after_its_hot_commit_is_finished_and_the_mail_says_so(
    ann: TestClient, workspace: Workspace, dags: Mapping[str, Any], mailbox: Mailbox
) -> None:
    warehouse = workspace.warehouse
    before = visible(warehouse)
    run_id = start(ann)
    run_until(dags, run_id, "move_files.split")
    (record,) = pending_records(warehouse)
    prepare(warehouse, record.plan_uri)
    assert visible(warehouse) == before

    cancel_by_api(ann, run_id)

    assert run_queued(dags, run_id) == "success"
    assert sum((visible(warehouse) - before).values()) == 30
    assert "old" not in warehouse.source_totals("interactions_archive")
    assert not list(pending_records(warehouse))
    (mail,) = mailbox.messages()
    assert mail.subject.startswith("Restored: ")
    assert "cancelled by ann" in mail.text
    assert "in the hot table already, so the restore was finished" in " ".join(mail.text.split())


def test_r23_only_who_may_change_runs_may_cancel_and_only_a_run_that_exists(page: As, ann: TestClient) -> None:
    run_id = start(ann)
    uma = page("vic")
    assert "Cancel this restore" not in uma.get("/perennial/restores/run", params={"id": run_id}).text
    assert uma.post("/perennial/restores/cancel", data={"run_id": run_id}).status_code == 403
    assert page("ann").post(f"{RESTORES}/cancel", json={"run_id": "none"}).status_code == 404


@pytest.mark.long
@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_r23_a_restore_above_its_ceiling_waits_for_a_person(
    ann: TestClient, workspace: Workspace, dags: Mapping[str, Any], mailbox: Mailbox, answer: str
) -> None:
    warehouse = workspace.warehouse
    before = rows(warehouse)
    run_id = start(ann, max_bytes=1_000)
    run_queued(dags, run_id)

    assert progress(ann, run_id)["phase"] == "waiting"
    assert rows(warehouse) == before
    assert not list(pending_records(warehouse))
    (asking,) = mailbox.messages()
    assert asking.subject == "Restore waits for approval: Name of old"
    for part in (asking.text, asking.html):
        assert "max_bytes is 1.0 kB" in part
        assert "required_actions" in part
    asked = ann.get(f"{DAG_RUNS}/{run_id}/taskInstances/plan/-1/hitlDetails").json()
    assert "above its ceiling" in asked["subject"]
    assert "Nothing has been moved" in asked["body"]

    replied = ann.patch(f"{DAG_RUNS}/{run_id}/taskInstances/plan/-1/hitlDetails", json={"chosen_options": [answer]})
    assert replied.status_code == 200

    ended = run_queued(dags, run_id)
    (_, mail) = mailbox.messages()
    assert not list(pending_records(warehouse))
    if answer == "Approve":
        assert ended == "success"
        assert sum((visible(warehouse) - before[2]).values()) == 30
        assert mail.subject.startswith("Restored: ")
    else:
        assert ended == "failed"
        assert rows(warehouse) == before
        assert mail.subject.startswith("Restore not approved: ")
        assert "ann rejected it" in mail.text


def test_r23_a_restore_below_its_ceiling_does_not_wait(
    ann: TestClient, workspace: Workspace, dags: Mapping[str, Any], mailbox: Mailbox
) -> None:
    # On a local disk nothing costs anything.
    assert run_queued(dags, start(ann, max_bytes=10_000_000, max_cost=0)) == "success"
    assert [mail.subject.partition(":")[0] for mail in mailbox.messages()] == ["Restored"]
