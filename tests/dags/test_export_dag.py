"""The User data file through Airflow: written, refused, and told by mail."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perennial.moves import Run, expire_sources
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox
from tests.airflow import RunDag
from tests.rows import append_hot, interaction
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
CONF: dict[str, Any] = {"source_id": "old", "notify": ["ann@example.com", "bob@example.com"]}


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    workspace = Workspace(warehouse)
    workspace.source("old", "stopped")
    workspace.sync()
    profile = {"invalid_phone": False, "feature_flags": []}
    workspace.replace("users", [{"user_id": f"user-{number}", **profile} for number in range(5)])
    append_hot(warehouse, [interaction("old", number) for number in range(30)])
    return workspace


def exported(workspace: Workspace) -> list[Path]:
    return sorted((workspace.warehouse.settings.home / "exports").glob("*"))


def test_the_file_is_written_and_one_mail_says_where(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    run = run_dag("export_user_data", CONF, at=NOW)

    assert run.state == "success"
    (path,) = exported(workspace)
    with path.open(encoding="utf-8", newline="") as file:
        assert [row["user_id"] for row in csv.DictReader(file)] == [f"user-{number}" for number in range(5)]
    (mail,) = mailbox.messages()
    assert set(mail.recipients) == {"ann@example.com", "bob@example.com"}
    assert mail.subject == "User data: Name of old, 5 users"
    for part in (mail.text, mail.html):
        assert str(path) in part
        assert "personal data" in part


def test_all_recipients_are_asked_for_by_a_param(workspace: Workspace, run_dag: RunDag, mailbox: Mailbox) -> None:
    run_dag("export_user_data", {**CONF, "all_recipients": True}, at=NOW)

    (mail,) = mailbox.messages()
    assert mail.subject == "User data: Name of old, 7 users"


@pytest.mark.long
def test_r14_an_expired_source_is_refused_and_the_mail_names_the_restore(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox
) -> None:
    expire_sources(workspace.warehouse, Run("expiry", NOW))

    run = run_dag("export_user_data", CONF, at=NOW)

    assert run.state == "failed"
    assert exported(workspace) == []
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states["notify_requesters"] == "success"
    (mail,) = mailbox.messages()
    assert mail.subject == "User data export failed: Name of old"
    assert "30 expired interactions of campaign 'old' (since 2026-06-01)" in mail.text
    assert re.findall(r"^http\S+perennial/\S+$", mail.text, flags=re.MULTILINE) == [
        "http://127.0.0.1:8080/perennial/restore?id=old",
        "http://127.0.0.1:8080/perennial/source?id=old",
    ]
    assert "airflow dags trigger" not in mail.text


@pytest.mark.long(but="unknown")
@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"source_id": "<nobody>"}, "'<nobody>' is not a known source"),
        ({"all_recipient": True}, "'all_recipient' is not a param; did you mean 'all_recipients'?"),
    ],
    ids=["unknown-id", "misspelt-param"],
)
def test_a_refused_request_writes_nothing_fails_and_says_so_by_mail(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox, conf: dict[str, Any], said: str
) -> None:
    expire_sources(workspace.warehouse, Run("expiry", NOW))

    run = run_dag("export_user_data", {**CONF, **conf}, at=NOW)

    assert run.state == "failed"
    assert exported(workspace) == []
    (mail,) = mailbox.messages()
    assert said in mail.text
    # The source is expired as well, but that is not what went wrong.
    assert "perennial/restore" not in mail.text
    assert "<nobody>" not in mail.html
