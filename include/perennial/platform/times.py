"""Times of platforms: parsed, refused if they cannot be right (R24), with the SQL that maps a refused value."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from perennial.refusals import lies_ahead

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No messaging platform is older: an earlier time stands for "never", or was read in the wrong unit."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_TEXT = re.compile(r"-?\d{9,}(\.\d+)?")
_ISO_TEXT = re.compile(r"\d{4}-\d{2}-\d{2}([T ].+)?")
# A larger number is milliseconds, microseconds or nanoseconds: in seconds it would be the year 5138.
_MOST_SECONDS = 100_000_000_000
_LONGEST_LITERAL = 100


def instant(value: Any) -> datetime:
    """Parse a time; one without a zone is in UTC.

    Raises:
        ValueError: It is not a time.
    """
    try:
        found = _parsed(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("a time is needed: ISO 8601 or epoch seconds") from None


def _parsed(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        text = value.strip().removesuffix(" UTC")
        if _ISO_TEXT.fullmatch(text):
            return datetime.fromisoformat(text)
        if _EPOCH_TEXT.fullmatch(text):
            return _EPOCH + timedelta(seconds=float(text))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return _EPOCH + timedelta(seconds=value)
    raise ValueError(value)


def refuse_too_early(moment: datetime) -> None:
    """Refuse times that mean "never": 0, 0001-01-01, 1970-01-01 in some zone (R24)."""
    if moment < EARLIEST:
        raise ValueError(f"a time before {EARLIEST:%Y} cannot be right")


def refuse_deletion_to_come(now: datetime, moment: datetime) -> None:
    """Refuse a deletion before 2000 or later than now: it would hide rows that are there (R24)."""
    refuse_too_early(moment)
    if lies_ahead(moment, now):
        raise ValueError("data cannot have been deleted later than now")


def mapped_time(column: str, value: Any, required: bool, now: datetime) -> str | None:
    """Write the expression that maps a refused time, for SQLite, PostgreSQL and their like.

    Args:
        column: Name of the column.
        value: As the driver returned it.
        required: Whether the column must not be null; the time of the check then replaces it.
        now: Wall clock.

    Returns:
        What to select instead of the column; None if no expression can map it.
    """
    literal = _literal(value)
    if literal is None:
        return None
    if divisor := _divisor(value):
        return f"CAST({column} AS BIGINT) / {divisor} AS {column}"
    mapped = f"NULLIF({column}, {literal})"
    return f"COALESCE({mapped}, {_alike(value, now)}) AS {column}" if required else f"{mapped} AS {column}"


def _literal(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= _LONGEST_LITERAL:
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return f"'{value.isoformat(sep=' ')}'"
    if isinstance(value, date):
        return f"'{value.isoformat()}'"
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _divisor(value: Any) -> int | None:
    """Return the divisor that turns a finer unit into seconds; None if it is in seconds, or not a number."""
    number = float(value) if isinstance(value, str) and _EPOCH_TEXT.fullmatch(value) else value
    if not isinstance(number, int | float):
        return None
    units = (1_000, 1_000_000, 1_000_000_000)
    return next((unit for unit in units if _MOST_SECONDS <= abs(number) < _MOST_SECONDS * unit), None)


def _alike(value: Any, now: datetime) -> str:
    """Write a time in the form of another one, so that one column can hold both."""
    if isinstance(value, int | float):
        return str(int(now.timestamp()))
    if isinstance(value, datetime):
        return str(_literal(now.replace(microsecond=0, tzinfo=now.tzinfo if value.tzinfo else None)))
    return f"'{now:%Y-%m-%d}'" if isinstance(value, date) else f"'{now:%Y-%m-%d %H:%M:%S}'"
