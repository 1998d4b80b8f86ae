"""Whom a record is about that could not be read: by its fields where it can be parsed, otherwise by whole words.

A record that names a user is about that user alone, whatever else stands in it, so a text that merely contains an id
takes nobody else's record along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

# Of a merged profile, the product also names the one that it has become a part of.
USER_FIELDS: Final = ("user_id", "orphaned_by_id")
EXTERNAL_FIELDS: Final = ("external_user_id",)
# Fields of Currents that never name a person.
_OTHER_FIELDS = frozenset(
    (
        "event_type", "id", "time", "campaign_id", "canvas_id", "canvas_step_id", "message_variation_id",
        "canvas_variation_id", "dispatch_id", "send_id", "link_alias", "machine_open", "is_suspected_bot_click",
        "in_control_group", "conversion_behavior_index", "action",
    )
)  # fmt: skip
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf'"({"|".join((*USER_FIELDS, *EXTERNAL_FIELDS))})"\s*:\s*({_QUOTED}|-?\d+)')
_STRING = re.compile(_QUOTED)
_WORD = re.compile(r"[\w@.+%-]+")


@dataclass(frozen=True)
class Named:
    """The people that a text names.

    Attributes:
        user_ids: By the platform's id.
        external_user_ids: By the customer's own id.
        words: Where it names nobody by a field: all of its words, each of which may be an id or an address.
    """

    user_ids: frozenset[str] = frozenset()
    external_user_ids: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()


def named_in(text: str) -> Named:
    """Find whom the text of a record names."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        pairs = [(name, str(value)) for name, value in record.items() if _is_id(value)]
        return _by_field(pairs) or Named(words=frozenset(_values(record)))
    pairs = [(name, _decoded(value)) for name, value in _PAIR.findall(text)]
    return _by_field(pairs) or Named(words=frozenset(words_of(text)))


def words_of(text: str) -> Iterator[str]:
    """Yield the words of a text that may be ids or addresses, and what stands in quotation marks, decoded."""
    for word in _WORD.findall(text):
        yield word
        # At the end of a sentence.
        yield word.rstrip(".")
    for quoted in _STRING.findall(text):
        yield _decoded(quoted)


def is_word(text: str) -> bool:
    """Whether an id is found as a word wherever it stands; others are only found in quotation marks."""
    return _WORD.fullmatch(text) is not None and not text.endswith(".")


def _is_id(value: object) -> bool:
    return (isinstance(value, str) and value != "") or (isinstance(value, int) and not isinstance(value, bool))


def _by_field(pairs: Iterable[tuple[str, str]]) -> Named | None:
    found = list(pairs)
    users = frozenset(value for name, value in found if name in USER_FIELDS)
    external = frozenset(value for name, value in found if name in EXTERNAL_FIELDS)
    return Named(users, external) if users or external else None


def _decoded(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return quoted.strip('"')


def _values(value: Any) -> Iterator[str]:
    """Yield the texts and numbers of a parsed record that names nobody by a field, known fields left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in _OTHER_FIELDS:
                yield from _values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner)
    elif _is_id(value):
        yield str(value)
