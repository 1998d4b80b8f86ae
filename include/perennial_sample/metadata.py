"""The sample workspace's platform database: its metadata as of a moment, and its users."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial import tables
from perennial.statements import statement
from perennial_sample.catalog import SOURCES, Source, sending_windows
from perennial_sample.retargeting import AUDIENCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FIRST_NAMES = (
    "Amina", "Ben", "Chloé", "Diego", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jun", "Kofi", "Léa", "Mateo", "Nina",
    "Oskar", "Paula", "Quentin", "Rosa", "Søren", "Tala", "Uma", "Viktor", "Wanjiru", "Xenia", "Yusuf", "Zofia",
)  # fmt: skip
_LAST_NAMES = (
    "Almeida", "Bauer", "Costa", "Dubois", "Eriksson", "Fischer", "García", "Haddad", "Ivanova", "Jensen", "Kimura",
    "Laurent", "Moreau", "Nowak", "O'Brien", "Petrov", "Quinn", "Rossi", "Silva", "Tanaka", "Usman", "Vogel", "Weiss",
)  # fmt: skip
_PLACES = (
    ("FR", "fr", "Europe/Paris", "+336"), ("DE", "de", "Europe/Berlin", "+4915"), ("GB", "en", "Europe/London", "+447"),
    ("ES", "es", "Europe/Madrid", "+346"), ("IT", "it", "Europe/Rome", "+393"), ("PL", "pl", "Europe/Warsaw", "+485"),
    ("PT", "pt", "Europe/Lisbon", "+3519"),
)  # fmt: skip
_FLAGS = ((), ("loyalty-app",), ("new-checkout",), ("loyalty-app", "new-checkout"))
_FLAG_SHARES = (0.6, 0.2, 0.15, 0.05)
_TIERS = ("bronze", "silver", "gold")
_TABLES = ("source_tags", "source_variants", "canvas_steps", "audiences", "sources")


def _status_at(source: Source, now: datetime, at: datetime) -> str | None:
    """Return a source's status at a moment of its story; None before it is created."""
    if source.created_at(now) > at:
        return None
    if source.story_name == "draft":
        return "draft"
    stopped_at, restarted = source.stopped_at(now), source.story.restarted
    if stopped_at is None or stopped_at > at:
        return "active"
    if restarted is not None and (now - at).days < restarted:
        return "active"
    return source.story.status


