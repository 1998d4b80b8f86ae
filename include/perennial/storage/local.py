"""Local disks: hard links where the file system can, copies where it cannot."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

from perennial.errors import TerminalDataError
from perennial.storage import ColdState, CopiedFile, StoredFile, Temperature, algorithm_of, local_name, storage_for

# A link is refused across file systems, by file systems without links, when an inode has too many of them, and where
# something is. If that is the same file, it gets another name for a moment: its time of change says that it is new.
_NO_LINK = {errno.EEXIST, errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class LocalStorage:
    """Files of this machine, or of a file system that it mounts. There are no storage classes here."""

    in_flight = 8
    # A listing looks at each file.
    listed_at_once = 1
    cold_classes: frozenset[str] = frozenset()

    def list_files(self, prefix: str) -> Iterator[StoredFile]:
        for directory, _, names in os.walk(_path(prefix)):
            for name in names:
                if (found := self._stat(Path(directory, name), prefix)) is not None:
                    yield found

    def stat(self, uri: str) -> StoredFile | None:
        return self._stat(_path(uri), uri)

    def open(self, uri: str) -> BufferedReader:
        return _path(uri).open("rb")

    def read(self, uri: str) -> bytes:
        return _path(uri).read_bytes()

    def write(self, uri: str, content: bytes) -> None:
        with _replacing(_path(uri)) as temporary:
            temporary.write_bytes(content)
            _flush(temporary)
        _flush(_path(uri).parent)

    def upload(self, path: Path, uri: str, storage_class: str | None = None) -> None:  # noqa: ARG002
        with _replacing(_path(uri)) as temporary:
            _link_or_copy(path, temporary)
            _flush(temporary)
        _flush(_path(uri).parent)

    def keeps_deleted(self, uri: str) -> str:  # noqa: ARG002
        return ""

    def lifecycle_rules(self, uri: str) -> list[Mapping[str, Any]]:  # noqa: ARG002
        return []

    def delete(self, uri: str) -> None:
        _path(uri).unlink(missing_ok=True)

    def checksum(self, uri: str, algorithm: str = "") -> str:
        algorithm = algorithm or "sha256"
        if algorithm not in ("sha256", "md5"):
            raise TerminalDataError(f"{uri} has a recorded {algorithm}, which cannot be computed for a local file.")
        with _path(uri).open("rb", buffering=0) as file:
            return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"

    def copy(
        self,
        origin: str,
        destination: str,
        storage_class: str | None = None,  # noqa: ARG002
        algorithm: str = "",
        listed: StoredFile | None = None,  # noqa: ARG002
    ) -> CopiedFile:
        source, path = storage_for(origin), _path(destination)
        is_local = isinstance(source, LocalStorage)
        if is_local and _is_linked(_path(origin), path):
            # A link is as old as its content, and other programs delete what no table lists once it looks old.
            with suppress(OSError):
                os.utime(path)
        else:
            with _replacing(path) as temporary:
                if is_local:
                    _link_or_copy(_path(origin), temporary)
                else:
                    with source.open(origin) as original, temporary.open("wb") as copy:
                        shutil.copyfileobj(original, copy)
        # Also if it is linked, because whoever wrote the original may not have flushed it.
        _flush_content(path)
        copied_checksum, copied_bytes = self.checksum(destination, algorithm), path.stat().st_size
        if is_local and path.samefile(_path(origin)):
            # Two names of one file: reading one verifies both.
            return CopiedFile(copied_bytes, copied_bytes, copied_checksum, copied_checksum)
        found = source.stat(origin)
        original_checksum = source.checksum(origin, algorithm_of(copied_checksum))
        return CopiedFile(found.file_bytes if found else 0, copied_bytes, original_checksum, copied_checksum)

    def make_durable(self, uris: Collection[str]) -> None:
        for directory in {uri.rpartition("/")[0] for uri in uris}:
            _flush(_path(directory))

    def look_cold(self, uri: str) -> ColdState:  # noqa: ARG002
        return ColdState(Temperature.READABLE)

    def thaw(self, uri: str, tier: str, faster: bool = False) -> ColdState:  # noqa: ARG002
        return ColdState(Temperature.READABLE)

    @staticmethod
    def _stat(path: Path, asked: str) -> StoredFile | None:
        try:
            found = path.stat()
        except OSError as error:
            # A link to itself is not a file either.
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        # A new link keeps the modification time of its content; only the change time shows that it is new.
        changed = max(found.st_mtime_ns, found.st_ctime_ns)
        scheme = asked.removesuffix(local_name(asked))
        return StoredFile(f"{scheme}{path}", found.st_size, datetime.fromtimestamp(changed / 1e9, UTC))


def _path(uri: str) -> Path:
    return Path(local_name(uri))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Build a file beside its final address and move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        # Renaming one link of a file onto another link of the same file leaves both in place.
        temporary.unlink(missing_ok=True)


def _is_linked(origin: Path, destination: Path) -> bool:
    """Give a file a second name; returns False if the name is taken or the file cannot have it."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, destination)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _link_or_copy(origin: Path, destination: Path) -> None:
    if not _is_linked(origin, destination):
        shutil.copyfile(origin, destination)


def _flush_content(path: Path) -> None:
    # Not the inode, which a new link has changed: that would commit the journal once for each file.
    _flush(path, getattr(os, "fdatasync", os.fsync))


def _flush(path: Path, flush: Callable[[int], None] | None = None) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        (flush or os.fsync)(descriptor)
    finally:
        os.close(descriptor)
