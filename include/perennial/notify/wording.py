"""How figures, times and other people's text are put in front of a reader."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime, timedelta

from perennial.counting import count as count

# Emoji and several scripts are built with the two joiners; every other invisible character is shown as its escape.
_JOINERS = "\u200c\u200d"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
_UNITS = ("kB", "MB", "GB", "TB", "PB")


def shown(text: str) -> str:
    r"""Make every character visible: line breaks, controls and direction overrides become `\n`, `\u202e` …"""
    return "".join(char if char.isprintable() or char in _JOINERS else _escaped(char) for char in text)


def isolated(text: str) -> str:
    """As `shown`; text that holds right-to-left letters does not reorder what stands next to it."""
    visible = shown(text)
    mixed = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in visible)
    return f"\u2068{visible}\u2069" if mixed else visible


def shortened(text: str, limit: int) -> str:
    """Cut after `limit` characters, saying how many are left out; for text that has its full form elsewhere."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()} … ({len(text) - limit:,} more characters)"


def one_line(text: str, limit: int = 60) -> str:
    """Fit somebody's text into a subject: one line, visible characters only, cut with an ellipsis."""
    line = shown(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip(_JOINERS + " ") + "…"


def size(number: int) -> str:
    """Write bytes for a person, in powers of 1,000: `999 bytes`, `1.5 MB`."""
    if number < 1_000:
        return count(number, "byte")
    value = float(number)
    for unit in _UNITS:
        value /= 1_000
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:,.1f} {unit}"


def exact_size(number: int) -> str:
    """Write bytes for a person, and exactly: `1.5 MB (1,500,000 bytes)`."""
    return size(number) if number < 1_000 else f"{size(number)} ({number:,} bytes)"


def duration(span: timedelta) -> str:
    """Write `42 seconds`, `2 min 5 s`, `1 h 4 min`; never negative."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return count(seconds, "second")
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3_600:,} h {seconds % 3_600 // 60} min"


def spoken(span: timedelta) -> str:
    """Write a duration in whole minutes as it stands in a sentence: `15 minutes`, `1 hour 4 minutes`."""
    hours, minutes = divmod(max(1, round(span.total_seconds() / 60)), 60)
    parts = [count(number, unit) for number, unit in ((hours, "hour"), (minutes, "minute")) if number]
    return " ".join(parts)


def span(shortest: timedelta | None, longest: timedelta) -> str:
    """Write how long something takes: `3 to 5 hours`, `1 to 5 minutes`, `up to 12 hours`."""
    unit, name = (timedelta(hours=1), "hour") if longest >= timedelta(hours=1) else (timedelta(minutes=1), "minute")
    return f"{f'{round(shortest / unit)} to' if shortest else 'up to'} {count(round(longest / unit), name)}"


def moment(at: datetime) -> str:
    """Write `24 Nov 2026, 04:00 UTC`."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def day(at: datetime) -> str:
    """Write `24 Nov 2026`."""
    return f"{at.astimezone(UTC):%-d %b %Y}"


def visible_json(value: object) -> str:
    """Write JSON that reads back to the same value and holds no invisible character."""
    return "".join(
        char if char.isprintable() else _json_escape(char) for char in json.dumps(value, ensure_ascii=False)
    )  # fmt: skip


def _json_escape(char: str) -> str:
    return json.dumps(char).strip('"')


def _escaped(char: str) -> str:
    if unicodedata.category(char) == "Zs":
        return " "
    return char.encode("unicode_escape").decode("ascii")
