"""How far an object on S3 is from being readable, as a look at it tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from perennial.storage import ColdState, Temperature

COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
# What is thawed for less than this is asked for again, which prolongs it: copying may take its time.
PROLONG_BELOW = timedelta(days=1)

_EXPIRY = re.compile(r'expiry-date="([^"]+)"')
# Tiers of Intelligent-Tiering, by the class that thaws alike.
_ARCHIVE_TIERS = {"ARCHIVE_ACCESS": "GLACIER", "DEEP_ARCHIVE_ACCESS": "DEEP_ARCHIVE"}


def cold_state(head: Mapping[str, Any]) -> ColdState:
    """Return what S3 says of an object about being thawed; never in which tier."""
    frozen_as = _ARCHIVE_TIERS.get(head.get("ArchiveStatus", ""), head.get("StorageClass", ""))
    if frozen_as not in COLD_CLASSES:
        return ColdState(Temperature.READABLE)
    said, until = head.get("Restore", ""), _thawed_until(head)
    if 'ongoing-request="true"' in said:
        return ColdState(Temperature.THAWING, frozen_as)
    # Past its date it may still be read, or not any more.
    thawed = 'ongoing-request="false"' in said and (until is None or until > datetime.now(UTC))
    return ColdState(Temperature.READABLE if thawed else Temperature.FROZEN, frozen_as)


def runs_out(head: Mapping[str, Any]) -> bool:
    """Whether a thawed object is about to be cold again."""
    until = _thawed_until(head)
    return until is not None and until - datetime.now(UTC) < PROLONG_BELOW


def _thawed_until(head: Mapping[str, Any]) -> datetime | None:
    until = _EXPIRY.search(head.get("Restore", ""))
    return parsedate_to_datetime(until[1]) if until is not None else None
