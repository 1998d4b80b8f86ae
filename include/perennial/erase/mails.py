"""Mails that the sample's mail catcher has kept in HOME/mail (R22)."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.erase.files import FoundFile, LeftFile, deleted, kept
from perennial.erase.people import People

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

PLACE = "mails kept by the sample"


def locate(warehouse: Warehouse, people: People) -> list[FoundFile]:
    """Find the mails that name some people, or went to them."""
    home = warehouse.settings.home
    paths = sorted(home.glob("mail/*")) if home is not None and people else []
    return [FoundFile(PLACE, str(path), 1) for path in paths if any(people.are_in(text) for text in _texts(path))]


def erase(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Delete those mails; a mail is a file to look at, and nothing needs it."""
    return kept(deleted(found.uri, PLACE) for found in locate(warehouse, people))


def remaining(warehouse: Warehouse, people: People) -> list[LeftFile]:
    """Read every mail, and return those that name some people."""
    return [LeftFile(PLACE, one.uri, "it names these people") for one in locate(warehouse, people)]


def _texts(path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return
    yield content.decode("utf-8", "replace")
    if path.suffix != ".eml":
        return
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    yield " ".join(f"{name}: {value}" for name, value in mail.items())
    for part in mail.walk():
        found = part.get_payload(decode=True)
        if isinstance(found, bytes):
            yield found.decode("utf-8", "replace")
