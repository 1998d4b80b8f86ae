"""A restore whose files lie in cold storage: asked for, waited for without a worker, told at once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.module_loading import import_string

from perennial.moves import Run, expire_sources, thaw
from perennial.moves.notifications import notify_of_thaw
from perennial.moves.restore import check_request, plan_restore
from perennial.moves.thaw import start_thaw
from perennial.moves.thaw_status import ThawStatus, end_thaw, find_thaw_status, write_thaw_status
from perennial.operations import pending_records
from perennial.settings import Settings
from perennial.storage.s3 import s3_storage
from perennial.thaw import LATE_AFTER, ThawTrigger, late_at, warn_when_late
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox, airflow_connection
from perennial_sample.ports import free_port
from tests.airflow import RunDag
from tests.aws import Aws, archive_uri, archived, workspace_on
from tests.lake import Lake
from tests.rows import append_hot, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
CONF: dict[str, Any] = {"source_ids": ["old", "older"], "notify": ["ann@example.com"], "reason": "Q3 replay"}
PATIENCE_SECONDS = 60

Expired = tuple[Workspace, Counter[str]]
Freeze = Callable[..., Expired]


@pytest.fixture
def freeze(aws: Aws, settings: Settings, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> Iterator[Freeze]:
    """Return a function that makes a workspace with two expired sources in a storage class of S3."""
    monkeypatch.setattr(thaw, "FIRST_PAUSE_SECONDS", 0.05)

    def frozen(storage_class: str, local: bool = True) -> Expired:
        warehouse = workspace_on(aws, settings.home, storage_class, monkeypatch, local)
        workspace = Workspace(warehouse)
        workspace.source("old")
        workspace.source("older")
        append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
        workspace.sync()
        before = multiset(warehouse, "interactions")
        expire_sources(warehouse, Run("expiry", NOW))
        aws.hold_thaws(archive_uri(warehouse))
        return workspace, before

    yield frozen
    s3_storage.cache_clear()


@contextmanager
def meanwhile(step: Callable[[], object]) -> Iterator[list[object]]:
    """Do something while the block runs; what it returned is there afterwards."""
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(step()))
    thread.start()
    yield results
    thread.join()


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def deferred_triggers() -> list[tuple[str, dict[str, Any]]]:
    """What of ours Airflow has handed to its triggerer; before 3.3 other tests' approvals are there as well."""
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = [(row.classpath, row.kwargs) for row in session.scalars(select(Trigger)).all()]
    return [(path, kwargs) for path, kwargs in found if path.startswith("perennial.")]


def noted(warehouse: Warehouse) -> ThawStatus | None:
    """How far the only run that had to thaw is."""
    notes = list(s3_storage().list_files(f"{warehouse.operations_uri()}/thaws"))
    return ThawStatus(**json.loads(s3_storage().read(notes[0].uri))) if notes else None


def test_m9_frozen_files_are_thawed_before_they_are_copied_and_the_requesters_know_how_long_that_takes(
    freeze: Freeze, aws: Aws, run_dag: RunDag, mailbox: Mailbox
) -> None:
    workspace, before = freeze("GLACIER", local=False)
    warehouse = workspace.warehouse
    files = archived(warehouse)
    assert aws.frozen(archive_uri(warehouse)).keys() == set(files)
    # A rule of the bucket may move them on.
    aws.objects(files[1])[files[1]].set_storage_class("DEEP_ARCHIVE")

    def thaw_by_and_by() -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
        until(lambda: aws.asked_to_thaw(archive_uri(warehouse)) == set(files))
        deferred = until(deferred_triggers)
        told = [mail.subject for mail in mailbox.messages()]
        aws.finish_thaw(files[0])
        until(lambda: (now := noted(warehouse)) is not None and now.thawed_count == 1)
        aws.finish_thaw(files[1])
        return deferred, told

    with meanwhile(thaw_by_and_by) as results:
        run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert run.state == "success"
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    ((deferred, told),) = results
    ((path, arguments),) = deferred
    assert path == "perennial.thaw.ThawTrigger"
    assert arguments["run_id"] == run.run_id
    assert told == ["Restore is thawing: 2 sources, up to 12 hours"]
    thaw, restored = mailbox.messages()
    for part in (thaw.text, thaw.html):
        for said in (
            "GLACIER", "3 to 5 hours", "DEEP_ARCHIVE", "up to 12 hours", "1 file", "Standard", "Name of older", "Q3 replay",
        ):  # fmt: skip
            assert said in part
    assert restored.subject == "Restored: 2 sources, 60 interactions"
    assert thaw.recipients == restored.recipients == ("ann@example.com",)
    ended = noted(warehouse)
    assert ended is not None
    assert (ended.thawed_count, ended.requesters_notified, ended.ended) == (2, True, True)


@pytest.mark.long
def test_what_can_be_read_at_once_is_neither_waited_for_nor_announced(
    freeze: Freeze, aws: Aws, run_dag: RunDag, mailbox: Mailbox
) -> None:
    workspace, before = freeze("GLACIER_IR")

    run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert run.state == "success"
    assert visible(workspace.warehouse) == before
    assert aws.asked_to_thaw(archive_uri(workspace.warehouse)) == set()
    assert [mail.subject for mail in mailbox.messages()] == ["Restored: 2 sources, 60 interactions"]


