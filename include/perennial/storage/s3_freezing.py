"""Which services freeze what is in a cold storage class, and which only use its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from perennial.storage import ColdState, Temperature
from perennial.storage.s3_cold import cold_state
from perennial.storage.s3_errors import COLD, error_code, s3_errors


class ColdObjects:
    """Objects in cold classes, of which Ceph and SeaweedFS have only the names: there they are read like all others.

    Args:
        client: Reads an object that seems to be frozen, until the first of a bucket is refused.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._freezing: set[str] = set()

    def state(self, uri: str, head: Mapping[str, Any]) -> ColdState:
        """Return the state of an object's thaw, which never includes the tier, from the answer to a HEAD request."""
        state = cold_state(head)
        # What has been thawed before is frozen again; until then it may be readable for a moment.
        if state.temperature is Temperature.FROZEN and "Restore" not in head and self._is_read(uri):
            return ColdState(Temperature.READABLE)
        return state

    def _is_read(self, uri: str) -> bool:
        bucket, _, key = uri.partition("://")[2].partition("/")
        if bucket in self._freezing:
            return False
        with s3_errors(uri, "read"):
            try:
                self._client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].close()
            except ClientError as error:
                if error_code(error) in COLD:
                    self._freezing.add(bucket)
                return False
        return True
