"""The sample workspace: sixty sources, users, audiences, and Currents files, in two chapters.

The first chapter is the workspace as it was five weeks ago; after it is synced, loaded and expired, `advance_workspace`
brings the second: sources are stopped, launched and started again, and new files arrive, with late events and repeated
deliveries among them. Between them the two expiries make every decision of the contract.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from perennial.errors import TerminalRequestError, TerminalSettingError
from perennial_sample.catalog import FIRST_RUN_DAYS, RESTORED_SOURCES, RESTORED_TAG, SOURCES
from perennial_sample.currents_files import deliveries, user_ids, write_delivery
from perennial_sample.events import EVENT_TYPES, IGNORED, NO_INTERACTION, NONE, Events, generate_events
from perennial_sample.metadata import create_platform, write_metadata

if TYPE_CHECKING:
    from perennial.settings import Settings

MINIMUM_EVENTS = 1_000
MAXIMUM_EVENTS = 10_000_000
# Share of events that are delivered a second time.
_REPEATED_SHARE = 0.004


@dataclass(frozen=True)
class Chapter:
    """One run's worth of the story.

    Attributes:
        as_of: The moment of its expiry.
        files: Currents files, in the landing directory or waiting for it.
        record_count: Records in them, repetitions and broken ones among them.
        event_count: Distinct events that are new with this chapter.
        repeated_count: Records that repeat an event, of this chapter or an earlier one.
        broken_count: Records that cannot be read.
        ignored_count: New events of types that are not loaded.
        interaction_count: New events that become interactions.
        decisions: The decision about each source to expect of its expiry.
    """

    as_of: datetime
    files: tuple[Path, ...]
    record_count: int
    event_count: int
    repeated_count: int
    broken_count: int
    ignored_count: int
    interaction_count: int
    decisions: Mapping[str, str]


@dataclass(frozen=True)
class Restore:
    """A restore to ask for at the end of the story: by ids or by tags."""

    source_ids: tuple[str, ...]
    tags: tuple[str, ...]
    notify: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Workspace:
    """What `create_workspace` made.

    Attributes:
        platform: The platform's database.
        landing: The landing directory.
        waiting: Where the second chapter's files wait.
        now: The moment the story ends; also the second chapter's.
        source_count: Sources, those launched in the second chapter included.
        user_count: Users.
        first: The chapter in place.
        second: The chapter that `advance_workspace` brings.
        restores: What to bring back after the second expiry: by id, then by tag.
    """

    platform: Path
    landing: Path
    waiting: Path
    now: datetime
    source_count: int
    user_count: int
    first: Chapter
    second: Chapter
    restores: tuple[Restore, ...]


@dataclass(frozen=True)
class Advance:
    """What `advance_workspace` did: the platform's changes, a sentence each, and the files that arrived."""

    changes: tuple[str, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Recipe:
    """How a chapter's files are made, and what is to be expected of it."""

    seed: int
    file_rows: int
    first_number: int
    decisions: Mapping[str, str]


def create_workspace(settings: Settings, events: int = 200_000, *, now: datetime, seed: int = 2024) -> Workspace:
    """Write the first chapter to the platform's database and the landing directory, and prepare the second.

    Args:
        settings: The embedded default: a platform database in SQLite and a landing directory on a local disk.
        events: About how many events happen in all, 1,000 to 10,000,000.
        now: UTC; the story ends here.
        seed: The same seed, events and now make the same workspace.

    Raises:
        TerminalRequestError: `events` is out of range, or `now` is not in UTC.
        TerminalSettingError: The platform or the landing directory is not of this machine, or holds something already.
    """
    _check_request(events, now)
    platform, landing = _embedded_places(settings)
    first_at = now - timedelta(days=FIRST_RUN_DAYS)
    user_count = min(max(events // 50, 500), 200_000)
    happened = generate_events(events, user_count, now, seed)
    cut = int(np.searchsorted(happened["time"], int(first_at.timestamp())))
    before, after = happened[:cut], happened[cut:]
    create_platform(platform, user_ids(user_count, seed), seed, now)
    write_metadata(platform, now, first_at)
    waiting = settings.below_home("demo/waiting")
    shutil.rmtree(waiting, ignore_errors=True)
    file_rows = min(max(events // 60, 300), 100_000)
    start = first_at - timedelta(days=200)
    arrived = np.concatenate([before, _repeated(before, start, first_at, seed)])
    # Deliveries of the first chapter come again in the second, also of sources that have expired by then.
    arriving = np.concatenate([after, *(_repeated(part, first_at, now, seed) for part in (after, before))])
    first = _written(landing, before, arrived, first_at, _Recipe(seed, file_rows, 0, _decisions("first")))
    second = _written(waiting, after, arriving, now, _Recipe(seed, file_rows, 50_000, _decisions("second")))
    return Workspace(platform, landing, waiting, now, len(SOURCES), user_count, first, second, _restores())


def advance_workspace(workspace: Workspace) -> Advance:
    """Bring the second chapter: the platform as it is now, and the files that have arrived since the first."""
    changes = write_metadata(workspace.platform, workspace.now, workspace.second.as_of)
    arrived = []
    for path in workspace.second.files:
        target = workspace.landing / path.relative_to(workspace.waiting)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        arrived.append(target)
    shutil.rmtree(workspace.waiting, ignore_errors=True)
    return Advance(tuple(changes), tuple(arrived))


def _check_request(events: int, now: datetime) -> None:
    if not MINIMUM_EVENTS <= events <= MAXIMUM_EVENTS:
        raise TerminalRequestError(f"events is {events}; ask for {MINIMUM_EVENTS:,} to {MAXIMUM_EVENTS:,}.")
    if now.utcoffset() != timedelta(0):
        raise TerminalRequestError(f"now is {now.isoformat()}; give it in UTC.")


def _embedded_places(settings: Settings) -> tuple[Path, Path]:
    platform = settings.place("platform_url").removeprefix("sqlite:///")
    if platform == settings.platform_url:
        raise TerminalSettingError("The demo writes its own platform database: unset PERENNIAL_PLATFORM_URL.")
    if settings.platform_sql is not None:
        raise TerminalSettingError("The demo's platform is read by the packaged SELECTs: unset PERENNIAL_PLATFORM_SQL.")
    landing = settings.place("landing_uri").removeprefix("file://")
    if "://" in landing:
        raise TerminalSettingError(
            f"The demo writes Currents files to a local disk, and PERENNIAL_LANDING_URI is {landing!r}: unset it."
        )
    for place in (Path(platform), Path(landing)):
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            raise TerminalSettingError(
                f"{place} is there already, and the demo replaces nothing: set PERENNIAL_HOME to a new directory."
            )
    return Path(platform), Path(landing)


# --- files ------------------------------------------------------------------------------------------------------------


def _repeated(events: Events, first: datetime, last: datetime, seed: int) -> Events:
    """Choose events whose delivery is repeated between two moments."""
    rng = np.random.default_rng([seed, 5, int(last.timestamp()), len(events)])
    count = max(round(len(events) * _REPEATED_SHARE), 2)
    chosen: Events = events[rng.choice(len(events), count, replace=False)]
    again = rng.integers(int(first.timestamp()), int(last.timestamp()), count)
    chosen["arrived"] = np.maximum(chosen["arrived"], again)
    return chosen


def _written(root: Path, new: Events, records: Events, as_of: datetime, recipe: _Recipe) -> Chapter:
    broken = _broken_lines(as_of)
    delivered = list(deliveries(records, recipe.first_number, recipe.file_rows))
    host = next(index for index, delivery in enumerate(delivered) if delivery.suffix == ".json")
    types = np.array(EVENT_TYPES)[new["type"]]
    reaches_none = np.isin(types, NO_INTERACTION) | (new["source"] == NONE)
    return Chapter(
        as_of=as_of,
        files=tuple(
            write_delivery(root, delivery, recipe.seed, broken if index == host else ())
            for index, delivery in enumerate(delivered)
        ),
        record_count=len(records) + len(broken),
        event_count=len(new),
        repeated_count=len(records) - len(new),
        broken_count=len(broken),
        ignored_count=int(np.isin(types, IGNORED).sum()),
        interaction_count=int((~reaches_none).sum()),
        decisions=recipe.decisions,
    )


def _broken_lines(as_of: datetime) -> tuple[str, ...]:
    """Make the records that every long-lived connection has a few of."""
    whole = {"id": f"broken-{as_of:%Y%m%d}", "time": int(as_of.timestamp()) - 3600, "user_id": "nobody"}
    return (
        json.dumps({key: value for key, value in whole.items() if key != "id"}),
        json.dumps({key: value for key, value in whole.items() if key != "user_id"}),
        json.dumps({key: value for key, value in whole.items() if key != "time"}),
        json.dumps({**whole, "time": "an hour ago"}),
        json.dumps(whole)[:-9],
    )


def _decisions(chapter: Literal["first", "second"]) -> dict[str, str]:
    found = {source.source_id: getattr(source.story, chapter) for source in SOURCES}
    return {source_id: decision for source_id, decision in found.items() if decision}


def _restores() -> tuple[Restore, ...]:
    return (
        Restore(RESTORED_SOURCES, (), ("jonas.weber@example.com",), "Plan the next season from last year's results"),
        Restore((), (RESTORED_TAG,), ("maya.okafor@example.com",), "Retarget last spring's shoppers"),
    )
