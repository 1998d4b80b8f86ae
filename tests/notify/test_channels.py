"""Channels beside e-mail, through Airflow's provider of Apprise, to HTTP servers on this machine (R12 stays with e-mail)."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.kill import Point, run_and_kill
from tests.strict_mail_server import StrictServer, listening

from perennial.notify import Delivery, DeliveryRecord, Letter, Message, deliver
from perennial.settings import Settings
from perennial.warehouse import Warehouse

ALL = ("ada@example.com", "bob@example.com")
TEXT = "Spring is back\n\nBrought back:    3 interactions\n\nTHE REQUEST\nRequested by:    ada@example.com\n"
RESTORED = Message(
    reference="restore:r1:1", subject="Restored: Spring, 3 interactions", text=TEXT, html="", link="https://a.co/r1"
)


class Receiver:
    """An HTTP server that keeps what is posted to it; a path in `refused` answers with that status."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.refused: dict[str, int] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receiver.refused.get(self.path, 200)
                if status == 200:
                    receiver.posted.append((self.path, content))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def titles(self) -> Counter[str]:
        return Counter(content["title"] for _, content in self.posted)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictServer]:
    with listening(StrictServer(), monkeypatch) as server:
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, *config: dict[str, str]) -> None:
    connection = {"conn_type": "apprise", "extra": {"config": list(config)}}
    monkeypatch.setenv("AIRFLOW_CONN_CHATS", json.dumps(connection))


def attempt(root: Path, message: Message = RESTORED, topic: str = "restore") -> Delivery:
    return deliver(DeliveryRecord(topic, "r1", str(root), "chats"), [Letter(message=message, to=ALL)])


def test_a_channel_gets_in_short_what_goes_by_mail_and_a_retry_posts_nothing_twice(
    receiver: Receiver, mail: StrictServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect(monkeypatch, {"path": f"json://127.0.0.1:{receiver.port}/a"})
    for _ in range(2):
        assert set(attempt(tmp_path).delivered) == set(ALL)
    assert mail.copies == Counter(ALL)
    [(_, content)] = receiver.posted
    assert content["title"] == RESTORED.subject
    assert content["message"] == "Spring is back\n\nBrought back:    3 interactions\n\nhttps://a.co/r1"


def test_news_of_several_owners_are_posted_once_each_and_later_news_again(
    receiver: Receiver, mail: StrictServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect(monkeypatch, {"path": f"json://127.0.0.1:{receiver.port}/a"})
    letters = [
        Letter(message=Message(reference=name, subject=name, text=TEXT, html=""), to=(to,))
        for name, to in zip(("one", "two", "two"), (*ALL, "cyd@example.com"), strict=True)
    ]
    record = DeliveryRecord("erasure", "concerns", str(tmp_path), "chats")
    for some in (letters[:1], letters, letters):
        deliver(record, some)
    assert receiver.titles == Counter(["one", "two"])
    assert len(mail.taken) == 3


def test_a_service_with_tags_gets_the_topics_among_them(
    receiver: Receiver, mail: StrictServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = {"everything": "", "some": "restore,notice", "others": "expiry"}
    connect(
        monkeypatch,
        *({"path": f"json://127.0.0.1:{receiver.port}/{path}", "tag": tag} for path, tag in paths.items()),
    )
    for topic in ("restore", "notice-holds", "erasure"):
        attempt(tmp_path, topic=topic)
    assert Counter(path for path, _ in receiver.posted) == {"/everything": 3, "/some": 2}


def test_a_channel_that_is_down_is_logged_and_harms_neither_mails_nor_other_channels(
    receiver: Receiver,
    mail: StrictServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        urls = [f"json://127.0.0.1:{taken.getsockname()[1]}/down", f"json://127.0.0.1:{receiver.port}/refusing"]
        connect(monkeypatch, *({"path": url} for url in [*urls, f"json://127.0.0.1:{receiver.port}/good"]))
        receiver.refused = {"/refusing": 500}
        delivery = attempt(tmp_path)
        delivery.refuse_gaps()
        assert not delivery.is_worth_repeating
        receiver.refused = {}
        attempt(tmp_path)
    assert mail.copies == Counter(ALL)
    assert [path for path, _ in receiver.posted] == ["/good", "/refusing"]
    assert caplog.text.count(f"did not accept the message {RESTORED.subject!r}") == 3


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, "The conn_id `chats` isn't defined"),
        ('{"conn_type": "apprise"}', "KeyError"),
        ('{"conn_type": "apprise", "extra": {"config": []}}', "chats has no service that Apprise knows"),
    ],
    ids=["no connection", "no config", "no service"],
)
def test_a_connection_that_cannot_be_used_is_logged_and_harms_no_mail(
    connection: str | None,
    said: str,
    mail: StrictServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_CHATS", connection)
    attempt(tmp_path).refuse_gaps()
    assert mail.copies == Counter(ALL)
    assert said in caplog.text


def test_a_server_that_refuses_a_mail_is_tried_again_and_the_channel_is_not(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect(monkeypatch, {"path": f"json://127.0.0.1:{receiver.port}/a"})
    with listening(StrictServer(refuses={ALL[1]: ["450 later", "450 later", ""]}), monkeypatch) as server:
        assert attempt(tmp_path).is_worth_repeating
        attempt(tmp_path).refuse_gaps()
    assert server.copies == Counter(ALL)
    assert len(receiver.posted) == 1


def test_slack_gets_a_message_in_its_own_form_in_which_no_name_calls_everybody(
    receiver: Receiver, mail: StrictServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{receiver.port}/services")
    connect(monkeypatch, {"path": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#data"})
    named = "<!channel> & *Sale*"
    message = Message(reference="r", subject=f"Restored: {named}", text=f"{named} is back\n", html="")
    attempt(tmp_path, message)
    [(path, content)] = receiver.posted
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    sent = json.dumps(content)
    assert "*Sale" in sent
    assert "<!channel>" not in sent


def post_three(warehouse: Warehouse) -> None:
    letters = [
        Letter(message=Message(reference=name, subject=name, text=TEXT, html=""), to=ALL[:1])
        for name in ("a", "b", "c")
    ]
    deliver(DeliveryRecord.of(warehouse, "restore", "r1"), letters)


@pytest.mark.long(but="before")
@pytest.mark.parametrize(("when", "twice"), [("before", ["a"]), ("after", [])])
def test_a_sender_that_is_killed_posts_at_most_the_message_twice_that_it_was_about_to_note(
    when: str, twice: list[str], receiver: Receiver, mail: StrictServer, monkeypatch: pytest.MonkeyPatch,
    empty_home: Path, warehouse: Warehouse,
) -> None:  # fmt: skip
    connect(monkeypatch, {"path": f"json://127.0.0.1:{receiver.port}/a"})
    settings = Settings.from_environment(
        {"PERENNIAL_HOME": str(warehouse.settings.home), "PERENNIAL_CHANNELS": "chats"}
    )
    # The first note is that of the e-mail.
    run_and_kill(settings, Point(when, "perennial.notify.delivery:DeliveryRecord._put", 2), post_three)
    assert receiver.titles == Counter("a")
    post_three(Warehouse(settings))
    assert receiver.titles == Counter([*"abc", *twice])
    assert mail.copies == Counter(ALL[:1])
