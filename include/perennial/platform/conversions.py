"""Single values as database drivers return them, converted without loss, or refused with the expected form.

Whole numbers and UUIDs become text; 0/1 and true/false become booleans; ISO 8601 text and epoch seconds become times
(UTC if they have no zone); JSON text and native arrays become lists of strings. Everything else is a `ValueError` that
says what is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from perennial.platform.times import instant

# Half a surrogate pair is not a character, and no file or database can store it.
HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
CONTROL_CHARACTERS = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_WORDS = {"0": False, "1": True, "false": False, "true": True}

ACCEPTED = {
    "string": ("text", "a string, a whole number or a UUID"),
    "boolean": ("boolean", "a boolean, 0 or 1"),
    "timestamptz": ("time", "a time, ISO 8601 text or epoch seconds; UTC where it has no zone"),
    "list<string>": ("list", "an array of text, or a JSON list of strings"),
}
"""For each column type, the forms that a database may return, in words."""


def text(value: Any) -> str:
    """Read text."""
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"text is needed, not {type(value).__name__}")
    if HALF_CHARACTERS.search(value):
        raise ValueError("it has half of a surrogate pair, which is not a character")
    return value


def refuse_control_characters(value: str) -> None:
    """Refuse an id or a tag that forms, addresses or e-mails would change."""
    if CONTROL_CHARACTERS.search(value):
        raise ValueError("ids and tags have no control characters, such as NUL or line breaks")


def json_text(value: Any) -> str:
    """Return JSON as text; drivers return the database's own JSON type as Python objects."""
    return text(json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool | float) else value)


def refuse_unreadable_json(value: str) -> None:
    """Refuse text that is not JSON."""
    from pydantic_core import from_json

    # The users export uses the same parser, so a value that is accepted here can be exported.
    try:
        from_json(value, allow_inf_nan=False)
    except ValueError:
        raise ValueError("it is not JSON") from None


def boolean(value: Any) -> bool:
    """Read a boolean."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, int | str) else ""
    if word not in _WORDS:
        raise ValueError("true, false, 0 or 1 is needed")
    return _WORDS[word]


def strings(value: Any) -> list[str]:
    """Read a list of strings."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
        raise ValueError("a JSON list of strings, or an array of text, is needed")
    return [text(item) for item in found]


def refuse_others(choices: tuple[str, ...], value: str) -> None:
    """Refuse a value that is not one of a few words."""
    if value not in choices:
        raise ValueError(f"it must be {', '.join(choices[:-1])} or {choices[-1]}")


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "string": text,
    "boolean": boolean,
    "timestamptz": instant,
    "list<string>": strings,
}
EXACT: dict[str, set[type]] = {
    "string": {str, type(None)},
    "boolean": {bool, type(None)},
    "timestamptz": {type(None)},
    "list<string>": {type(None)},
}
"""The types of values that need no conversion."""
