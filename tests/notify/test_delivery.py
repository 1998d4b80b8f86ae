"""Mail over real SMTP, through Airflow's own hook, to a server on this machine."""

from __future__ import annotations

import asyncio
import smtplib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path

import pytest

from perennial.demo.mailbox import LocalController, Mailbox, airflow_connection, open_mailbox
from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify import Attachment, Message, send, warn_late_restore
from perennial.notify.message import as_email

MESSAGE = Message(
    reference="restore:manual__1",
    subject="Restored: Été 🏴 مرحبا, 3 interactions",
    text="Première ligne\n.\nFrom here on\n" + "x" * 2_000 + "\n",
    html="<!DOCTYPE html><p>Première ligne</p>",
    attachments=(Attachment(filename="sources.csv", media_type="text/csv", content=b"id\r\n1\r\n"),),
)
CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    with open_mailbox(tmp_path / "mail") as mailbox:
        yield mailbox


class Picky:
    """A mail server that answers as told; `refusals` by recipient, `data` to the message itself."""

    def __init__(self, refusals: dict[str, str], data: str = "250 OK") -> None:
        self.refusals, self.data, self.accepted = refusals, data, list[tuple[str, ...]]()

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if refusal := self.refusals.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        self.accepted.append(tuple(envelope.rcpt_tos))
        return self.data


@contextmanager
def listening(server: Picky, monkeypatch: pytest.MonkeyPatch) -> Iterator[Picky]:
    controller = LocalController(server)
    controller.start()
    monkeypatch.setenv(CONNECTION, airflow_connection(controller.port))
    try:
        yield server
    finally:
        controller.stop()


def test_a_message_arrives_with_both_parts_and_its_attachment(mailbox: Mailbox) -> None:
    send(MESSAGE, ["ada@example.com", "bob@example.com"])
    [mail] = mailbox.messages()
    assert (mail.sender, mail.recipients) == ("perennial@example.com", ("ada@example.com", "bob@example.com"))
    assert mail.subject == MESSAGE.subject
    assert mail.text == MESSAGE.text
    assert mail.html.strip() == MESSAGE.html
    assert mail.attachments == {"sources.csv": b"id\r\n1\r\n"}
    assert mail.eml.with_suffix(".html").read_text(encoding="utf-8").strip() == MESSAGE.html


def test_one_request_is_one_mail_and_a_retry_is_recognisable_as_the_same_one(mailbox: Mailbox) -> None:
    for _ in range(2):
        send(MESSAGE, ["ada@example.com"])
    first, second = (message_from_bytes(mail.eml.read_bytes()) for mail in mailbox.messages())
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"


def test_the_mail_of_another_owner_is_another_mail() -> None:
    mails = [
        as_email(MESSAGE, sender="p@example.com", to=[to], sent_at=datetime.now(UTC)) for to in ("a@b.co", "c@d.co")
    ]
    assert mails[0]["Message-ID"] != mails[1]["Message-ID"]


def test_a_subject_with_a_line_break_cannot_become_a_header() -> None:
    hostile = Message(reference="r", subject="a\r\nBcc: evil@example.com", text="", html="")
    with pytest.raises(ValueError, match=r"linefeed|newline|CR"):
        as_email(hostile, sender="p@example.com", to=["a@b.co"], sent_at=datetime.now(UTC))


def test_a_server_that_is_down_is_a_transient_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(CONNECTION, airflow_connection(taken.getsockname()[1]))
        with pytest.raises(TransientDeliveryError, match="smtp_default could not be used: ConnectionRefusedError"):
            send(MESSAGE, ["ada@example.com"])


def test_a_server_that_hangs_up_is_a_transient_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Picky({}, data="421 closing"), monkeypatch), pytest.raises(TransientDeliveryError):
        send(MESSAGE, ["ada@example.com"])


def test_a_missing_connection_says_what_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)
    with pytest.raises(TerminalDeliveryError, match=r"smtp_default cannot be used .* create it with conn type smtp"):
        send(MESSAGE, ["ada@example.com"])


