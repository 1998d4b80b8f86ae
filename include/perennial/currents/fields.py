"""What a Currents record is read as, and how one that is out of the ordinary is read field by field.

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

if TYPE_CHECKING:
    import pyarrow as pa

# The product's field names, each with the DuckDB type it is kept in.
FIELDS = {
    "event_type": "VARCHAR",
    "id": "VARCHAR",
    "time": "DOUBLE",
    "user_id": "VARCHAR",
    "external_user_id": "VARCHAR",
    "campaign_id": "VARCHAR",
    "canvas_id": "VARCHAR",
    "canvas_step_id": "VARCHAR",
    "message_variation_id": "VARCHAR",
    "canvas_variation_id": "VARCHAR",
    "dispatch_id": "VARCHAR",
    "send_id": "VARCHAR",
    "link_alias": "VARCHAR",
    "machine_open": "BOOLEAN",
    "is_suspected_bot_click": "BOOLEAN",
    "in_control_group": "BOOLEAN",
    "conversion_behavior_index": "INTEGER",
    "action": "VARCHAR",
}
# Keeps one runaway line from filling the table of rejected records; the landing file has the rest.
PAYLOAD_LENGTH = 100_000
FLAG_WORDS = {"true": True, "false": False}

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Records:
    """A part of a landing file.

    Attributes:
        record_count: Records in it, unreadable ones included.
        rows: What was read; None where the event type needs nothing but counting.
    """

    record_count: int
    rows: pa.Table | None = None


def records_of(rows: Iterable[Mapping[str, Any]]) -> Records:
    """Put rows of `read_fields` and `unreadable` into one part."""
    import pyarrow as pa

    kinds = {"VARCHAR": pa.string(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(), "INTEGER": pa.int32()}
    fields = {name: kinds[kind] for name, kind in FIELDS.items()}
    schema = pa.schema({"line": pa.int64(), **fields, "reason": pa.string(), "payload": pa.string()})
    listed = list(rows)
    return Records(len(listed), pa.Table.from_pylist(listed, schema=schema))


def unreadable(line: int, reason: str, payload: str = "", event_type: str | None = None) -> dict[str, Any]:
    """Describe a record that cannot be read."""
    return {"line": line, "reason": reason, "payload": _encodable(payload[:PAYLOAD_LENGTH]), "event_type": event_type}


def read_fields(line: int, record: object, payload: str | None = None) -> dict[str, Any]:
    """Read one decoded record field by field.

    Numbers and flags written as text are accepted, ids written as numbers are not: what looks the same as text would
    no longer be the same id.

    Args:
        line: Its place in the file.
        record: What the decoder made of it.
        payload: Its text; None to write it down from the record.
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
            reason = f"wrong type: field {name} is {shown} ({type(value).__name__}); expected {_EXPECTED[kind]}"
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
    # Half a surrogate pair is no character, and nothing could write it down.
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
    "VARCHAR": _text,
    "DOUBLE": _seconds,
    "BOOLEAN": _flag,
    "INTEGER": _index,
}
_EXPECTED = {"VARCHAR": "text", "DOUBLE": "epoch seconds", "BOOLEAN": "true or false", "INTEGER": "a whole number"}
