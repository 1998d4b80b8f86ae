"""Files outside the tables that hold something of people: what is found, and what has to stay (R22)."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from perennial.errors import TerminalSettingError
from perennial.storage import storage_for

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class FoundFile:
    """A file that holds something of the people.

    Attributes:
        place: Name of the place.
        uri: Its address.
        count: Records, lines or mails of theirs in it.
    """

    place: str
    uri: str
    count: int


@dataclass(frozen=True)
class LeftFile:
    """A file that holds, or may hold, something of the people and is still there.

    Attributes:
        place: Name of the place.
        uri: Its address.
        why: Why, and what to do, as the end of a sentence.
        is_final: Whether nothing here can remove it, so that the receipt has to name it; otherwise a later run does.
    """

    place: str
    uri: str
    why: str
    is_final: bool = False

    def __str__(self) -> str:
        return f"{self.uri}: {self.why}"


def rewritten(uri: str, place: str, write: Callable[[Path], None]) -> LeftFile | None:
    """Replace a file in one step by what `write` writes; returns it if nothing may be written there."""
    with tempfile.TemporaryDirectory(prefix="perennial-erase-") as folder:
        path = Path(folder, "copy")
        write(path)
        return replaced(uri, place, path)


def replaced(uri: str, place: str, path: Path) -> LeftFile | None:
    """Replace a file in one step by a finished one; returns it if nothing may be written there."""
    return _tried(uri, place, lambda: storage_for(uri).upload(path, uri))


def deleted(uri: str, place: str) -> LeftFile | None:
    """Delete a file; returns it if nothing may be deleted there."""
    return _tried(uri, place, lambda: storage_for(uri).delete(uri))


def _tried(uri: str, place: str, change: Callable[[], None]) -> LeftFile | None:
    try:
        change()
    except (OSError, TerminalSettingError) as error:
        if isinstance(error, OSError) and error.errno not in _READ_ONLY:
            raise
        why = f"it holds records of these people and cannot be changed from here ({error}); delete or rewrite it there"
        return LeftFile(place, uri, why, is_final=True)
    return None


def kept(left: Iterable[LeftFile | None]) -> list[LeftFile]:
    """Return those that are there."""
    return [one for one in left if one is not None]
