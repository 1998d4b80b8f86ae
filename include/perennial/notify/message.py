"""One message, ready for any transport, and its form as e-mail."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

# As the templates write the headings of a text.
_HEADING = re.compile(r"^[A-Z][A-Z, ]+$", re.MULTILINE)


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
        link: Where to see more, or to answer; None where no address is configured.
        title_elsewhere: What a channel that many people read shows instead of the subject; empty: the subject.
    """

    reference: str
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()
    link: str | None = None
    title_elsewhere: str = ""

    @property
    def title(self) -> str:
        """The subject, for a channel that many people read."""
        return self.title_elsewhere or self.subject

    @property
    def summary(self) -> str:
        """The text up to its first heading, and the link: it says what has happened, and names nobody who asked."""
        return "\n\n".join(filter(None, (_HEADING.split(self.text, maxsplit=1)[0].strip(), self.link)))


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
