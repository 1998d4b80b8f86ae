"""The parameter `at` of a filter: a moment in ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, datetime

TIMESTAMP_PATTERN = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)


def timestamp(text: str) -> datetime | None:
    """Read the parameter `at`: ISO 8601, UTC where it names no offset; None when it is no timestamp."""
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
