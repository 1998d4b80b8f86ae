"""The fields of a Currents record, and how an unusual record is read field by field.

Records come as Arrow tables with the column `line` (ordinal of the record, from 1), any of FIELDS, and, where a record
cannot be read, `reason` and `payload` (the record as far as it could be read).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from perennial.engines.columns import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

# The field names of Currents, each with its stored type, by Iceberg's name.
FIELDS = {
    "event_type": "string",
    "id": "string",
    "time": "double",
    "user_id": "string",
    "external_user_id": "string",
    "campaign_id": "string",
    "canvas_id": "string",
    "canvas_step_id": "string",
    "message_variation_id": "string",
    "canvas_variation_id": "string",
    "dispatch_id": "string",
    "send_id": "string",
    "link_alias": "string",
    "machine_open": "boolean",
    "is_suspected_bot_click": "boolean",
    "in_control_group": "boolean",
    "conversion_behavior_index": "int",
    "action": "string",
}
FIELD_MEANINGS = {
    "event_type": "Event type, if the path of the file has none",
    "id": "Id of the event: two records with the same id are one event",
    "time": "When it happened",
    "user_id": "The platform's user id",
    "external_user_id": "The customer's own user id",
    "campaign_id": "Campaign, `source_id` of the platform's table `sources`",
    "canvas_id": "Canvas, likewise; used if there is no campaign_id",
    "canvas_step_id": "Step of the Canvas",
    "message_variation_id": "Variation of the campaign",
    "canvas_variation_id": "Variation of the Canvas",
    "dispatch_id": "Dispatch of the message",
    "send_id": "Send of the message",
    "link_alias": "Alias of the clicked link",
    "machine_open": "Whether a machine, not a person, opened the e-mail",
    "is_suspected_bot_click": "Whether the click looks like that of a link scanner",
    "in_control_group": "Whether the user who entered the Canvas is in its control group",
    "conversion_behavior_index": "Which conversion event; 0 is the primary one",
    "action": "Category of the keyword of an inbound SMS",
}
"""The meaning of each of FIELDS, for docs/your-data.md."""
EXPECTED = {"string": "text", "double": "epoch seconds", "boolean": "true or false", "int": "a whole number"}
"""The expected value of a field, by its stored type."""
# Keeps one huge line from filling the table of rejected records; the landing file has the rest.
PAYLOAD_CHARACTERS = 100_000
FLAG_WORDS = {"true": True, "false": False}

# How the readers say that a part of a file cannot be read, and not just one record.
_DAMAGE = re.compile(
    r"damaged gzip file|not an Avro file|nothing from record \d+ on|records? \d+( to \d+)? cannot be read"
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Records:
    """A part of a landing file.

    Attributes:
        record_count: Records in it, including unreadable ones.
        rows: The records; None if the event type is only counted.
    """

    record_count: int
    rows: pa.Table | None = None


def arrow_fields() -> dict[str, pa.DataType]:
    """Return the stored types of fields by name."""
    return {name: arrow_type(kind) for name, kind in FIELDS.items()}


def records_of(rows: Iterable[Mapping[str, Any]]) -> Records:
    """Put rows of `read_fields` and `unreadable` into one part."""
    import pyarrow as pa

    schema = pa.schema({"line": pa.int64(), **arrow_fields(), "reason": pa.string(), "payload": pa.string()})
    listed = list(rows)
    return Records(len(listed), pa.Table.from_pylist(listed, schema=schema))


def unreadable(line: int, reason: str, payload: str = "", event_type: str | None = None) -> dict[str, Any]:
    """Describe a record that cannot be read."""
    return {
        "line": line,
        "reason": reason,
        "payload": _encodable(payload[:PAYLOAD_CHARACTERS]),
        "event_type": event_type,
    }


def is_damage(reason: str) -> bool:
    """Whether the reason of a rejection is that a part of a file cannot be read, which may hold anybody's records."""
    return _DAMAGE.match(reason) is not None


def read_fields(line: int, record: object, payload: str | None = None) -> dict[str, Any]:
    """Read one decoded record field by field.

    Numbers and flags written as text are accepted, ids written as numbers are not: a number that looks like the same
    text would not be the same id.

    Args:
        line: Its place in the file.
        record: The decoded record.
        payload: Its text; None to write it from the record.
    """
    if not isinstance(record, Mapping):
        return unreadable(line, "wrong type: not an object with fields", _text_of(record, payload))
    row: dict[str, Any] = {"line": line}
    for name, kind in FIELDS.items():
        value = record.get(name)
        if value is None or value == "":
            continue
        try:
            row[name] = _READERS[kind](value)
        except (ValueError, OverflowError):
            shown = _encodable(repr(value)[:200])
            reason = f"wrong type: field {name} is {shown} ({type(value).__name__}); expected {EXPECTED[kind]}"
            return unreadable(line, reason, _text_of(record, payload), row.get("event_type"))
    return row


def _text_of(record: object, payload: str | None) -> str:
    return json.dumps(record, default=str) if payload is None else payload


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise ValueError
    # Half a surrogate pair is not a character, and nothing can store it.
    value.encode("utf-8")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError


def _flag(value: object) -> bool:
    if isinstance(value, str) and value.lower() in FLAG_WORDS:
        return FLAG_WORDS[value.lower()]
    if not isinstance(value, bool):
        raise ValueError
    return value


def _index(value: object) -> int:
    number = _seconds(value)
    if not math.isfinite(number) or number != int(number) or abs(number) >= 1 << 31:
        raise ValueError
    return int(number)


_READERS: dict[str, Callable[[object], Any]] = {
    "string": _text,
    "double": _seconds,
    "boolean": _flag,
    "int": _index,
}
