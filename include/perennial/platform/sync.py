"""Sync: read every table, check all of it, and only then replace the warehouse's metadata, one commit a table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from perennial.platform.adopted import read_adopted, with_adopted
from perennial.platform.columns import Reading, Remark, SelectedColumns, arrow_batch, arrow_schema
from perennial.platform.database import PlatformDatabase, open_platform
from perennial.platform.integrity import KeyLedger
from perennial.tables import AUDIENCES, SOURCES, SYNCED, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from perennial.settings import Settings
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SyncOutcome:
    """What one sync put in place.

    Attributes:
        run_id: Run that did it.
        row_counts: Rows by table.
        read_as_null: Values that cannot be used and that no decision needs, by `table.column`.
        later_than_now: Times of sources that are still to come, likewise; such a source stays hot until then.
    """

    run_id: str
    row_counts: Mapping[str, int]
    read_as_null: Mapping[str, int] = field(default_factory=dict)
    later_than_now: Mapping[str, int] = field(default_factory=dict)

    def remarks(self, table: str) -> dict[str, dict[str, int]]:
        """Return what is worth a person's look in one table, counted by column; empty where there is nothing."""
        found = {"read_as_null": self.read_as_null, "later_than_now": self.later_than_now}
        chosen = {
            name: {key.removeprefix(f"{table}."): count for key, count in counts.items() if key.startswith(f"{table}.")}
            for name, counts in found.items()
        }
        return {name: counts for name, counts in chosen.items() if counts}


@dataclass(frozen=True)
class PlatformMetadata:
    """The platform's sources and audiences at one moment, with the columns of the contract; adopted deletions shown."""

    sources: pa.Table
    audiences: pa.Table


def sync_sources(warehouse: Warehouse, run_id: str, now: datetime | None = None) -> SyncOutcome:
    """Replace the six synced tables by what the platform has now, adopted deletions laid over its sources (R18).

    Every row of every table is read and checked first, in one transaction of the platform's database; nothing is
    committed before. Killed between two commits, the tables come from two syncs until the next one, which R7's look at
    the platform covers. A repetition replaces everything again, whatever an earlier attempt committed: it may have read
    an older state of the platform.

    Args:
        warehouse: Where to.
        run_id: Goes into the operations' ids.
        now: Wall clock: no deletion is later (R24).

    Raises:
        TerminalMetadataError: A table, a column, or a value cannot be used; the previous metadata stays in place.
        TerminalSettingError: PERENNIAL_PLATFORM_URL cannot be used, or the warehouse's tables are missing.
        TransientError: The platform's database cannot be reached.
    """
    import pyarrow as pa

    attempt = uuid4().hex
    adopted = read_adopted(warehouse)
    counts: dict[str, int] = {}
    reading = Reading(now or datetime.now(UTC))
    with open_platform(warehouse.settings) as database, KeyLedger() as keys:
        staged = []
        for table in SYNCED:
            batches = _counted(_checked_batches(table, database, keys, adopted, reading), table, counts)
            stream = pa.RecordBatchReader.from_batches(arrow_schema(table), batches)
            staged.append((table.name, warehouse.stage_rows(table.name, stream)))
    for name, data_files in staged:
        warehouse.replace_files(name, data_files, operation=f"sync:{run_id}:{name}:{attempt}")
        log.info("%s: %s has %d rows", run_id, name, counts[name])
    unusable = _logged(run_id, reading.unusable, "unusable and read as null")
    to_come = _logged(run_id, reading.to_come, "later than now, so a source stays hot until then")
    return SyncOutcome(run_id, counts, unusable, to_come)


def read_metadata(
    settings: Settings, adopted: Mapping[str, datetime] | None = None, now: datetime | None = None
) -> PlatformMetadata | None:
    """Return the platform's current sources and audiences, for R7; the warehouse is not touched.

    Args:
        settings: Where the platform is.
        adopted: What `read_adopted` read from the warehouse, to be laid over the sources (R18).
        now: As `sync_sources`.

    Returns:
        None where the platform is the embedded default and its file does not exist: nothing fresher is to be had.

    Raises:
        TerminalMetadataError, TerminalSettingError, TransientError: As `sync_sources`.
    """
    import pyarrow as pa

    path = settings.home / "platform.db"
    if settings.platform_url == f"sqlite:///{path}" and not path.exists():
        return None
    reading = Reading(now or datetime.now(UTC))
    with open_platform(settings) as database, KeyLedger() as keys:
        sources, audiences = (
            pa.Table.from_batches(_checked_batches(table, database, keys, adopted or {}, reading), arrow_schema(table))
            for table in (SOURCES, AUDIENCES)
        )
    return PlatformMetadata(sources, audiences)


def _checked_batches(
    table: Table, database: PlatformDatabase, keys: KeyLedger, adopted: Mapping[str, datetime], reading: Reading
) -> Iterator[pa.RecordBatch]:
    """Stream a platform table, converted and checked; `sources` has to be the first."""
    with database.selected(table.name) as (names, partitions):
        selected = SelectedColumns.matched(table, names)
        row_count = 0
        for rows in partitions:
            batch = arrow_batch(selected, rows, row_count + 1, reading)
            row_count += batch.num_rows
            keys.add(table.name, batch)
            yield with_adopted(batch, adopted) if table is SOURCES else batch
    keys.refuse_broken(table.name)


def _counted(batches: Iterator[pa.RecordBatch], table: Table, counts: dict[str, int]) -> Iterator[pa.RecordBatch]:
    counts[table.name] = 0
    for batch in batches:
        counts[table.name] += batch.num_rows
        yield batch


def _logged(run_id: str, remarks: Mapping[tuple[str, str], Remark], said: str) -> dict[str, int]:
    for (table, column), remark in remarks.items():
        values = "1 value is" if remark.count == 1 else f"{remark.count:,} values are"
        log.warning("%s: of %s.%s, %s %s: %s", run_id, table, column, values, said, remark.example)
    return {f"{table}.{column}": remark.count for (table, column), remark in remarks.items()}
