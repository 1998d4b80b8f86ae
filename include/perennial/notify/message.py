"""One message, ready for any transport, and its form as e-mail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file that goes with a message. `media_type` is `text/csv`, `application/json` and the like."""

    filename: str
    media_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message to people.

    Attributes:
        reference: The same for the same news: an e-mail that a retry sends again keeps its Message-ID.
        subject: One line.
        text: The plain-text part.
        html: The HTML part, a whole document.
        attachments: Files that go with it.
    """

    reference: str
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message and everybody who gets it. Each recipient sees the others."""

    message: Message
    to: tuple[str, ...]


def as_email(message: Message, *, sender: str, to: list[str], sent_at: datetime) -> EmailMessage:
    """Build the MIME form: text and HTML alternatives, then attachments."""
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = message.subject
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Date"] = format_datetime(sent_at)
    mail["Message-ID"] = _message_id(message.reference, sender, to)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    for attachment in message.attachments:
        main, _, sub = attachment.media_type.partition("/")
        mail.add_attachment(attachment.content, maintype=main, subtype=sub, filename=attachment.filename)
    return mail


def _message_id(reference: str, sender: str, to: list[str]) -> str:
    digest = hashlib.sha256("\0".join((reference, *sorted(to))).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    domain = parseaddr(sender)[1].rpartition("@")[2]
    return f"<{digest}@{domain if domain.isascii() and domain else 'localhost'}>"
