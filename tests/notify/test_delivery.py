"""Mail over real SMTP, through Airflow's own hook, to servers on this machine: everybody is notified, and once."""

from __future__ import annotations

import smtplib
import socket
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import certificate
from tests.kill import Point, run_and_kill
from tests.strict_mail_server import CONNECTION, StrictServer, listening

from perennial.errors import TerminalDeliveryError, TransientDeliveryError
from perennial.notify import Attachment, Delivery, DeliveryRecord, Letter, Message, deliver, list_undelivered
from perennial.notify.message import as_email
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from perennial_sample.mailbox import Mailbox, airflow_connection

MESSAGE = Message(
    reference="restore:manual__1",
    subject="Restored: Été 🏴 مرحبا, 3 interactions",
    text="Première ligne\n.\nFrom here on\n" + "x" * 2_000 + "\n",
    html="<!DOCTYPE html><p>Première ligne</p>",
    attachments=(Attachment(filename="sources.csv", media_type="text/csv", content=b"id\r\n1\r\n"),),
)
ALL = ("ada@example.com", "bob@example.com", "cyd@example.com", "dan@example.com")
BOB = ALL[1]


def attempt(root: Path | str, to: tuple[str, ...] = ALL, message: Message = MESSAGE) -> Delivery:
    return deliver(DeliveryRecord("restore", "manual__1", str(root)), [Letter(message=message, to=to)])


def test_a_message_arrives_with_both_parts_and_its_attachment(mailbox: Mailbox, tmp_path: Path) -> None:
    attempt(tmp_path, ALL[:2]).refuse_gaps()
    [mail] = mailbox.messages()
    assert (mail.sender, mail.recipients) == ("perennial@example.com", ALL[:2])
    assert mail.subject == MESSAGE.subject
    assert mail.text == MESSAGE.text
    assert mail.html.strip() == MESSAGE.html
    assert mail.attachments == {"sources.csv": b"id\r\n1\r\n"}
    assert mail.eml.with_suffix(".html").read_text(encoding="utf-8").strip() == MESSAGE.html


def test_r12_one_request_is_one_mail_whoever_gets_it_and_each_sees_who_else_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with listening(StrictServer(), monkeypatch) as server:
        attempt(tmp_path, ALL[:2])
    (_, first), (_, second) = server.taken
    assert first["Message-ID"] == second["Message-ID"]
    assert first["To"] == second["To"] == "ada@example.com, bob@example.com"
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


# --- one recipient never harms another, and nobody gets an e-mail twice -----------------------------------------------

REFUSING: dict[str, Any] = {
    "550 for good": {"refuses": {BOB: ["550 5.1.1 no such user"]}},
    "450 for now, for ever": {"refuses": {BOB: ["450 4.2.0 greylisted"]}},
    "421 at one recipient": {"refuses": {BOB: ["421 4.7.0 goodbye"]}},
    "the connection breaks at one recipient": {"breaks_on": frozenset({BOB})},
}
LIMITED: dict[str, Any] = {
    "450 for now, once": {"refuses": {BOB: ["450 4.2.0 greylisted", "450 4.2.0 greylisted", ""]}},
    "one recipient a mail": {"per_message": 1},
    "two mails a connection, 421": {"per_connection": (2, "421 4.7.0 too many mails")},
    "two mails a connection, 452": {"per_connection": (2, "452 4.5.3 too many mails")},
}


