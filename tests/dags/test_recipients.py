"""Recipients whom a mail server refuses: the others are told, once, and everybody can see who was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from perennial.cli import app
from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.moves import Run, expire_sources, restore_sources
from perennial.moves.notifications import Attempt, notify_owners, notify_requesters
from perennial.notify import list_undelivered
from perennial.warehouse import Warehouse
from perennial_sample import in_process
from perennial_sample.mailbox import Mailbox, airflow_connection
from perennial_sample.ports import free_port
from tests.airflow import RunDag
from tests.rows import append_hot, interaction, visible
from tests.strict_mail_server import CONNECTION, StrictServer, listening
from tests.workspace import Workspace

NOW = datetime(2026, 6, 1, 4, tzinfo=UTC)
OWNERS = ("ann@example.com", "bob@example.com", "cyd@example.com")
CONF: dict[str, Any] = {"source_ids": ["s0"], "notify": list(OWNERS), "reason": "Q3 replay"}
BOB = "bob@example.com"
FOR_GOOD, FOR_NOW = "550 5.1.1 no such user", "450 4.2.0 try later"


@pytest.fixture
def workspace(warehouse: Warehouse) -> Workspace:
    """Three sources that are due, each with an owner; and two whose owner cannot be written to."""
    workspace = Workspace(warehouse)
    for number, owner in enumerate((*OWNERS, "", "jörg@example.com")):
        workspace.source(f"s{number}", "stopped", owner_email=owner or None)
    append_hot(warehouse, [interaction(source, number) for source in workspace.sources for number in range(3)])
    workspace.sync()
    return workspace


@pytest.mark.long
@pytest.mark.parametrize("answer", [FOR_GOOD, FOR_NOW])
def test_a_daily_run_notifies_every_other_owner_succeeds_and_lists_who_was_refused(
    answer: str, workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(StrictServer(refuses={BOB: [answer]}), monkeypatch) as server:
        run = run_dag("expire_interactions", at=NOW)

    assert run.state == "success"
    assert server.copies == Counter(OWNERS) - Counter([BOB])
    listed = {missed.recipient: missed for missed in list_undelivered(workspace.warehouse)}
    assert listed.keys() == {BOB, "", "jörg@example.com"}
    assert (listed[BOB].reason, listed[BOB].run_id, listed[BOB].topic) == (answer, run.run_id, "expiry")
    assert listed[BOB].subject == "Interaction data moved to the archive: Name of s1"
    assert listed[""].subject == "1 source expired"
    for arguments in (["status"], ["status", "--run", run.run_id]):
        said = CliRunner().invoke(app, arguments).output
        assert "Undelivered e-mails" in said
        for words in (BOB, answer, "jörg@example.com", "nobody", "1 source expired"):
            assert words in said
    assert BOB not in CliRunner().invoke(app, ["status", "s0"]).output


def test_an_owner_who_is_refused_for_now_is_notified_later_and_nobody_else_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, run = workspace.warehouse, Run("r1", NOW)
    expire_sources(warehouse, run)
    with listening(StrictServer(refuses={BOB: [FOR_NOW]}), monkeypatch) as server:
        with pytest.raises(TransientDeliveryError, match=rf"{BOB} \(450 4\.2\.0 try later\)"):
            notify_owners(warehouse, run)
        server.refuses = {}
        assert notify_owners(warehouse, run) == 3
        assert notify_owners(warehouse, run) == 3
    assert server.copies == Counter(OWNERS)
    assert BOB not in {missed.recipient for missed in list_undelivered(warehouse)}


@pytest.mark.long
def test_a_daily_run_is_tried_again_for_an_owner_who_is_refused_for_now(
    workspace: Workspace, run_dag: RunDag, dags: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not by `run_dag`, which allows no second try.
    dag = dags["expire_interactions"]
    monkeypatch.setattr(dag.get_task("notify_owners"), "retries", 1)
    monkeypatch.setattr(dag.get_task("notify_owners"), "retry_delay", timedelta(0))
    with listening(StrictServer(refuses={BOB: [FOR_NOW, FOR_NOW, ""]}), monkeypatch) as server:
        run = in_process.run_dag(dag, None, NOW + timedelta(minutes=1))

    assert run.state == "success"
    assert server.copies == Counter(OWNERS)
    assert BOB not in {missed.recipient for missed in list_undelivered(workspace.warehouse)}


@pytest.mark.long(but="550")
@pytest.mark.parametrize("answer", [FOR_GOOD, FOR_NOW])
def test_a_restore_notifies_every_other_requester_then_fails_and_names_who_was_refused(
    answer: str, workspace: Workspace, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_sources(workspace.warehouse, Run("expiry", NOW))
    with listening(StrictServer(refuses={BOB: [answer]}), monkeypatch) as server:
        run = run_dag("restore_interactions", CONF, at=NOW + timedelta(hours=1))

    assert run.state == "failed"
    assert server.copies == Counter(OWNERS) - Counter([BOB])
    assert sum(visible(workspace.warehouse).values()) == 3
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states["notify_requesters"] == "failed"
    (missed,) = list_undelivered(workspace.warehouse)
    assert (missed.recipient, missed.reason, missed.topic) == (BOB, answer, "restore")


def restored(workspace: Workspace, run: Run, **changed: Any) -> Attempt:
    """Bring a source back, as far as the mail about it."""
    from perennial.moves.restore import check_request

    expire_sources(workspace.warehouse, Run("expiry", NOW))
    request_uri = check_request(workspace.warehouse, {**CONF, **changed})
    restore_sources(workspace.warehouse, CONF, run)
    return Attempt(request_uri)


def test_a_requester_who_is_refused_for_now_is_notified_later_and_nobody_else_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run("r1", NOW + timedelta(hours=1), "ann")
    attempt = restored(workspace, run)
    with listening(StrictServer(refuses={BOB: [FOR_NOW]}), monkeypatch) as server:
        for _ in range(2):
            with pytest.raises(TransientDeliveryError, match="2 other recipients have it"):
                notify_requesters(workspace.warehouse, run, CONF, attempt)
        server.refuses = {}
        for _ in range(2):
            assert notify_requesters(workspace.warehouse, run, CONF, attempt).state == "finished"
    assert server.copies == Counter(OWNERS)
    assert {mail["To"] for _, mail in server.taken} == {", ".join(OWNERS)}


def test_a_request_that_is_refused_for_one_bad_address_is_reported_to_the_good_ones(
    workspace: Workspace, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, mailbox.airflow_connection())
    params = {**CONF, "notify": ["ann@example.com", "jörg@example.com"]}
    with pytest.raises(TerminalDeliveryError, match=r"jörg@example\.com"):
        notify_requesters(
            workspace.warehouse, Run("r1", NOW), params, Attempt(None, error="notify holds a bad address")
        )
    (mail,) = mailbox.messages()
    assert mail.recipients == ("ann@example.com",)
    assert "notify holds a bad address" in mail.text


@pytest.mark.long
def test_what_went_wrong_with_the_restore_is_still_known_when_the_mail_leaves_later(
    workspace: Workspace, run_dag: RunDag, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perennial.airflow import kept_error_of

    monkeypatch.setenv(CONNECTION, airflow_connection(free_port()))
    run = run_dag("restore_interactions", {**CONF, "source_ids": ["unheard-of"]}, at=NOW)

    assert run.state == "failed"
    kept = kept_error_of(workspace.warehouse, "restore_interactions", run.run_id)
    assert "unheard-of" in kept
    assert "mail server" not in kept


def test_a_restore_that_fails_and_finishes_after_all_is_reported_both_times(
    workspace: Workspace, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, mailbox.airflow_connection())
    run = Run("r1", NOW + timedelta(hours=1), "ann")
    attempt = restored(workspace, run, notify=["ann@example.com"])
    conf = {**CONF, "notify": ["ann@example.com"]}
    for failed in (True, True, False, False):
        refused = Attempt(None, error="Archived file 7 is missing.")
        notify_requesters(workspace.warehouse, run, conf, refused if failed else attempt)
    subjects = [mail.subject for mail in mailbox.messages() if mail.recipients == ("ann@example.com",)]
    assert subjects == ["Restore failed: s0", "Restored: Name of s0, 3 interactions"]
