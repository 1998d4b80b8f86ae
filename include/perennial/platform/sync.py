"""Sync: read and check every table, and only then replace the warehouse's metadata, one commit per table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from perennial.erasures import Suppressed, suppressed
from perennial.errors import TransientConflictError
from perennial.platform.columns import arrow_schema
from perennial.platform.database import open_platform
from perennial.platform.integrity import KeyLedger
from perennial.platform.issues import Issue
from perennial.platform.legacy_deletions import read_legacy_deletions
from perennial.platform.reading import PlatformReading
from perennial.platform.vanished import KEYS, keep_missed
from perennial.settings import dag_id
from perennial.tables import AUDIENCES, SOURCE_TAGS, SOURCES, SYNCED, USERS, VANISHED_SOURCES, Table
from perennial.text import pluralize

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile

    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncOutcome:
    """The result of one sync.

    Attributes:
        run_id: Run that did it.
        row_counts: Rows by table.
        erased_count: Users left out because they were erased (R22).
        read_as_null: Values that cannot be used and that no decision needs, by `table.column`.
        later_than_now: Future times of sources, likewise; such a source stays hot until then.
    """

    run_id: str
    row_counts: Mapping[str, int]
    erased_count: int = 0
    read_as_null: Mapping[str, int] = field(default_factory=dict)
    later_than_now: Mapping[str, int] = field(default_factory=dict)

    def remarks(self, table: str) -> dict[str, dict[str, int]]:
        """Return what a person should look at in one table, counted by column; empty if there is nothing."""
        found = {"read_as_null": self.read_as_null, "later_than_now": self.later_than_now}
        chosen = {
            name: {
                key.removeprefix(f"{table}."): number for key, number in counts.items() if key.startswith(f"{table}.")
            }
            for name, counts in found.items()
        }
        return {name: counts for name, counts in chosen.items() if counts}


@dataclass(frozen=True)
class PlatformMetadata:
    """The platform's sources and audiences at one moment, with the columns of the contract, marks applied (R18).

    Attributes:
        source_tags: Reads its tags, which only holds on tags need (R19).
    """

    sources: pa.Table
    audiences: pa.Table
    source_tags: Callable[[], pa.Table]


def sync_sources(
    warehouse: Warehouse,
    run_id: str,
    allow_vanishing: bool = False,
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SyncOutcome:
    """Replace the six synced tables by what the platform has now, legacy deletions applied to its sources (R18).

    Every row of every table is read and checked first, in one transaction of the platform's database; nothing is
    committed before. Sources that the platform no longer has are first added to `vanished_sources`, as last known. If
    it is killed between two commits, the tables come from two syncs until the next one; R7's check of the platform
    covers that. A repetition replaces everything again, whatever an earlier attempt committed, because that may have
    read an older state of the platform.

    Args:
        warehouse: The warehouse.
        run_id: The run.
        allow_vanishing: Whether more than a tenth of the known sources or audiences, and at least ten, may be missing.
        wall_clock: Returns the current time: no deletion is later (R24).

    Raises:
        TerminalMetadataError: A table, a column, or a value cannot be used; the previous metadata stays in place.
        TerminalSettingError: PERENNIAL_PLATFORM_URL cannot be used, or the warehouse's tables are missing.
        TransientError: The platform's database cannot be reached.
    """
    from perennial.warehouse.replace import replace_after_look

    attempt = uuid4().hex
    warehouse.refuse_unwritable((*(table.name for table in SYNCED), VANISHED_SOURCES.name))
    reading = PlatformReading(wall_clock(), read_legacy_deletions(warehouse))
    erased = suppressed(warehouse)
    staged = _staged_tables(warehouse, reading, erased)
    if not allow_vanishing:
        reading.refuse_mass_vanishing({name: warehouse.read(name) for name in KEYS})

    def keep_what_vanishes(known: pa.Table) -> None:
        if not allow_vanishing:
            reading.refuse_mass_vanishing({SOURCES.name: known})
        keep_missed(warehouse, known, reading.keys[SOURCES.name], run_id, wall_clock())

    for name, data_files in staged.items():
        operation = f"sync:{run_id}:{name}:{attempt}"
        if name == SOURCES.name:
            replace_after_look(warehouse, name, data_files, keep_what_vanishes, operation)
        elif name == USERS.name:
            warehouse.replace_files(name, data_files, operation, lambda: _refuse_others_erased(warehouse, erased))
        else:
            warehouse.replace_files(name, data_files, operation)
        log.info("%s: %s has %s", run_id, name, pluralize(reading.row_counts[name], "row"))
    if erased_count := reading.erased_counts.get(USERS.name, 0):
        log.info("%s: %s left out because they were erased (R22)", run_id, pluralize(erased_count, "user"))
    unusable = _logged(run_id, reading.issues.of("read_as_null"), "unusable and read as null")
    to_come = _logged(run_id, reading.issues.of("later_than_now"), "later than now, so a source stays hot until then")
    return SyncOutcome(run_id, reading.row_counts, erased_count, unusable, to_come)


def _refuse_others_erased(warehouse: Warehouse, erased: Suppressed) -> None:
    """Refuse to replace the users if others are erased now than when they were read from the platform."""
    if suppressed(warehouse) != erased:
        raise TransientConflictError(
            f"People were erased while {dag_id('sync_sources')} read the platform; run it again. The users stay as "
            "they were."
        )


def _staged_tables(warehouse: Warehouse, reading: PlatformReading, erased: Suppressed) -> dict[str, list[DataFile]]:
    """Write the platform's tables to files that no table lists yet, in the order of their commits."""
    import pyarrow as pa

    staged = {}
    with open_platform(warehouse.settings) as database, KeyLedger() as ledger:
        for table in SYNCED:
            batches = reading.checked_batches(table, database, ledger)
            if table is USERS and erased:
                batches = reading.without(batches, erased)
            stream = pa.RecordBatchReader.from_batches(arrow_schema(table), batches)
            staged[table.name] = warehouse.stage_rows(table.name, stream)
            reading.row_counts[table.name] -= reading.erased_counts.get(table.name, 0)
    return staged