@pytest.mark.long
def test_expedited_is_refused_for_deep_archive_before_anything_is_asked_for(
    freeze: Freeze, aws: Aws, run_dag: RunDag, mailbox: Mailbox
) -> None:
    warehouse = freeze("DEEP_ARCHIVE")[0].warehouse

    run = run_dag("restore_interactions", {**CONF, "thaw_tier": "Expedited"}, at=NOW + timedelta(hours=1))

    assert run.state == "failed"
    assert aws.asked_to_thaw(archive_uri(warehouse)) == set()
    assert multiset(warehouse, "interactions") == Counter()
    assert warehouse.source_totals("interactions_archive").keys() == {"old", "older"}
    assert not list(pending_records(warehouse))
    (mail,) = mailbox.messages()
    assert "thaw_tier is Expedited" in mail.text
    assert "DEEP_ARCHIVE" in mail.text


@pytest.mark.long
def test_a_mail_server_that_is_down_holds_no_thaw_up_and_nobody_is_notified_twice(
    freeze: Freeze, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, run = freeze("GLACIER")[0].warehouse, Run("r1", NOW, "ann")
    request_uri = check_request(warehouse, CONF)
    plan_uris = plan_restore(warehouse, request_uri, run)

    def ask_and_tell() -> None:
        thaw = start_thaw(warehouse, run, plan_uris, "Standard")
        assert thaw is not None
        notify_of_thaw(warehouse, run, request_uri, thaw)

    with monkeypatch.context() as down:
        down.setenv("AIRFLOW_CONN_SMTP_DEFAULT", airflow_connection(free_port()))
        ask_and_tell()
    assert not mailbox.messages()
    for _ in range(2):
        ask_and_tell()
    assert len(mailbox.messages()) == 1


# --- the deadline -----------------------------------------------------------------------------------------------------


def a_thaw(run_id: str, asked_at: datetime, **changed: Any) -> ThawStatus:
    at = asked_at.isoformat()
    expected_at = (asked_at + timedelta(hours=5)).isoformat()
    return replace(ThawStatus(run_id, "Standard", at, expected_at, at, file_count=2), **changed)


def test_a_restore_that_thaws_is_late_only_after_the_time_that_is_documented_for_that() -> None:
    assert late_at(a_thaw("r", NOW)) == NOW + timedelta(hours=5) + LATE_AFTER
    done_at = NOW + timedelta(hours=3)
    assert late_at(a_thaw("r", NOW, thawed_count=2, looked_at=done_at.isoformat())) == done_at + LATE_AFTER


@pytest.mark.parametrize(
    ("thaw", "mails"),
    [
        (None, 1),
        (a_thaw("r1", datetime.now(UTC) - timedelta(days=1)), 1),
        (a_thaw("r1", datetime.now(UTC) - timedelta(days=1), ended=True), 0),
    ],
    ids=["without thawing", "overdue", "ended meanwhile"],
)
def test_the_warning_goes_out_when_there_is_reason_for_it(
    warehouse: Warehouse, run_dag: RunDag, mailbox: Mailbox, thaw: ThawStatus | None, mails: int
) -> None:
    if thaw is not None:
        write_thaw_status(warehouse, thaw)
    asyncio.run(
        warn_when_late(context={"dag_run": {"dag_run_id": "r1", "dag_id": "restore_interactions", "conf": CONF}})
    )

    assert len(mailbox.messages()) == mails


def test_a_warehouse_that_cannot_be_asked_keeps_nobody_from_being_warned(
    run_dag: RunDag, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_RETENTION_MONTHS", "none")

    asyncio.run(warn_when_late(context={"dag_run": {"dag_run_id": "r1", "conf": CONF}}))

    assert len(mailbox.messages()) == 1


def test_the_warning_waits_while_a_thaw_takes_its_documented_time(
    warehouse: Warehouse, run_dag: RunDag, mailbox: Mailbox
) -> None:
    # Late in half a second; by then it has ended.
    asked_at = datetime.now(UTC) - timedelta(hours=5) - LATE_AFTER + timedelta(seconds=0.5)
    write_thaw_status(warehouse, a_thaw("r1", asked_at))

    async def warned() -> str:
        warning = asyncio.create_task(warn_when_late(context={"dag_run": {"dag_run_id": "r1", "conf": CONF}}))
        await asyncio.sleep(0.1)
        assert not warning.done()
        await asyncio.to_thread(end_thaw, warehouse, "r1")
        return await warning

    assert asyncio.run(warned()) == "the run has ended"
    assert not mailbox.messages()


# --- the trigger ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_trigger_goes_on_in_another_process_where_it_was_and_asks_s3_how_far_that_is(
    freeze: Freeze, aws: Aws
) -> None:
    workspace, _ = freeze("GLACIER")
    warehouse = workspace.warehouse
    run, plan_uris = Run("r1", NOW, "ann"), planned(warehouse)
    assert start_thaw(warehouse, run, plan_uris, "Standard") is not None
    path, arguments = ThawTrigger("r1", plan_uris).serialize()
    # Nothing of it is known to whoever goes on.
    aws.finish_thaw(*archived(warehouse))

    event = asyncio.run(anext(import_string(path)(**arguments).run()))

    assert event.payload == {"error": ""}
    now = find_thaw_status(warehouse, "r1")
    assert now is not None
    assert now.done


@pytest.mark.long
def test_a_trigger_that_is_denied_gives_the_reason_back_to_the_task_and_asks_no_more(
    freeze: Freeze, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = freeze("GLACIER")
    plan_uris = planned(workspace.warehouse)
    start_thaw(workspace.warehouse, Run("r1", NOW, "ann"), plan_uris, "Standard")
    # A server that does not know this secret.
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**json.loads(lake.connection), "password": "wrong"}))
    s3_storage.cache_clear()

    event = asyncio.run(anext(ThawTrigger("r1", plan_uris).run()))

    assert "aws_default" in event.payload["error"]


def planned(warehouse: Warehouse) -> list[str]:
    request_uri = check_request(warehouse, CONF)
    return plan_restore(warehouse, request_uri, Run("r1", NOW, "ann"))
