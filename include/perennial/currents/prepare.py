"""Prepares a load: reads landing files, finds what is new, writes it to files that no snapshot lists yet."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from perennial.currents.erased import drop_erased, open_platform_requests
from perennial.currents.landing import LandingFile, is_unchanged, read_landing_file
from perennial.engines.duckdb import create_view
from perennial.engines.write_files import write_files
from perennial.errors import TerminalDataError
from perennial.quality import LoadCounts
from perennial.statements import statement
from perennial.tables import (
    INTERACTIONS,
    LOADED_EVENTS,
    LOADED_FILES,
    REJECTED_EVENTS,
    SOURCE_DAILY_STATS,
    USER_MESSAGE_SUMMARY,
)
from perennial.warehouse import Warehouse
from perennial.warehouse.files import time_bounds
from perennial.warehouse.schemas import contract_columns

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# Committed in this order: the ledger decides, and once `loaded_files` has a file, everything of it is committed.
LOADED_TABLES = (
    LOADED_EVENTS.name,
    INTERACTIONS.name,
    USER_MESSAGE_SUMMARY.name,
    SOURCE_DAILY_STATS.name,
    REJECTED_EVENTS.name,
    LOADED_FILES.name,
)
_STEPS = (
    "repeats",
    "fresh_events",
    "new_interactions",
    "new_user_message_summary",
    "new_source_daily_stats",
    "new_loaded_events",
    "new_rejected_events",
    "file_counts",
    "new_loaded_files",
)
_EPOCH, _DAY, _MOMENT = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1), timedelta(microseconds=1)
_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
# Up to this many events the whole ledger is searched for known ids, beyond that only the load's days.
WHOLE_LEDGER_ROWS = 20_000_000
# How many spans of time one search takes: load/insert_known_events has binds for as many.
MAX_SPANS = 8


@dataclass(frozen=True)
class LoadRequest:
    """The request of a run.

    Attributes:
        now: Becomes loaded_at and rejected_at.
        check: Checks the counts of each load's files before it is committed; raises to stop it.
        batch_bytes: Decoded records of one load.
    """

    now: datetime
    check: Callable[[list[LoadCounts]], None] | None
    batch_bytes: int


@dataclass(frozen=True)
class PreparedLoad:
    """A load whose files are written.

    Attributes:
        load_id: The load.
        ledger_snapshot_id: The snapshot of the ledger that was read; None if it was empty.
        data_files: By table.
    """

    load_id: str
    ledger_snapshot_id: int | None
    data_files: dict[str, list[DataFile]]


@dataclass(frozen=True)
class Batch:
    """Landing files that have been read.

    Attributes:
        read: Those whose records are in the connection.
        left: Those that changed or vanished while they were read.
    """

    connection: DuckDBPyConnection
    read: list[LandingFile]
    left: list[LandingFile]


def read_batch(connection: DuckDBPyConnection, files: Sequence[LandingFile], batch_bytes: int) -> Batch:
    """Read files in order until their decoded records reach a number of bytes; always at least one file."""
    for name in ("event_types", "batch_files", "records"):
        connection.execute(statement(f"load/create_{name}"))
    known = {name for (name,) in connection.execute("FROM event_types SELECT event_type").fetchall()}
    read: list[LandingFile] = []
    left: list[LandingFile] = []
    decoded_bytes = 0
    for file_no, file in enumerate(files):
        if decoded_bytes >= batch_bytes:
            break
        decode = file.event_type is None or file.event_type in known
        found = _read_file(connection, file_no, file, decode)
        (left if found is None else read).append(file)
        decoded_bytes += found or 0
    return Batch(connection, read, left)


def _read_file(connection: DuckDBPyConnection, file_no: int, file: LandingFile, decode: bool) -> int | None:
    """Read one file; returns the decoded bytes, or None if it changed while it was read."""
    record_count = counted_count = decoded_bytes = 0
    try:
        unchanged = is_unchanged(file)
        for part in read_landing_file(file, decode) if unchanged else ():
            record_count += part.record_count
            if part.rows is None:
                counted_count += part.record_count
                continue
            decoded_bytes += part.rows.nbytes
            connection.register("part", part.rows)
            connection.execute(statement("load/insert_records"), {"file_no": file_no})
            connection.unregister("part")
        unchanged = unchanged and is_unchanged(file)
    except OSError as error:
        log.warning("%s cannot be read now (%s); the next run tries again", file.uri, error)
        unchanged = False
    if not unchanged:
        log.info("%s changed or vanished while it was read; the next run tries again", file.uri)
        connection.execute(statement("load/delete_records"), {"file_no": file_no})
        return None
    binds = {
        "file_no": file_no,
        "file_uri": file.uri,
        "file_bytes": file.stored.file_bytes,
        "modified_at": file.stored.modified_at,
        "event_type": file.event_type,
        "known_before": file.known_before,
        "record_count": record_count,
        "counted_count": counted_count,
    }
    connection.execute(statement("load/insert_batch_file"), binds)
    return decoded_bytes


def prepare_load(
    warehouse: Warehouse, ledger: Table, batch: Batch, request: LoadRequest
) -> tuple[PreparedLoad, list[LoadCounts]]:
    """Determine what a batch adds and write it to data files.

    Args:
        warehouse: Where the tables are.
        ledger: `loaded_events` as loaded when nothing was pending.
        batch: What was read.
        request: The request of the run.

    Raises:
        TerminalDataError: The counts of records do not add up. Nothing of the load is visible.
    """
    connection, load_id = batch.connection, uuid.uuid4().hex
    connection.execute(statement("load/create_events"))
    connection.execute(statement("load/drop_records"))
    drop_erased(warehouse, connection)
    _show_earlier(warehouse, ledger, batch)
    binds = {"new_rejected_events": {"now": request.now}, "new_loaded_files": {"now": request.now, "load_id": load_id}}
    for name in _STEPS:
        connection.execute(statement(f"load/create_{name}"), binds.get(name))
    data_files = {
        name: write_files(connection, f"new_{name}", warehouse.table(name), load_id) for name in LOADED_TABLES
    }
    counts = _counts(connection)
    _refuse_unaccounted(load_id, counts, data_files)
    if request.check is not None:
        request.check(counts)
    open_platform_requests(warehouse, connection)
    snapshot = ledger.current_snapshot()
    return PreparedLoad(load_id, snapshot.snapshot_id if snapshot else None, data_files), counts


def _show_earlier(warehouse: Warehouse, ledger: Table, batch: Batch) -> None:
    """Show what earlier loads have of this batch: `known_events` and `rejected_events`."""
    connection = batch.connection
    _find_known(warehouse, ledger, connection)
    rejected = warehouse.table(REJECTED_EVENTS.name)
    known_before = any(file.known_before for file in batch.read)
    rejected_files = list(warehouse.live_files(rejected)) if known_before else []
    columns = contract_columns(REJECTED_EVENTS.name, rejected.schema())
    create_view(connection, REJECTED_EVENTS.name, rejected_files, rejected, columns)


def _find_known(warehouse: Warehouse, ledger: Table, connection: DuckDBPyConnection) -> None:
    """Create table `known_events` from all of the ledger or, of a large one, from what it has of the load's days."""
    columns = contract_columns(LOADED_EVENTS.name, ledger.schema())
    files = list(warehouse.live_files(ledger))
    spans = [_EVER]
    if sum(live.row_count for live in files) > WHOLE_LEDGER_ROWS:
        spans = plan_spans([day for (day,) in connection.execute(statement("load/select_event_days")).fetchall()])
        files = [live for live in files if _may_have(time_bounds(ledger, live.data_file, "occurred_at"), spans)]
    connection.execute(statement("load/create_known_events"))
    if files and spans:
        create_view(connection, LOADED_EVENTS.name, files, ledger, columns)
        # The last one again and again: the statement has a fixed number of them.
        padded = [*spans, *[spans[-1]] * (MAX_SPANS - len(spans))]
        binds = {
            f"{edge}_{n}": span[at] for n, span in enumerate(padded, 1) for at, edge in enumerate(("start", "end"))
        }
        connection.execute(statement("load/insert_known_events"), binds)


