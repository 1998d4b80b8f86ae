"""The main job through Airflow: expire, restore, e-mail."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.expressions import EqualTo

from perennial.moves import inline
from perennial.moves.move_plan import MovePlan
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox, airflow_connection
from tests.airflow import RunDag
from tests.rows import append_hot, hot_and_archive, interaction, multiset, visible
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
CONF: dict[str, Any] = {"source_ids": ["old"], "notify": ["ann@example.com", "bob@example.com"], "reason": "Q3 replay"}


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped", "promo", owner_email="owner@example.com")
    workspace.source("older", "stopped", owner_email="owner@example.com")
    workspace.source("running", "active")
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(30)])
    workspace.sync()
    return workspace


def test_expired_data_leaves_hot_its_owner_gets_one_digest_and_a_restore_brings_it_back(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")

    run = run_dag("expire_interactions", at=NOW)

    assert run.state == "success"
    assert task_states(run)["move_files.split"] == "success"
    assert warehouse.source_totals("interactions").keys() == {"running"}
    assert hot_and_archive(warehouse) == before
    (digest,) = mailbox.messages()
    assert digest.recipients == ("owner@example.com",)
    assert "Name of old" in digest.text
    assert "Name of older" in digest.html

    clicked_at = datetime.now(UTC)
    run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert run.state == "success"
    # What pages and mails say of how long it took is of the wall clock, not of the day that the run takes for now.
    assert clicked_at < run.start_date < run.end_date
    assert visible(warehouse) == multiset(warehouse, "interactions", ["old", "running"])
    assert sum(visible(warehouse).values()) == 60
    (_, mail) = mailbox.messages()
    assert set(mail.recipients) == {"ann@example.com", "bob@example.com"}
    for part in (mail.text, mail.html):
        assert "Name of old" in part
        assert "30" in part
        assert "Q3 replay" in part
        assert f"{run.start_date:%-d %b %Y}" in part


@pytest.mark.long
def test_what_another_writer_changed_during_a_restore_is_planned_again_by_a_task_of_its_own(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = workspace.warehouse
    before = multiset(warehouse, "interactions")
    run_dag("expire_interactions", at=NOW)
    really_add = inline.commit_destination
    disturbed: list[MovePlan] = []

    def add_after_a_rewrite(opened: Warehouse, plan: MovePlan) -> int:
        if not disturbed:
            table = opened.table("interactions_archive")
            rows = table.scan(row_filter=EqualTo("source_id", "old")).to_arrow()
            table.overwrite(rows, overwrite_filter=EqualTo("source_id", "old"))
        disturbed.append(plan)
        return really_add(opened, plan)

    monkeypatch.setattr(inline, "commit_destination", add_after_a_rewrite)
    run = run_dag("restore_interactions", {**CONF, "source_ids": ["old", "older"]}, at=NOW + timedelta(hours=1))

    states = task_states(run)
    # What is left is said by the same tasks as of a large move, which find all else done; the rest is a small one again.
    assert run.state == states["move_files.commit_origin"] == states["move_files.replan"] == "success"
    assert (states["move_files.again.split"], states["move_files.again.commit_origin"]) == ("success", "skipped")
    assert [plan.source_ids for plan in disturbed] == [("old", "older"), ("old",)]
    assert visible(warehouse) == multiset(warehouse, "interactions") == before
    assert {message.text.count("Name of old") > 0 for message in mailbox.messages()} == {True}


def task_states(run: Any) -> dict[str, str]:
    return {task.task_id: task.state for task in run.get_task_instances()}


@pytest.mark.long
def test_a_refused_restore_moves_nothing_fails_and_says_so_by_mail(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox
) -> None:
    before = multiset(workspace.warehouse, "interactions")

    run = run_dag("restore_interactions", {**CONF, "source_ids": ["old", "<nobody>"], "tags": ["none"]}, at=NOW)

    assert run.state == "failed"
    assert multiset(workspace.warehouse, "interactions") == before
    (mail,) = mailbox.messages()
    assert "<nobody>" in mail.text
    assert "none" in mail.text
    assert "&lt;nobody&gt;" in mail.html


@pytest.mark.long
def test_a_dry_run_decides_and_notifies_nobody(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    before = multiset(workspace.warehouse, "interactions")

    run = run_dag("expire_interactions", {"dry_run": True}, at=NOW)

    assert run.state == "success"
    assert multiset(workspace.warehouse, "interactions") == before
    decided = {row["source_id"]: row["decision"] for row in workspace.warehouse.read("expiry_decisions").to_pylist()}
    assert decided == {"old": "expire", "older": "expire", "running": "active"}
    assert not mailbox.messages()


@pytest.mark.long
def test_a_misspelt_param_is_refused(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    run = run_dag("restore_interactions", {**CONF, "sources": ["old"]}, at=NOW)

    assert run.state == "failed"
    (mail,) = mailbox.messages()
    assert "'sources'" in mail.text


@pytest.mark.long
def test_with_the_mail_server_down_the_restore_succeeds_and_the_notification_fails_visibly(
    workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dag("expire_interactions", at=NOW)
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", airflow_connection(unused_port()))

    run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert "old" in workspace.warehouse.source_totals("interactions")
    assert sum(visible(workspace.warehouse).values()) == 60
    assert run.state == "failed"
    states = task_states(run)
    assert states["notify_requesters"] == "failed"
    # One task for a small move, and no process for any other.
    assert states.pop("move_files.split") == "success"
    assert {state for task, state in states.items() if task.startswith("move_files.")} == {"skipped"}
    failed = {task for task, state in states.items() if state == "failed"}
    assert failed == {"notify_requesters", "conclude"}


@pytest.mark.long
def test_a_restore_by_tag_of_a_damaged_source_ends_in_part_says_so_and_fails(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox
) -> None:
    workspace.tags = [("old", "promo"), ("older", "promo")]
    workspace.sync()
    run_dag("expire_interactions", at=NOW)
    table = workspace.warehouse.table("interactions_archive")
    (victim,) = workspace.warehouse.live_files(table, ["older"])
    Path(victim.uri.removeprefix("file://")).unlink()

    run = run_dag("restore_interactions", {"tags": ["promo"], "notify": ["ann@example.com"]}, at=NOW)

    assert run.state == "failed"
    mail = mailbox.messages()[-1]
    assert "part" in mail.subject.lower()
    assert victim.uri in mail.text
    assert workspace.warehouse.source_totals("interactions").keys() == {"old", "running"}


@pytest.mark.long
def test_what_a_run_wrote_shows_in_the_events_of_its_assets(workspace: Workspace, run_dag: RunDag) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run = run_dag("expire_interactions", at=NOW)

    with create_session() as session:
        found = session.execute(
            select(AssetModel.name, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_run_id == run.run_id, AssetEvent.source_dag_id == "expire_interactions")
        ).all()
    extras = {row.name: row.extra for row in found}
    assert extras["messaging.expiry_decisions"]["expire"] == 2
    assert extras["messaging.interactions"]["source_count"] == 2
    assert extras["messaging.interactions_archive"]["row_count"] == 60


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.long
def test_r18_the_mail_of_a_refused_restore_does_not_claim_that_deleted_data_is_still_stored(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox
) -> None:
    workspace.source("gone", interaction_data_deleted_at=datetime(2023, 5, 1, tzinfo=UTC))
    workspace.sync()

    run = run_dag("restore_interactions", {**CONF, "source_ids": ["gone"]}, at=NOW)

    assert run.state == "failed"
    (mail,) = mailbox.messages()
    for part in (mail.text, mail.html):
        assert "deleted under the previous policy" in part
        assert "still stored" not in part
        assert "perennial/restore?" not in part
        assert "perennial restore" not in part
