"""Files for pyiceberg: Arrow's file systems, created once per process, bucket and credential."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from perennial.storage import S3_SCHEMES

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

HELD = "perennial.file-systems"
"""The property of a catalog under which it holds the file systems that its tables share."""
# It logs for every loaded table that this class is available.
logging.getLogger("pyiceberg.io").setLevel(logging.WARNING)
# The properties that a file system is created from, besides its address.
_OF_FILE_SYSTEMS = ("s3.", "client.", "gcs.", "adls.", "hdfs.")

# By process too: the connections of a file system that was made before a fork are the parent's.
_Place = tuple[int, str, str | None]
_open: WeakValueDictionary[tuple[_Place, frozenset[tuple[str, object]]], FileSystem] = WeakValueDictionary()


class SharedFileIO(PyArrowFileIO):
    """Arrow's files, by file systems that all tables with the same credentials share.

    pyiceberg creates one for each table that it loads, with some dozen descriptors each. Here a file system is open as
    long as a table or the catalog holds it, and the catalog holds the latest one of each bucket: when a credential is
    replaced, its file system is closed.
    """

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        # Not cached on the instance: it would hold its own results, and itself.
        del self.fs_by_scheme
        self._held: dict[_Place, FileSystem] = {}

    def fs_by_scheme(self, scheme: str, netloc: str | None = None) -> FileSystem:
        """Return the file system of a bucket, with the currently valid keys."""
        if scheme in S3_SCHEMES:
            scheme = S3_SCHEMES[0]
        properties = self.current_properties()
        place = (os.getpid(), scheme, netloc)
        given = frozenset(item for item in properties.items() if item[0].startswith(_OF_FILE_SYSTEMS))
        found = _open.get((place, given))
        if found is None:
            made = PyArrowFileIO(properties)._initialize_fs(scheme, netloc)
            # Another thread may have been faster.
            found = _open.setdefault((place, given), made)
        self._held[place] = self.properties.get(HELD, {})[place] = found
        return found

    def current_properties(self) -> Properties:
        """Return the properties, with the currently valid keys."""
        return self.properties