@pytest.mark.parametrize("answers", REFUSING.values(), ids=REFUSING)
def test_one_refused_recipient_is_named_and_everybody_else_gets_one_mail(
    answers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(StrictServer(**answers), monkeypatch) as server:
        for _ in range(3):
            delivery = attempt(tmp_path)
            with pytest.raises((TerminalDeliveryError, TransientDeliveryError), match=rf"did not reach {BOB} \(.+\)\."):
                delivery.refuse_gaps()
    assert server.copies == Counter(ALL) - Counter([BOB])
    assert [missed.recipient for missed in delivery.undelivered] == [BOB]
    assert set(delivery.delivered) == set(ALL) - {BOB}


@pytest.mark.parametrize("limits", LIMITED.values(), ids=LIMITED)
def test_whatever_limits_a_server_has_everybody_gets_one_mail(
    limits: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(StrictServer(**limits), monkeypatch) as server:
        for _ in range(3):
            delivery = attempt(tmp_path)
    assert server.copies == Counter(ALL)
    delivery.refuse_gaps()


def test_a_server_that_takes_two_mails_a_minute_has_taken_all_after_some_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered_counts = []
    with listening(StrictServer(quota=0), monkeypatch) as server:
        for quota in (0, 2, 3, 10):
            server.quota = quota
            delivered_counts.append(len(attempt(tmp_path).delivered))
    assert delivered_counts == [0, 2, 3, 4]
    assert server.copies == Counter(ALL)


def test_a_mail_that_is_too_large_for_the_server_keeps_no_other_owner_from_his(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Message(reference="large", subject="s", text="x\n" * 50_000, html="")
    letters = [Letter(message=large, to=(ALL[0],)), Letter(message=MESSAGE, to=(BOB,))]
    with listening(StrictServer(largest=50_000), monkeypatch) as server:
        delivery = deliver(DeliveryRecord("expiry", "r1", str(tmp_path)), letters)
    assert server.copies == Counter([BOB])
    [missed] = delivery.undelivered
    assert (missed.recipient, missed.reason, missed.for_good) == (ALL[0], "552 5.3.4 message too big", True)


def test_a_server_that_asks_for_starttls_gets_it_on_every_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = StrictServer(per_connection=(1, "421 4.7.0 too many mails"), refuses={BOB: ["550 no such user"]})
    with listening(strict, monkeypatch, certificate(tmp_path)) as server:
        attempt(tmp_path)
    assert server.copies == Counter(ALL) - Counter([BOB])


def test_a_server_that_knows_no_smtputf8_is_not_given_an_address_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(StrictServer(), monkeypatch) as server:
        delivery = attempt(tmp_path, ("jörg@example.com", "a\r\nBcc: evil@example.com", *ALL))
    assert server.copies == Counter(ALL)
    assert {mail["To"] for _, mail in server.taken} == {", ".join(ALL)}
    assert [missed.recipient for missed in delivery.undelivered] == ["jörg@example.com", "a\r\nBcc: evil@example.com"]
    assert all("is not a valid e-mail address" in missed.reason for missed in delivery.undelivered)


def test_one_mailbox_written_in_two_ways_gets_one_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(StrictServer(), monkeypatch) as server:
        attempt(tmp_path, ("Ada@Example.com", "ada@example.com"))
    assert server.copies == Counter(["Ada@Example.com"])


def test_an_answer_that_is_lost_repeats_the_mail_of_that_one_recipient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(StrictServer(breaks_after=frozenset({BOB})), monkeypatch) as server:
        attempt(tmp_path)
    assert server.copies - Counter(ALL) == Counter([BOB])
    ids = {mail["Message-ID"] for recipients, mail in server.taken if recipients == (BOB,)}
    assert len(ids) == 1


def send_three(warehouse: Warehouse) -> None:
    deliver(DeliveryRecord.of(warehouse, "restore", "r1"), [Letter(message=MESSAGE, to=ALL)])


@pytest.mark.parametrize(("when", "twice"), [("before", [BOB]), ("after", [])])
def test_a_sender_that_is_killed_notifies_at_most_one_person_twice(
    when: str, twice: list[str], warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    with listening(StrictServer(), monkeypatch) as server:
        point = Point(when, "perennial.notify.delivery:DeliveryRecord._put", 2)
        run_and_kill(settings, point, send_three)
        assert server.copies == Counter(ALL[:2])
        send_three(warehouse)
    assert server.copies == Counter([*ALL, *twice])


def test_news_that_differ_are_sent_to_those_who_have_the_earlier_ones(mailbox: Mailbox, tmp_path: Path) -> None:
    for reference in ("restore:r1:failed", "restore:r1:finished", "restore:r1:finished"):
        attempt(tmp_path, ALL[:1], Message(reference=reference, subject=reference, text="", html=""))
    assert [mail.subject for mail in mailbox.messages()] == ["restore:r1:failed", "restore:r1:finished"]


# --- who could not be notified is listed ------------------------------------------------------------------------------


def test_who_could_not_be_notified_is_listed_until_somebody_is(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = DeliveryRecord.of(warehouse, "expiry", "r1")
    letters = [Letter(message=MESSAGE, to=ALL)]
    with listening(StrictServer(refuses={BOB: ["550 full", "550 full", ""]}), monkeypatch):
        for _ in range(2):
            deliver(record, letters, {"": "2 sources expired"})
        listed = list_undelivered(warehouse)
        deliver(record, letters)
    assert {(each.recipient, each.subject, each.reason) for each in listed} == {
        (BOB, MESSAGE.subject, "550 full"),
        ("", "2 sources expired", "the platform names no owner"),
    }
    assert {(each.topic, each.run_id, each.for_good) for each in listed} == {("expiry", "r1", True)}
    assert datetime.now(UTC) - listed[0].tried_at < timedelta(hours=1)
    assert list_undelivered(warehouse) == []


# --- a server that cannot be used at all ------------------------------------------------------------------------------


def test_a_server_that_is_down_is_a_transient_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(CONNECTION, airflow_connection(taken.getsockname()[1]))
        delivery = attempt(tmp_path)
    assert [missed.recipient for missed in delivery.undelivered] == list(ALL)
    with pytest.raises(TransientDeliveryError, match="smtp_default could not be used: ConnectionRefusedError"):
        delivery.refuse_gaps()


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, r"smtp_default cannot be used .* create it, or set AIRFLOW_CONN_SMTP_DEFAULT, with conn type smtp"),
        ("", "has the sender ''; set from_email"),
        ("pérénnial@example.com", "has the sender 'pérénnial@example.com'; set from_email .* in ASCII characters"),
    ],
    ids=["no connection", "no sender", "a sender beyond ASCII"],
)
def test_a_connection_that_cannot_work_says_what_to_set(
    connection: str | None, said: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if connection is None:
        monkeypatch.delenv(CONNECTION)
    else:
        monkeypatch.setenv(CONNECTION, airflow_connection(mailbox.port, sender=connection))
    with pytest.raises(TerminalDeliveryError, match=said):
        attempt(tmp_path).refuse_gaps()
    assert mailbox.messages() == []


def test_a_mailbox_shows_a_mail_to_several_people_once_and_one_that_somebody_gets_again_twice(
    mailbox: Mailbox,
) -> None:
    with smtplib.SMTP("127.0.0.1", mailbox.port) as client:
        for to in ("a@b.co", "c@d.co", "a@b.co"):
            client.sendmail("p@b.co", [to], "Message-ID: <1@b.co>\r\n\r\ntext\r\n")
    assert [mail.recipients for mail in mailbox.messages()] == [("a@b.co", "c@d.co"), ("a@b.co",)]


def test_a_mailbox_counts_on_from_what_it_holds(tmp_path: Path) -> None:
    for _ in range(2):
        with Mailbox(tmp_path) as mailbox, smtplib.SMTP("127.0.0.1", mailbox.port) as client:
            client.sendmail("a@b.co", ["c@d.co"], "Subject: plain\r\n\r\n<b>text</b>\r\n")
    assert [mail.eml.name for mail in mailbox.messages()] == ["0001.eml", "0002.eml"]
    assert "&lt;b&gt;text&lt;/b&gt;" in (tmp_path / "0001.html").read_text(encoding="utf-8")
