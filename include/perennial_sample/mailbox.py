"""A local mail server that delivers nothing: every message becomes a file to look at."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope
from markupsafe import escape

from perennial.storage import storage_for

SENDER = "perennial@example.com"


@dataclass(frozen=True, kw_only=True)
class ReceivedMail:
    """One message as it was caught.

    Attributes:
        sender: From.
        recipients: To whom the server was asked to deliver it.
        subject: Subject, decoded.
        text: The plain-text part.
        html: The HTML part.
        attachments: Content by file name.
        eml: The message itself; the same name with `.html` shows its HTML part in a browser.
    """

    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str
    attachments: dict[str, bytes]
    eml: Path


class LocalController(Controller):
    """An aiosmtpd server on 127.0.0.1; port 0 takes a free one. `handler` and `options` as aiosmtpd has them."""

    def __init__(self, handler: object, port: int = 0, **options: Any) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        options = {"enable_SMTPUTF8": True} | options
        super().__init__(handler, hostname="127.0.0.1", port=self._socket.getsockname()[1], **options)

    def _create_server(self) -> Coroutine[Any, Any, asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._socket)


class Mailbox:
    """Catches mail while it is open, and keeps it in a directory.

    Args:
        directory: Where `0001.eml`, `0001.html`, … go; messages that are there already stay and are counted on.
        port: Port on 127.0.0.1; 0 takes a free one, known as `port` once it is open.
    """

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory
        self.port = port
        self._controller: LocalController | None = None
        self._storing = threading.Lock()
        self._caught: list[tuple[str, str, list[str]]] = []
        logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd tells every command of every client

    def __enter__(self) -> Mailbox:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._controller = LocalController(self, self.port)
        self._controller.start()
        self.port = self._controller.port
        return self

    def __exit__(self, *_: object) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def messages(self) -> list[ReceivedMail]:
        """Return every message of the directory, oldest first."""
        return [_read(path) for path in sorted(self.directory.glob("[0-9]*.eml"))]

    def airflow_connection(self) -> str:
        """Return the connection `smtp_default` that sends here, for AIRFLOW_CONN_SMTP_DEFAULT."""
        return airflow_connection(self.port)

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep one message before the client is told that it is accepted; aiosmtpd calls this.

        A message that comes once for each recipient is one message; one that somebody gets again is another.
        """
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message_id = str(_parsed(content)["Message-ID"] or "")
        with self._storing:
            for known_id, stem, recipients in self._caught:
                if message_id and known_id == message_id and not set(recipients).intersection(envelope.rcpt_tos):
                    recipients += envelope.rcpt_tos
                    _store(self.directory, content, recipients, stem)
                    return "250 OK"
            stem = _store(self.directory, content, envelope.rcpt_tos)
            self._caught.append((message_id, stem, list(envelope.rcpt_tos)))
        return "250 OK"


def airflow_connection(port: int, sender: str = SENDER, **changed: Any) -> str:
    """Return an Airflow connection to a plain mail server on this machine, as JSON; `changed` goes into its extra."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": sender, "timeout": 10, "retry_limit": 0, **changed}
    return json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra})


def _store(directory: Path, content: bytes, recipients: list[str], stem: str = "") -> str:
    taken = [int(path.stem) for path in directory.glob("[0-9]*.eml") if path.stem.isdigit()]
    stem = stem or f"{max(taken, default=0) + 1:04d}"
    envelope = "".join(f"X-RcptTo: {recipient}\r\n" for recipient in recipients).encode()
    mail = _parsed(content)
    storage = storage_for(str(directory))
    storage.write(str(directory / f"{stem}.html"), _page(mail).encode("utf-8", "backslashreplace"))
    storage.write(str(directory / f"{stem}.eml"), envelope + content)
    return stem


def _parsed(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _page(mail: EmailMessage) -> str:
    return _body(mail, "html") or f"<!DOCTYPE html><meta charset=utf-8><pre>{escape(_body(mail, 'plain'))}</pre>"


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _read(path: Path) -> ReceivedMail:
    mail = _parsed(path.read_bytes())
    return ReceivedMail(
        sender=str(mail["From"]),
        recipients=tuple(map(str, mail.get_all("X-RcptTo", []))),
        subject=str(mail["Subject"] or ""),
        text=_body(mail, "plain"),
        html=_body(mail, "html"),
        attachments={part.get_filename(""): _content(part) for part in mail.iter_attachments()},
        eml=path,
    )


@contextmanager
def open_mailbox(directory: Path, port: int = 0) -> Iterator[Mailbox]:
    """Open a mailbox and point this process's Airflow connection `smtp_default` at it."""
    before = os.environ.get("AIRFLOW_CONN_SMTP_DEFAULT")
    with Mailbox(directory, port) as mailbox:
        os.environ["AIRFLOW_CONN_SMTP_DEFAULT"] = mailbox.airflow_connection()
        try:
            yield mailbox
        finally:
            os.environ.pop("AIRFLOW_CONN_SMTP_DEFAULT")
            if before is not None:
                os.environ["AIRFLOW_CONN_SMTP_DEFAULT"] = before


if __name__ == "__main__":
    with Mailbox(Path(sys.argv[1]), int(sys.argv[2])):
        threading.Event().wait()
