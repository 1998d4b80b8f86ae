"""Files of an object store for DuckDB, opened by Arrow with the table's credentials, without an extension."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper


class Buckets:
    """What of Arrow's file systems is asked of several buckets: each may be in another region, and keys run out.

    Args:
        file_system: Of a bucket, as it can be used at that moment.
    """

    type_name = "s3"

    def __init__(self, file_system: Callable[[str], Any]) -> None:
        self._file_system = file_system

    def open_input_file(self, path: str) -> Any:
        return self._of(path).open_input_file(path)

    def get_file_info(self, asked: Any) -> Any:
        """Return the state of one path, of several, or of those of a selector, as Arrow's own file systems do."""
        if isinstance(asked, list):
            return [self.get_file_info(path) for path in asked]
        return self._of(getattr(asked, "base_dir", asked)).get_file_info(asked)

    def _of(self, path: str) -> Any:
        return self._file_system(path.partition("/")[0])


class RemoteFiles(ArrowFSWrapper):  # type: ignore[misc]  # fsspec has no types
    """An Arrow file system whose files several threads may read at once; it is read only."""

    # fsspec would cache each instance for ever, and with it the table.
    cachable = False

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _SharedFile:
        if mode != "rb":
            raise NotImplementedError(f"{path} can only be read through DuckDB, but was opened with mode {mode!r}.")
        return _SharedFile(path, self.fs.open_input_file(self._strip_protocol(path)))


class _SharedFile:
    """An open file with a position for each thread.

    DuckDB uses one handle in all its threads, and seeks and reads in two calls: with one shared position, a thread
    would read at the position of another.
    """

    def __init__(self, path: str, stream: Any) -> None:
        self.path, self.mode = path, "rb"
        self._stream = stream
        self._size = stream.size()
        self._at = threading.local()

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at.position = offset + (0, self.tell(), self._size)[whence]
        return self.tell()

    def tell(self) -> int:
        return getattr(self._at, "position", 0)

    def read(self, count: int = -1) -> bytes:
        start = self.tell()
        wanted = self._size - start if count < 0 else count
        found: bytes = self._stream.read_at(wanted, start)
        self._at.position = start + len(found)
        return found

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
