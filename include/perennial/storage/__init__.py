"""Storages of files: one protocol for local disks and object stores."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import BufferedReader
from itertools import islice
from os.path import commonprefix
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from perennial.errors import TerminalSettingError

# All three name the same objects; Hadoop's names are what other engines may have written into a table.
S3_SCHEMES = ("s3", "s3a", "s3n")


@dataclass(frozen=True)
class StoredFile:
    """A file as its storage lists it.

    Attributes:
        uri: Address.
        file_bytes: Size.
        modified_at: When its content or its name last changed, UTC.
        storage_class: By the storage's own name; empty if it has no classes.
        etag: What the storage calls this version of its content; empty if it has no such name.
    """

    uri: str
    file_bytes: int
    modified_at: datetime
    storage_class: str = ""
    etag: str = ""


@dataclass(frozen=True)
class CopiedFile:
    """A copy compared with its original.

    Attributes:
        original_bytes: Size of the original.
        copied_bytes: Size of the copy.
        original_checksum: Checksum of the original's content, as `algorithm:value`.
        copied_checksum: Checksum of the copy's content, by the same algorithm.
    """

    original_bytes: int
    copied_bytes: int
    original_checksum: str
    copied_checksum: str


class Temperature(Enum):
    """Whether a file can be read now, is being thawed, or is frozen and not requested."""

    READABLE = "readable"
    THAWING = "thawing"
    FROZEN = "frozen"


@dataclass(frozen=True)
class ColdState:
    """How far a file is from being readable.

    Attributes:
        temperature: Its current state.
        frozen_as: GLACIER or DEEP_ARCHIVE, which determines the time and the cost of thawing. The archive tiers of
            Intelligent-Tiering count as the class with the same times. A thawed copy has it too, because it becomes
            cold again. Empty if nothing ever has to be thawed.
        tier: The retrieval tier of the thaw; empty if unknown, because S3 does not report it.
    """

    temperature: Temperature
    frozen_as: str = ""
    tier: str = ""


# What a service answers that cannot read a checksum that follows the content: Ceph 16, for one.
TRAILERS_REFUSED = re.compile("MissingContentLength|XAmzContentSHA256Mismatch")
WITHOUT_TRAILERS = (
    "the service cannot read checksums that follow the content. Set AWS_REQUEST_CHECKSUM_CALCULATION=when_required in "
    "the environment of Airflow and of whoever runs perennial."
)


def algorithm_of(checksum: str) -> str:
    """Return the algorithm of a checksum; empty if there is none."""
    return checksum.partition(":")[0]


class Storage(Protocol):
    """What this project needs from a storage. Addresses are URIs; a local path without a scheme is one too.

    If a service is behind it, every method may raise a TransientError (busy, not reached) or a TerminalSettingError (no
    such bucket, no right).

    Attributes:
        in_flight: How many files to process at once.
        listed_at_once: How many files a listing returns at the cost of one HEAD request.
        cold_classes: Storage classes, as `StoredFile` has them, of files that may have to be thawed before they can be
            read; empty where every file can.
    """

    in_flight: int
    listed_at_once: int
    cold_classes: frozenset[str]

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        """List every file below a directory; an absent directory holds none."""

    def stat(self, uri: str) -> StoredFile | None:
        """Return the state of one file; None if it does not exist."""

    def open(self, uri: str) -> BufferedReader:
        """Open a file for reading. Raises FileNotFoundError."""

    def read(self, uri: str) -> bytes:
        """Read a small file. Raises FileNotFoundError."""

    def write(self, uri: str, content: bytes) -> None:
        """Write a small file so that a reader sees all of it or the earlier one, never a part."""

    def upload(self, path: Path, uri: str, storage_class: str | None = None) -> None:
        """Put a finished file of this machine at an address, so that a reader sees all of it or the earlier one.

        The local file must not be written to any more. When this returns, the file would survive a loss of power.
        """

    def delete(self, uri: str) -> None:
        """Remove a file; it is not an error if it does not exist."""

    def checksum(self, uri: str, algorithm: str = "") -> str:
        """Return a checksum of a file's content as `algorithm:value`.

        Args:
            uri: The file.
            algorithm: The algorithm; by default the best that is known without reading the file, or SHA-256.

        Raises:
            FileNotFoundError: There is no such file.
            TerminalDataError: The algorithm can no longer be computed here.
        """

    def copy(
        self,
        origin: str,
        destination: str,
        storage_class: str | None = None,
        algorithm: str = "",
        listed: StoredFile | None = None,
    ) -> CopiedFile:
        """Copy a file to another address, replacing a file there in one step, and compare both.

        The content would survive a loss of power when this returns, its name when `make_durable` does.

        Args:
            origin: The file, in this or another storage.
            destination: An address of this storage.
            storage_class: Storage class of the copy, if the storage has classes.
            algorithm: Algorithm of the checksums; by default as in `checksum`.
            listed: What a listing says of the original, which may save a request.

        Raises:
            FileNotFoundError: There is no such file.
        """

    def make_durable(self, uris: Collection[str]) -> None:
        """Return when files that were just copied would survive a loss of power under their names."""

    def look_cold(self, uri: str) -> ColdState:
        """Return whether a file has to be thawed before it can be read. Raises FileNotFoundError."""

    def thaw(self, uri: str, tier: str, faster: bool = False) -> ColdState:
        """Request the thaw of a frozen file for some days, unless it has been requested; returns at once.

        Args:
            uri: The file.
            tier: How fast: Expedited, Standard or Bulk.
            faster: Also request a file that is being thawed already, perhaps in a slower tier. That is one more request
                each time, so use it for the first request and not for checks.

        Raises:
            FileNotFoundError: There is no such file.
        """

    def keeps_deleted(self, uri: str) -> str:
        """Say why deleted files of a directory stay with the storage: versions, or a lock; empty if they do not."""

    def lifecycle_rules(self, uri: str) -> list[Mapping[str, Any]]:
        """Return the lifecycle rules of the storage at an address, in S3's form."""