def test_a_connection_without_a_sender_says_what_to_set(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION, airflow_connection(mailbox.port, sender=""))
    with pytest.raises(TerminalDeliveryError, match="set from_email"):
        send(MESSAGE, ["ada@example.com"])
    assert mailbox.messages() == []


def test_a_recipient_refused_for_good_is_named_and_the_others_get_the_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = pytest.raises(TerminalDeliveryError, match=r"gone@example\.com \(550 no such user\); the others received")
    with listening(Picky({"gone@example.com": "550 no such user"}), monkeypatch) as server, refused:
        send(MESSAGE, ["ada@example.com", "gone@example.com"])
    assert server.accepted == [("ada@example.com",)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [("550 no such user", TerminalDeliveryError), ("451 greylisted", TransientDeliveryError)],
    ids=["for good", "for now"],
)
def test_when_every_recipient_is_refused_nobody_is_told(
    answer: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = pytest.raises(error, match=r"ada@example\.com .* nobody received the message")
    with listening(Picky({"ada@example.com": answer}), monkeypatch) as server, refused:
        send(MESSAGE, ["ada@example.com"])
    assert server.accepted == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [("554 spam", TerminalDeliveryError), ("452 disk full", TransientDeliveryError)],
    ids=["for good", "for now"],
)
def test_a_message_the_server_does_not_take_fails_with_its_answer(
    answer: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(Picky({}, data=answer), monkeypatch), pytest.raises(error, match=f"answered {answer}"):
        send(MESSAGE, ["ada@example.com"])


def test_another_transport_can_take_the_place_of_airflow() -> None:
    handed: list[tuple[Message, list[str]]] = []

    def transport(message: Message, to: list[str]) -> dict[str, tuple[int, bytes]]:
        handed.append((message, to))
        return {}

    send(MESSAGE, ["ada@example.com"], transport)
    assert handed == [(MESSAGE, ["ada@example.com"])]


def test_the_deadline_alert_calls_back_and_tells_the_requesters(mailbox: Mailbox) -> None:
    from airflow.sdk import AsyncCallback
    from airflow.triggers.callback import CallbackTrigger

    dag_run = {
        "dag_id": "restore_interactions",
        "dag_run_id": "manual__1",
        "queued_at": "2026-11-24T04:00:00Z",
        "state": "running",
        "conf": {"source_ids": ["cmp-1"], "notify": ["ada@example.com", "a@", "ada@example.com"]},
    }
    path = AsyncCallback(warn_late_restore).path
    trigger = CallbackTrigger(path, {"context": {"dag_run": dag_run, "deadline": {"id": "1"}}})

    async def states() -> list[str]:
        return [event.payload["state"] async for event in trigger.run()]

    assert asyncio.run(states()) == ["running", "success"]
    [mail] = mailbox.messages()
    assert mail.recipients == ("ada@example.com",)
    assert mail.subject == "Restore is late: cmp-1"


@pytest.mark.parametrize("conf", [None, {}, {"notify": "ada@example.com"}], ids=["null", "empty", "wrong type"])
def test_a_late_run_that_names_nobody_is_no_failure(conf: object, mailbox: Mailbox) -> None:
    assert asyncio.run(warn_late_restore(context={"dag_run": {"conf": conf}})) == "nobody to tell"
    assert mailbox.messages() == []


def test_a_mailbox_counts_on_from_what_it_holds(tmp_path: Path) -> None:
    for _ in range(2):
        with Mailbox(tmp_path) as mailbox, smtplib.SMTP("127.0.0.1", mailbox.port) as client:
            client.sendmail("a@b.co", ["c@d.co"], "Subject: plain\r\n\r\n<b>text</b>\r\n")
    assert [mail.eml.name for mail in mailbox.messages()] == ["0001.eml", "0002.eml"]
    assert "&lt;b&gt;text&lt;/b&gt;" in (tmp_path / "0001.html").read_text(encoding="utf-8")