def create_platform(path: Path, user_ids: Sequence[str], seed: int, now: datetime) -> None:
    """Create the database of the embedded default with its users; metadata comes with `write_metadata`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement("platform/create_platform"))
        _insert(connection, tables.USERS, _users(user_ids, seed, now))
        connection.commit()


def write_metadata(path: Path, now: datetime, at: datetime) -> list[str]:
    """Make the database say what the platform says at a moment, in one transaction.

    Returns:
        What changed about sources that were there before, one sentence each.
    """
    with closing(sqlite3.connect(path)) as connection:
        before = {row[0]: row[1] for row in connection.execute(statement("sample/select_statuses"))}
        present = [source for source in SOURCES if _status_at(source, now, at) is not None]
        for name in _TABLES:
            connection.execute(statement(f"sample/delete_{name}"))
        _insert(connection, tables.SOURCES, [_source_row(source, now, at) for source in present])
        for table, rows in _detail_rows(present, now, at):
            _insert(connection, table, rows)
        after = {row[0]: row[1] for row in connection.execute(statement("sample/select_statuses"))}
        connection.commit()
    return _changes(before, after)


def _insert(connection: sqlite3.Connection, table: tables.Table, rows: Iterable[tuple[object, ...]]) -> None:
    names = [column.name for column in table.columns]
    connection.executemany(
        statement(f"sample/insert_{table.name}"), [dict(zip(names, row, strict=True)) for row in rows]
    )


def _source_row(source: Source, now: datetime, at: datetime) -> tuple[object, ...]:
    status = _status_at(source, now, at)
    sent = [min(end, at) for start, end in sending_windows(source, now) if start < at]
    deleted_at = source.stopped_at(now) if source.story_name == "deleted" else None
    stopped_at = None if status in ("active", "draft") else source.stopped_at(now)
    moments = (source.created_at(now), stopped_at, sent[-1] if sent else None)
    return (
        source.source_id, source.kind, source.name, status, *map(_text, moments), source.owner_email, _text(deleted_at),
    )  # fmt: skip


def _detail_rows(
    present: Sequence[Source], now: datetime, at: datetime
) -> list[tuple[tables.Table, list[tuple[object, ...]]]]:
    statuses = {source.source_id: _status_at(source, now, at) for source in SOURCES}
    tags: list[tuple[object, ...]] = [(source.source_id, tag) for source in present for tag in source.tags]
    variants: list[tuple[object, ...]] = [
        (variant_id, source.source_id, name, name.startswith("Control"))
        for source in present
        for variant_id, name in zip(source.variant_ids, source.variant_names, strict=True)
    ]
    steps: list[tuple[object, ...]] = [
        (step_id, source.source_id, name)
        for source in present
        for step_id, name in zip(source.step_ids, source.step_names, strict=True)
    ]
    audiences: list[tuple[object, ...]] = [
        (
            audience.owner_kind,
            audience.owner_id,
            audience.owner_name,
            statuses.get(audience.owner_id, "active"),
            audience.part,
            json.dumps(audience.definition),
        )
        for audience in AUDIENCES
        if statuses.get(audience.owner_id, "active") is not None
    ]
    return [
        (tables.SOURCE_TAGS, tags),
        (tables.SOURCE_VARIANTS, variants),
        (tables.CANVAS_STEPS, steps),
        (tables.AUDIENCES, audiences),
    ]


def _changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    if not before:
        return []
    names = {source.source_id: source.name for source in SOURCES}
    verbs = {"active": "was started again", "stopped": "was stopped", "archived": "was archived"}
    changes = []
    for source_id, status in after.items():
        if source_id not in before:
            changes.append(f"{names[source_id]} ({source_id}) was launched.")
        elif before[source_id] != status:
            changes.append(f"{names[source_id]} ({source_id}) {verbs[status]}.")
    return changes


def _users(user_ids: Sequence[str], seed: int, now: datetime) -> list[tuple[object, ...]]:
    rng = np.random.default_rng([seed, 1])
    count = len(user_ids)

    def picked(size: int) -> list[int]:
        return _integers(rng.integers(0, size, count))

    ages = _integers(rng.integers(86_400, 900 * 86_400, count))
    flags = _integers(rng.choice(len(_FLAGS), count, p=_FLAG_SHARES))
    invalid = _integers(rng.random(count) < 0.04)
    epoch = int(now.timestamp())
    rows: list[tuple[object, ...]] = []
    columns = zip(user_ids, picked(len(_FIRST_NAMES)), picked(len(_LAST_NAMES)), picked(len(_PLACES)), strict=True)
    for number, (user_id, first, last, place) in enumerate(columns):
        country, language, time_zone, prefix = _PLACES[place]
        attributes: dict[str, Any] = {"loyalty_tier": _TIERS[number % 3], "orders": (number * 7) % 23}
        rows.append(
            (
                user_id, f"customer-{number + 1:06d}", f"customer{number + 1}@example.com", f"{prefix}{number:08d}",
                _FIRST_NAMES[first], _LAST_NAMES[last], country, language, time_zone,
                _text(datetime.fromtimestamp(epoch - ages[number], now.tzinfo)), invalid[number],
                json.dumps(_FLAGS[flags[number]]), json.dumps(attributes),
            )
        )  # fmt: skip
    return rows


def _integers(values: NDArray[Any]) -> list[int]:
    return [int(value) for value in values]


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")