def plan_spans(days: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """Bring days together into spans of time, 8 at most, which leave out the longest gaps.

    Args:
        days: The starts of the days, in order.

    Returns:
        The first and the last moment of each span.
    """
    gaps = sorted(range(1, len(days)), key=lambda at: days[at] - days[at - 1], reverse=True)
    edges = [0, *sorted(gaps[: MAX_SPANS - 1]), len(days)]
    # The end is not the start of the following day: there is none after the last one that a time can have.
    return [(days[first], days[end - 1] + (_DAY - _MOMENT)) for first, end in pairwise(edges) if first < end]


def _may_have(bounds: tuple[int, int] | None, spans: Sequence[tuple[datetime, datetime]]) -> bool:
    """Whether a file may have events of some spans, by its earliest and latest time in microseconds since 1970."""
    if bounds is None:
        return True
    earliest, latest = bounds
    return any((start - _EPOCH) // _MOMENT <= latest and (end - _EPOCH) // _MOMENT >= earliest for start, end in spans)


def _counts(connection: DuckDBPyConnection) -> list[LoadCounts]:
    result = connection.execute(statement("load/select_file_counts"))
    names = [description[0] for description in result.description or ()]
    return [LoadCounts(**dict(zip(names, row, strict=True))) for row in result.fetchall()]


def _refuse_unaccounted(load_id: str, counts: list[LoadCounts], data_files: dict[str, list[DataFile]]) -> None:
    """Refuse a load that lost or invented a record on its way from the reader to the written files."""
    wrong = [f"{count}" for count in counts if count.read != _accounted(count)]
    written = {name: sum(data_file.record_count for data_file in files) for name, files in data_files.items()}
    expected = {
        INTERACTIONS.name: sum(count.interactions for count in counts),
        REJECTED_EVENTS.name: sum(count.rejected for count in counts),
        LOADED_EVENTS.name: sum(count.interactions + count.summary_only for count in counts),
        LOADED_FILES.name: len(counts),
    }
    wrong += [
        f"{name}: {written[name]} rows written, expected {rows}"
        for name, rows in expected.items()
        if written[name] != rows
    ]
    if wrong:
        raise TerminalDataError(
            f"Load {load_id} does not account for every record it read; nothing was committed. "
            f"Keep the landing files and report this: {'; '.join(wrong[:10])}"
        )


def _accounted(count: LoadCounts) -> int:
    return count.interactions + count.summary_only + count.duplicates + count.ignored + count.rejected + count.erased
