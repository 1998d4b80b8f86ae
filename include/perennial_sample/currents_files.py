"""Events written the way a Currents connection writes them: Avro and JSON lines, event type and hour in the path."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from perennial_sample.catalog import SOURCES
from perennial_sample.events import ALIASES, EVENT_TYPES, KEYWORDS, NONE, Events

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

CONNECTION = "dataexport.prod-03.S3.integration.perennial-demo"
_JSON_TYPES = ("sms.", "inappmessage.", "canvas.Entry", "behaviors.")
_HEX = np.frombuffer(b"".join(b"%02x" % number for number in range(256)), dtype=np.uint8).reshape(256, 2)
# Characters of a GUID's groups, and where they stand in its 36.
_GUID_PLACES = np.array([place for place in range(36) if place not in (8, 13, 18, 23)])
_USER_SALT, _DISPATCH_SALT = 0x75736572, 0x64697370


@dataclass(frozen=True)
class Delivery:
    """Events that arrive in one file."""

    events: Events
    event_type: str
    number: int

    @property
    def delivered_at(self) -> datetime:
        """When the last of them arrived."""
        return datetime.fromtimestamp(int(self.events["arrived"].max()), UTC)

    @property
    def suffix(self) -> str:
        if not any(part in self.event_type for part in _JSON_TYPES):
            return ".avro"
        return ".json.gz" if self.number % 2 else ".json"

    @property
    def path(self) -> Path:
        folder = Path(CONNECTION, f"event_type={self.event_type}", f"date={self.delivered_at:%Y-%m-%d-%H}")
        return folder / f"part-{self.number:05d}{self.suffix}"


def deliveries(events: Events, first_number: int, file_rows: int) -> Iterator[Delivery]:
    """Cut events, in the order they arrived, into files of one event type and at most `file_rows` rows each."""
    by_type = events[np.lexsort((events["arrived"], events["type"]))]
    codes, starts = np.unique(by_type["type"], return_index=True)
    number = first_number
    for code, part in zip(codes, np.split(by_type, starts[1:]), strict=True):
        for start in range(0, len(part), file_rows):
            yield Delivery(part[start : start + file_rows], EVENT_TYPES[code], number)
            number += 1


def write_delivery(root: Path, delivery: Delivery, seed: int, broken_lines: Sequence[str] = ()) -> Path:
    """Write one file below `root`, as old as its delivery.

    Args:
        root: The landing directory, or where files wait for their turn.
        delivery: What to write.
        seed: Makes the ids.
        broken_lines: Lines to put first; only for JSON.
    """
    path = root / delivery.path
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = frame(delivery, seed)
    if delivery.suffix == ".avro":
        rows.write_avro(path, compression="deflate", name="currents")
    else:
        content = io.BytesIO()
        content.writelines(f"{line}\n".encode() for line in broken_lines)
        rows.write_ndjson(content)
        packed = delivery.suffix.endswith(".gz")
        path.write_bytes(gzip.compress(content.getvalue(), 1, mtime=0) if packed else content.getvalue())
    arrived = delivery.delivered_at.timestamp()
    os.utime(path, (arrived, arrived))
    return path


def frame(delivery: Delivery, seed: int) -> pl.DataFrame:
    """Spell events out with the product's field names; a field that an event type does not have is left out."""
    import polars as pl

    events, kind = delivery.events, delivery.event_type
    columns: dict[str, Any] = {
        "id": pl.Series(_guids(events["ordinal"], seed)),
        "time": events["time"],
        "user_id": pl.Series(_guids(events["user"], seed + _USER_SALT)),
        "external_user_id": "customer-" + pl.Series(events["user"] + 1).cast(pl.String).str.zfill(6),
    }
    if "behaviors" not in kind:
        columns |= _source_columns(events, seed)
    if kind.endswith("email.Click"):
        columns["link_alias"] = _gathered(ALIASES, events["alias"])
        columns["is_suspected_bot_click"] = events["machine"] == 1
    if kind.endswith("email.Open"):
        columns["machine_open"] = events["machine"] == 1
    if kind.endswith("canvas.Entry"):
        columns["in_control_group"] = events["control"] == 1
    if kind.endswith("Conversion"):
        columns["conversion_behavior_index"] = events["conversion"].astype(np.int32)
    if kind.endswith("InboundReceive"):
        columns["action"] = _gathered(KEYWORDS, events["keyword"])
    return pl.DataFrame(columns)


def _source_columns(events: Events, seed: int) -> dict[str, Any]:
    import polars as pl

    index = events["source"].astype(np.int64)
    campaigns = [source.source_id if source.kind == "campaign" else None for source in SOURCES]
    canvases = [source.source_id if source.kind == "canvas" else None for source in SOURCES]
    is_canvas = np.array([source.kind == "canvas" for source in SOURCES] + [False])[index]
    # Variations and steps of all sources in one list each, ten places to a source.
    place = index * 10
    variant = np.where((index == NONE) | (events["variant"] == NONE), NONE, place + events["variant"])
    step = np.where((index == NONE) | (events["step"] == NONE), NONE, place + events["step"])
    sent = events["dispatch"] != NONE
    dispatches = pl.Series(_guids(index * 10_000_000 + events["dispatch"], seed + _DISPATCH_SALT))
    return {
        "campaign_id": _gathered(campaigns, index),
        "canvas_id": _gathered(canvases, index),
        "canvas_step_id": _gathered(_listed("step_ids"), step),
        "message_variation_id": _gathered(_listed("variant_ids"), np.where(is_canvas, NONE, variant)),
        "canvas_variation_id": _gathered(_listed("variant_ids"), np.where(is_canvas, variant, NONE)),
        "dispatch_id": pl.select(pl.when(pl.Series(sent)).then(dispatches)).to_series(),
    }


@cache
def _listed(attribute: str) -> tuple[str | None, ...]:
    listed: list[str | None] = []
    for source in SOURCES:
        names = getattr(source, attribute)
        listed += [*names, *[None] * (10 - len(names))]
    return tuple(listed)


def _gathered(values: Sequence[str | None], index: NDArray[Any]) -> pl.Series:
    """Look values up by index; NONE gives null."""
    import polars as pl

    lookup = pl.Series([*values, None], dtype=pl.String)
    return lookup.gather(np.where(index == NONE, len(values), index).astype(np.int64))


def user_ids(count: int, seed: int) -> list[str]:
    """Return the ids of the first `count` users."""
    found: list[str] = _guids(np.arange(count), seed + _USER_SALT).to_pylist()
    return found


def _guids(numbers: NDArray[Any], seed: int) -> pa.Array:
    """Turn numbers into GUIDs, always the same ones for a seed."""
    # The one below is added so that the seed's own bits are stirred as well.
    base = numbers.astype(np.uint64) + (np.uint64(seed) << np.uint64(32))
    halves = np.stack([_stirred(base), _stirred(_stirred(base) + np.uint64(1))], axis=1)
    digits = _HEX[halves.astype(">u8").view(np.uint8).reshape(len(numbers), 16)].reshape(len(numbers), 32)
    text = np.full((len(numbers), 36), ord("-"), dtype=np.uint8)
    text[:, _GUID_PLACES] = digits
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(36), len(numbers), [None, pa.py_buffer(text.tobytes())])
    return fixed.cast(pa.binary()).cast(pa.string())


def _stirred(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
