"""The main job through Airflow: expire, restore, e-mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perennial.demo.mailbox import Mailbox
from perennial.warehouse import Warehouse
from tests.dags.conftest import RunDag
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
    assert warehouse.source_totals("interactions").keys() == {"running"}
    assert hot_and_archive(warehouse) == before
    (digest,) = mailbox.messages()
    assert digest.recipients == ("owner@example.com",)
    assert "Name of old" in digest.text
    assert "Name of older" in digest.html

    run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert run.state == "success"
    assert visible(warehouse) == multiset(warehouse, "interactions", ["old", "running"])
    assert sum(visible(warehouse).values()) == 60
    (_, mail) = mailbox.messages()
    assert set(mail.recipients) == {"ann@example.com", "bob@example.com"}
    for part in (mail.text, mail.html):
        assert "Name of old" in part
        assert "30" in part
        assert "Q3 replay" in part


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


def test_a_dry_run_decides_and_tells_nobody(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    before = multiset(workspace.warehouse, "interactions")

    run = run_dag("expire_interactions", {"dry_run": True}, at=NOW)

    assert run.state == "success"
    assert multiset(workspace.warehouse, "interactions") == before
    decided = {row["source_id"]: row["decision"] for row in workspace.warehouse.read("expiry_decisions").to_pylist()}
    assert decided == {"old": "expire", "older": "expire", "running": "active"}
    assert not mailbox.messages()


def test_a_misspelt_param_is_refused(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    run = run_dag("restore_interactions", {**CONF, "sources": ["old"]}, at=NOW)

    assert run.state == "failed"
    (mail,) = mailbox.messages()
    assert "'sources'" in mail.text
