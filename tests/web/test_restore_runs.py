"""Restores that really run, watched through the page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from perennial.moves.move_plan import RESTORE
from perennial.moves.plan import plan_sources
from perennial.moves.thaw_status import ThawStatus
from perennial.web.airflow_runs import RestoreRun
from perennial.web.restore_runs import count_copied, describe_phase, phase_of
from perennial_sample.mailbox import Mailbox
from tests.conftest import MadeOnce
from tests.rows import visible
from tests.strict_mail_server import StrictServer, listening
from tests.web.conftest import As
from tests.web.restoring import NOW, ORDER, expired_workspace, forget_runs, run_queued
from tests.workspace import Workspace


@pytest.fixture
def workspace(made_once: MadeOnce) -> Workspace:
    return made_once(expired_workspace)


@pytest.fixture
def uma(page: As, workspace: Workspace) -> Iterator[TestClient]:
    """Somebody who may restore."""
    forget_runs()
    yield page("uma")
    forget_runs()


@pytest.mark.long
def test_progress_goes_from_queued_to_done_while_the_tasks_run_and_the_mail_arrives(
    uma: TestClient,
    workspace: Workspace,
    dags: Mapping[str, Any],
    mailbox: Mailbox,
) -> None:
    before = sum(visible(workspace.warehouse).values())
    started = uma.post("/perennial/api/restores", json=ORDER)
    assert started.status_code == 202
    address = started.json()["progress_url"]
    seen = [uma.get(address).json()["phase"]]

    def look(task_id: str) -> None:
        seen.append(uma.get(address).json()["phase"])

    assert run_queued(dags, started.json()["run_id"], look) == "success"

    # Nothing here has to thaw, so nobody is told to wait for that. A small move is one task.
    assert list(dict.fromkeys(seen)) == ["queued", "checking", "planning", "copying", "notifying"]
    done = uma.get(address).json()
    assert (done["phase"], done["files_done"], done["files_total"], done["error"]) == ("done", 1, 1, "")
    assert [(source["source_id"], source["outcome"], source["row_count"]) for source in done["sources"]] == [
        ("old", "restored", 30)
    ]
    assert (done["requested_by"], done["reason"], done["state"]) == ("uma", "Q3 replay", "success")
    assert done["airflow_url"].startswith("/dags/restore_interactions/runs/manual__")
    assert sum(visible(workspace.warehouse).values()) == before + 30
    (mail,) = mailbox.messages()
    assert mail.recipients == ("uma@example.com",)
    page = uma.get(address.replace("/api/", "/")).text
    assert "Done" in page
    assert "restore.js" not in page
    # What was measured is what the next one is told.
    expected = uma.get("/perennial/api/restore", params={"id": "older"}).json()
    assert (expected["expected_from_runs"], expected["expected"][:9]) == (1, "Probably ")


def test_a_run_that_waits_for_the_archive_says_so() -> None:
    run = RestoreRun("r", "running", {}, "uma", NOW, NOW, None, NOW)
    waiting: dict[str, dict[int, str | None]] = {
        "check_request": {-1: "success"},
        "plan": {-1: "success"},
        "thaw": {-1: "deferred"},
        "move_files.split": {-1: None},
    }
    assert phase_of(run, waiting) == "thawing"
    assert phase_of(run, {**waiting, "thaw": {-1: "success"}}) == "copying"
    thaw = ThawStatus("r", "Bulk", NOW.isoformat(), "2026-06-01T16:00:00+00:00", NOW.isoformat(), 120, thawed_count=31)
    assert describe_phase("thawing", 0, 0, thaw) == (
        "Thawing: 31 of 120 files can be read; all of them by 1 Jun 2026, 16:00 UTC, according to S3's documentation"
    )


@pytest.mark.long
def test_a_run_that_fails_midway_says_what_failed_and_can_be_asked_for_again(
    uma: TestClient,
    workspace: Workspace,
    dags: Mapping[str, Any],
    mailbox: Mailbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for task in dags["restore_interactions"].tasks:
        monkeypatch.setattr(task, "retries", 0)
    (live,) = workspace.warehouse.live_files(workspace.warehouse.table("interactions_archive"), ["old"])
    victim = Path(live.uri.removeprefix("file://"))
    content = victim.read_bytes()
    victim.unlink()
    started = uma.post("/perennial/api/restores", json=ORDER).json()

    assert run_queued(dags, started["run_id"]) == "failed"

    failed = uma.get(started["progress_url"]).json()
    assert failed["phase"] == "failed"
    assert live.uri in failed["error"]
    assert [(source["source_id"], source["outcome"]) for source in failed["sources"]] == [("old", "failed")]
    assert html.escape(live.uri) in uma.get(started["progress_url"].replace("/api/", "/")).text
    victim.write_bytes(content)
    again = uma.post("/perennial/api/restores", json=ORDER).json()
    assert run_queued(dags, again["run_id"]) == "success"
    assert len(mailbox.messages()) == 2


def test_a_restore_whose_mail_was_refused_for_one_address_says_whose_and_the_overview_lists_it(
    uma: TestClient, workspace: Workspace, dags: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in dags["restore_interactions"].tasks:
        monkeypatch.setattr(task, "retries", 0)
    order = {**ORDER, "notify": ["uma@example.com", "bob@example.com"]}
    with listening(StrictServer(refuses={"bob@example.com": ["550 no such <user>"]}), monkeypatch) as server:
        started = uma.post("/perennial/api/restores", json=order).json()
        assert run_queued(dags, started["run_id"]) == "failed"
    assert server.copies == {"uma@example.com": 1}

    failed = uma.get(started["progress_url"]).json()
    assert failed["error"] == "The e-mail did not reach bob@example.com (550 no such <user>)."
    assert [(source["source_id"], source["outcome"]) for source in failed["sources"]] == [("old", "restored")]
    (missed,) = uma.get("/perennial/api/overview").json()["undelivered"]
    assert datetime.fromisoformat(missed.pop("tried_at")) > NOW
    assert missed == {
        "recipient": "bob@example.com", "subject": "Restored: Name of old, 30 interactions", "topic": "restore",
        "run_id": started["run_id"], "reason": "550 no such <user>", "for_good": True,
    }  # fmt: skip
    page = uma.get("/perennial/overview").text
    assert "Undelivered e-mails" in page
    assert "bob@example.com" in page
    assert "550 no such &lt;user&gt;" in page


def test_a_restore_outside_airflow_is_under_way_too(uma: TestClient, workspace: Workspace) -> None:
    plan_sources(workspace.warehouse, RESTORE, ["old"])
    answer = uma.post("/perennial/api/restores", json=ORDER)
    assert (answer.status_code, answer.json()["run_ids"]) == (409, [])
    assert "A restore outside Airflow" in uma.get("/perennial/restore", params={"id": "old"}).text


def test_files_are_counted_while_a_copy_task_is_at_work(tmp_path: Path) -> None:
    chunks = [[str(tmp_path / f"{chunk}-{number}") for number in range(40)] for chunk in range(3)]
    for uri in chunks[1][:11]:
        Path(uri).touch()
    assert count_copied(chunks, {}, {}) == 0
    assert count_copied(chunks, {0: "success", 1: "running", 2: None}, {-1: "success"}) == 51
    # The only chunk is copied by the task that would have split it.
    assert [count_copied(chunks[1:2], {}, {-1: state}) for state in (None, "running", "success")] == [0, 11, 40]
