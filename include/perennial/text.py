"""How numbers, sizes, times and names are written wherever a person reads them."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta

# Emoji and several scripts are built with the two joiners; every other invisible character is shown as its escape.
_JOINERS = "\u200c\u200d"
_RIGHT_TO_LEFT = {"R", "AL", "AN"}
# Not as a part of something longer, nor in quotation marks: that is an id.
_ISO_DATE = re.compile(
    r"(?<![\w.'-])(?P<month>\d{4}-\d{2})(?:-(?P<day>\d{2})(?:[ T](?P<time>\d{2}:\d{2})(?= UTC))?)?(?![\w'-])"
)
_UNITS = ("kB", "MB", "GB", "TB", "PB")


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Write `1 source`, `1,234 sources`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def escape_invisible(text: str) -> str:
    r"""Make every character visible: line breaks, controls and direction overrides become `\n`, `\u202e` …"""
    return "".join(char if char.isprintable() or char in _JOINERS else _escaped(char) for char in text)


def bidi_isolate(text: str) -> str:
    """As `shown`; text that holds right-to-left letters does not reorder what stands next to it."""
    visible = escape_invisible(text)
    mixed = any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in visible)
    return f"\u2068{visible}\u2069" if mixed else visible


def shortened(text: str, limit: int) -> str:
    """Cut after `limit` characters, saying how many are left out; for text that has its full form elsewhere."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()} … ({len(text) - limit:,} more characters)"


def one_line(text: str, limit: int = 60) -> str:
    """Fit somebody's text into a subject: one line, visible characters only, cut with an ellipsis."""
    line = escape_invisible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1].rstrip(_JOINERS + " ") + "…"


def format_bytes(number: int) -> str:
    """Write bytes for a person, in powers of 1,000: `999 bytes`, `1.5 MB`."""
    if number < 1_000:
        return pluralize(number, "byte")
    value = float(number)
    for unit in _UNITS:
        value /= 1_000
        if value < 999.95 or unit == _UNITS[-1]:
            break
    return f"{value:,.1f} {unit}"


def exact_size(number: int) -> str:
    """Write bytes for a person, and exactly: `1.5 MB (1,500,000 bytes)`."""
    return format_bytes(number) if number < 1_000 else f"{format_bytes(number)} ({number:,} bytes)"


def duration(span: timedelta) -> str:
    """Write `42 seconds`, `2 min 5 s`, `2 minutes`, `1 h 4 min`, `3 hours`; never negative."""
    minutes, seconds = divmod(max(0, round(span.total_seconds())), 60)
    if not minutes:
        return pluralize(seconds, "second")
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min" if minutes else pluralize(hours, "hour")
    return f"{minutes} min {seconds} s" if seconds else pluralize(minutes, "minute")


def spoken(span: timedelta) -> str:
    """Write a duration in whole minutes as it stands in a sentence: `15 minutes`, `1 hour 4 minutes`."""
    hours, minutes = divmod(max(1, round(span.total_seconds() / 60)), 60)
    parts = [pluralize(number, unit) for number, unit in ((hours, "hour"), (minutes, "minute")) if number]
    return " ".join(parts)


def span(shortest: timedelta | None, longest: timedelta) -> str:
    """Write how long something takes: `3 to 5 hours`, `1 to 5 minutes`, `up to 12 hours`."""
    unit, name = (timedelta(hours=1), "hour") if longest >= timedelta(hours=1) else (timedelta(minutes=1), "minute")
    return f"{f'{round(shortest / unit)} to' if shortest else 'up to'} {pluralize(round(longest / unit), name)}"


def moment(at: datetime) -> str:
    """Write `24 Nov 2026, 04:00 UTC`."""
    return f"{at.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def day(at: date) -> str:
    """Write `24 Nov 2026`."""
    in_utc = at.astimezone(UTC) if isinstance(at, datetime) else at
    return f"{in_utc:%-d %b %Y}"


def dated(text: str) -> str:
    """Write the dates of a text as `day` and `moment` do: `2026-11-24`, `2026-11`, `2026-11-24 04:00 UTC`."""
    return _ISO_DATE.sub(_spoken_date, text)


def _spoken_date(found: re.Match[str]) -> str:
    try:
        at = datetime.fromisoformat(f"{found['month']}-{found['day'] or '01'}")
    except ValueError:
        return found[0]
    if not found["day"]:
        return f"{at:%b %Y}"
    return f"{day(at.date())}, {found['time']}" if found["time"] else day(at.date())


def markdown_text(text: str) -> str:
    """Write text that somebody else gave as text of Markdown, and nothing else."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return "".join(f"\\{character}" if character in "\\`*_{}[]<>()#+-.!|" else character for character in shown)


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