def list_together(uris: Collection[str], others: int | None) -> dict[str, StoredFile]:
    """List files through the directory that they share, where that takes fewer requests than looking at each.

    Args:
        uris: The files, all in one storage.
        others: About how many files lie there; None if nobody knows.

    Returns:
        Those found, by address. Whoever misses one has to look at it.
    """
    directory = commonprefix(list(uris)).rpartition("/")[0]  # noqa: RUF071 - a path would lose the scheme's slashes
    # Nothing is shared by addresses in different buckets.
    if others is None or directory.count("/") < 2:
        return {}
    storage, wanted = storage_for(directory), set(uris)
    most = storage.listed_at_once * len(wanted)
    if others >= most:
        return {}
    # Others may have put any number of files there.
    return {stored.uri: stored for stored in islice(storage.list_files(directory), most) if stored.uri in wanted}


def s3_module() -> Any:
    """Return the module of what lies on S3, whose libraries are an extra.

    Raises:
        TerminalSettingError: The extra is not installed.
    """
    try:
        version("apache-airflow-providers-amazon")
    except PackageNotFoundError:
        raise TerminalSettingError(
            "Amazon's libraries, which an address or a catalog on S3 needs, are not installed; "
            "run pip install 'perennial-airflow[s3]'."
        ) from None
    return import_module("perennial.storage.s3")


def local_name(uri: str) -> str:
    """Return the path of an address on this machine; Hadoop, and so Spark, writes `file:/path` as well as `file:///path`."""
    return uri.removeprefix("file://").removeprefix("file:")


def storage_for(uri: str) -> Storage:
    """Return the storage that an address belongs to.

    Raises:
        TerminalSettingError: No storage knows the address's scheme.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        from perennial.storage.local import LocalStorage

        return LocalStorage()
    if scheme in S3_SCHEMES:
        storage: Storage = s3_module().s3_storage()
        return storage
    raise TerminalSettingError(
        f"Address {uri!r} has scheme {scheme!r}; use file://, {', '.join(f'{s}://' for s in S3_SCHEMES)}."
    )
