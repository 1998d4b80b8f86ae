"""How far an object on S3 is from being readable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from perennial.storage import ColdState, Temperature
from perennial.storage.s3_errors import COLD, error_code, s3_errors

COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
# A thaw that ends sooner than this is requested again, which prolongs it, because copying may take long.
PROLONG_BELOW = timedelta(days=1)

_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
# Tiers of Intelligent-Tiering, with the class that has the same thaw times.
_ARCHIVE_TIERS = {"ARCHIVE_ACCESS": "GLACIER", "DEEP_ARCHIVE_ACCESS": "DEEP_ARCHIVE"}


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
        state = _state(head)
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


def _state(head: Mapping[str, Any]) -> ColdState:
    frozen_as = _ARCHIVE_TIERS.get(head.get("ArchiveStatus", ""), head.get("StorageClass", ""))
    if frozen_as not in COLD_CLASSES:
        return ColdState(Temperature.READABLE)
    said, until = head.get("Restore", ""), _thawed_until(head)
    if 'ongoing-request="true"' in said:
        return ColdState(Temperature.THAWING, frozen_as)
    # After its date it may or may not still be readable.
    thawed = 'ongoing-request="false"' in said and (until is None or until > datetime.now(UTC))
    return ColdState(Temperature.READABLE if thawed else Temperature.FROZEN, frozen_as)


def runs_out(head: Mapping[str, Any]) -> bool:
    """Whether a thawed object is about to be cold again."""
    until = _thawed_until(head)
    return until is not None and until - datetime.now(UTC) < PROLONG_BELOW


def _thawed_until(head: Mapping[str, Any]) -> datetime | None:
    until = _EXPIRY.search(head.get("Restore", ""))
    return parsedate_to_datetime(until[1]) if until is not None else None