def read_metadata(
    settings: Settings, deletions: Mapping[str, datetime] | None = None, now: datetime | None = None
) -> PlatformMetadata | None:
    """Return the platform's current sources, audiences and tags, for R7; the warehouse is not touched.

    Args:
        settings: Where the platform is.
        deletions: From `read_legacy_deletions`, to be applied to the sources (R18).
        now: Wall clock: no deletion is later (R24).

    Returns:
        None if the platform is the embedded default and its file does not exist: there is nothing newer.

    Raises:
        TerminalMetadataError, TerminalSettingError, TransientError: As `sync_sources`.
    """
    default = settings.home and settings.home / "platform.db"
    if default and settings.platform_url == f"sqlite:///{default}" and not default.exists():
        return None
    reading = PlatformReading(now or datetime.now(UTC), deletions or {})
    sources, audiences = _read_tables(settings, reading, (SOURCES, AUDIENCES))
    return PlatformMetadata(sources, audiences, lambda: _read_tables(settings, reading, (SOURCE_TAGS,))[0])


def _read_tables(settings: Settings, reading: PlatformReading, tables: Iterable[Table]) -> list[pa.Table]:
    import pyarrow as pa

    with open_platform(settings) as database, KeyLedger() as ledger:
        return [
            pa.Table.from_batches(reading.checked_batches(table, database, ledger), arrow_schema(table))
            for table in tables
        ]


def _logged(run_id: str, issues: Iterable[Issue], said: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for issue in issues:
        place = f"{issue.table}.{issue.column}"
        values = "1 value is" if issue.row_count == 1 else f"{issue.row_count:,} values are"
        log.warning("%s: of %s, %s %s: %s", run_id, place, values, said, issue.examples[0])
        counts[place] = counts.get(place, 0) + issue.row_count
    return counts
