"""How far an object on S3 is from being readable, from the answer to a HEAD request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from perennial.storage import ColdState, Temperature

COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
# A thaw that ends sooner than this is requested again, which prolongs it, because copying may take long.
PROLONG_BELOW = timedelta(days=1)

_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
# Tiers of Intelligent-Tiering, with the class that has the same thaw times.
_ARCHIVE_TIERS = {"ARCHIVE_ACCESS": "GLACIER", "DEEP_ARCHIVE_ACCESS": "DEEP_ARCHIVE"}


def cold_state(head: Mapping[str, Any]) -> ColdState:
    """Return S3's state of an object's thaw, which never includes the tier."""
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
