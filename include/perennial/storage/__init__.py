"""Where files lie: one protocol over local disks and object stores."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from perennial.errors import TerminalSettingError


@dataclass(frozen=True)
class StoredFile:
    """A file as its storage lists it.

    Attributes:
        uri: Address.
        file_bytes: Size.
        modified_at: When its content or its name last changed, UTC.
    """

    uri: str
    file_bytes: int
    modified_at: datetime


class Storage(Protocol):
    """What this project needs of a storage. Addresses are URIs; a local path without a scheme is one too."""

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        """List every file below a directory; an absent directory holds none."""

    def stat(self, uri: str) -> StoredFile | None:
        """Look at one file; None where there is none."""

    def open(self, uri: str) -> BufferedReader:
        """Open a file for reading. Raises FileNotFoundError."""

    def read(self, uri: str) -> bytes:
        """Read a small file. Raises FileNotFoundError."""

    def write(self, uri: str, content: bytes) -> None:
        """Write a small file so that a reader sees all of it or the earlier one, never a part."""

    def upload(self, path: Path, uri: str) -> None:
        """Put a finished file of this machine at an address, so that a reader sees all of it or the earlier one.

        Nobody may write to the local file any more. When this returns, the file would survive a loss of power.
        """

    def delete(self, uri: str) -> None:
        """Remove a file; an absent one is no error."""

    def checksum(self, uri: str) -> str:
        """Return the SHA-256 of a file's content in hex. Raises FileNotFoundError."""

    def copy(self, origin: str, destination: str) -> None:
        """Put the same bytes at another address, replacing what is there in one step."""

    def make_durable(self, uris: Collection[str]) -> None:
        """Return when files that were just copied would survive a loss of power."""

    def same_bytes(self, one: str, other: str) -> bool:
        """Whether two addresses are known to name the same stored bytes, so that reading one proves both."""


def storage_for(uri: str) -> Storage:
    """Return the storage that an address belongs to.

    Raises:
        TerminalSettingError: No storage knows the address's scheme.
    """
    from perennial.storage.local import LocalStorage

    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        return LocalStorage()
    raise TerminalSettingError(f"Address {uri!r} has scheme {scheme!r}; the storage built in so far is file://.")
