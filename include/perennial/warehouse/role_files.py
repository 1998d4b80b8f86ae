"""Files on S3 for pyiceberg, read and written with the keys that a role has at that moment."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyiceberg.io import (
    AWS_ACCESS_KEY_ID,
    AWS_ROLE_ARN,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    S3_ACCESS_KEY_ID,
    S3_ROLE_ARN,
)
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from perennial.storage.s3 import ROLE_CREDENTIALS

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Configured, or handed out by the catalog for one table.
_OTHERS = (S3_ACCESS_KEY_ID, AWS_ACCESS_KEY_ID, S3_ROLE_ARN, AWS_ROLE_ARN)


class RoleFileIO(PyArrowFileIO):
    """Arrow's files. Arrow takes keys once, but a table is held for longer than a role's keys are good."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        if not any(properties.get(name) for name in _OTHERS):
            # botocore looks at the clock, and asks for others some minutes before these run out.
            credentials, files = properties[ROLE_CREDENTIALS], lru_cache(maxsize=1)(self._files)

            def fs_by_scheme(scheme: str, netloc: str | None = None) -> FileSystem:
                return files(credentials.get_frozen_credentials()).fs_by_scheme(scheme, netloc)

            self.fs_by_scheme = fs_by_scheme

    def _files(self, keys: Any) -> PyArrowFileIO:
        named = {
            AWS_ACCESS_KEY_ID: keys.access_key,
            AWS_SECRET_ACCESS_KEY: keys.secret_key,
            AWS_SESSION_TOKEN: keys.token,
        }
        return PyArrowFileIO({**self.properties, **named})
