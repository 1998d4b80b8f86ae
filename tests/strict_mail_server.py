"""A real mail server that refuses: recipients for good or for now, and whatever is beyond a limit."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from perennial_sample.mailbox import LocalController, airflow_connection

CONNECTION = "AIRFLOW_CONN_SMTP_DEFAULT"


@dataclass
class StrictServer:
    """How a server answers.

    Attributes:
        refuses: Answers to a recipient, one for each time that it is asked for; the last one stays.
        per_message: Recipients that one mail may have.
        per_connection: Mails that one connection may carry, and the answer to the next.
        quota: Mails that it takes at all until it is raised.
        largest: Bytes that one mail may have.
        breaks_on: Recipients at whom it drops the connection.
        breaks_after: Recipients at whom it drops the connection when it has their mail, without a word.
        taken: Each mail that it has taken: recipients, and the mail.
    """

    refuses: Mapping[str, list[str]] = field(default_factory=dict)
    per_message: int = 100
    per_connection: tuple[int, str] = (1_000, "")
    quota: int = 1_000
    largest: int = 10_000_000
    breaks_on: frozenset[str] = frozenset()
    breaks_after: frozenset[str] = frozenset()
    taken: list[tuple[tuple[str, ...], Any]] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        limit, answer = self.per_connection
        if getattr(session, "carried", 0) >= limit:
            return answer
        if len(self.taken) >= self.quota:
            return "421 4.7.0 too many mails, try again later"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if address in self.breaks_on:
            server.transport.abort()
        if len(envelope.rcpt_tos) >= self.per_message:
            return "452 4.5.3 too many recipients"
        if answers := self.refuses.get(address):
            self.asked[address] += 1
            if answer := answers[min(self.asked[address], len(answers)) - 1]:
                return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if len(envelope.content) > self.largest:
            return "552 5.3.4 message too big"
        self.taken.append((tuple(envelope.rcpt_tos), message_from_bytes(envelope.content, policy=default)))
        session.carried = getattr(session, "carried", 0) + 1
        if self.breaks_after.intersection(envelope.rcpt_tos):
            server.transport.abort()
        return "250 OK"

    @property
    def copies(self) -> Counter[str]:
        """How many mails each recipient has."""
        return Counter(recipient for recipients, _ in self.taken for recipient in recipients)


@contextmanager
def listening(
    server: StrictServer, patch: pytest.MonkeyPatch, certificate: Path | None = None
) -> Iterator[StrictServer]:
    """Let a server listen, without SMTPUTF8, and point `smtp_default` at it; with a certificate it asks for STARTTLS."""
    options: dict[str, Any] = {"enable_SMTPUTF8": False}
    changed: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        options |= {"tls_context": context, "require_starttls": True}
        changed = {"disable_tls": False, "ssl_context": "none"}
    controller = LocalController(server, **options)
    controller.start()
    patch.setenv(CONNECTION, airflow_connection(controller.port, **changed))
    try:
        yield server
    finally:
        controller.stop()
