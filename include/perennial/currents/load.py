"""`load_interactions`: everything new in the landing place, exactly once."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from perennial.currents.commit import commit_load, finish_pending_loads, has_pending_loads, record_load
from perennial.currents.landing import LandingFile, list_landing, select_new, wait_until_unchanged
from perennial.currents.prepare import LOADED_TABLES, LoadRequest, prepare_load, read_batch
from perennial.engines.duckdb import open_connection
from perennial.errors import TerminalDataError, TransientConflictError
from perennial.metrics import send
from perennial.quality import LoadCounts
from perennial.refusals import refuse_future_date
from perennial.settings import dag_id
from perennial.storage import storage_for
from perennial.tables import LOADED_EVENTS
from perennial.text import pluralize
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# Bytes of decoded records in one load; bounds memory, whatever the backlog.
BATCH_BYTES = 128 << 20
ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class LoadOutcome:
    """What one run loaded.

    Attributes:
        loads: Batches committed.
        files: Landing files in them.
        read: Records in those, including unreadable ones; the sum of the next six.
        interactions: Rows added to `interactions`.
        summary_only: Events without a source, which at most count in `user_message_summary`.
        duplicates: Records of an earlier delivery.
        ignored: Records of event types that are not loaded.
        rejected: Records kept in `rejected_events`.
        erased: Records of people who were erased, which are not stored (R22).
        waiting: Files that were still being written, changed or vanished; the next run tries again.
        finished: Loads that another run had begun and this one finished; their records are not counted here.
    """

    loads: int = 0
    files: int = 0
    read: int = 0
    interactions: int = 0
    summary_only: int = 0
    duplicates: int = 0
    ignored: int = 0
    rejected: int = 0
    erased: int = 0
    waiting: int = 0
    finished: int = 0


def load_interactions(
    warehouse: Warehouse,
    now: datetime,
    check: Callable[[list[LoadCounts]], None] | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> LoadOutcome:
    """Load every new landing file.

    A file is new if `loaded_files` does not have it with its current size and modification time. A file that grew is
    read again as a whole; its first records are recognised by their ids.

    Args:
        warehouse: Where the tables are; its settings say where files land.
        now: Becomes loaded_at and rejected_at; must not be after the wall clock (R24).
        check: Looks at the counts of each load's files before it is committed; raises to stop it.
        batch_bytes: Decoded records of one load.

    Raises:
        TerminalRequestError: `now` is after the wall clock.
        TerminalDataError: A load does not add up, or a table was set back; nothing of it was committed.
        TerminalSettingError: Another writer has made a table unwritable.
        TransientConflictError: Other writers kept committing first; the next run continues.
    """
    refuse_future_date(now, datetime.now(UTC))
    refuse_losses(warehouse)
    warehouse.refuse_unwritable(LOADED_TABLES)
    finished = finish_pending_loads(warehouse)
    listed = select_new(warehouse, list_landing(warehouse.settings))
    ready, waiting = wait_until_unchanged(listed, warehouse.settings.landing_settle)
    loads: list[list[LoadCounts]] = []
    lost_races = 0
    while ready:
        if lost_races == ATTEMPTS:
            raise TransientConflictError(
                f"Other loads came first {ATTEMPTS} times; run {dag_id('load_interactions')} again."
            )
        ledger = warehouse.table(LOADED_EVENTS.name)
        # After the ledger is pinned: a load in it is then either finished, or seen here and finished first.
        if has_pending_loads(warehouse):
            finished += finish_pending_loads(warehouse)
            lost_races += 1
            continue
        # Checked again after that: files that another run has loaded since the listing are no longer new.
        ready = select_new(warehouse, [file.stored for file in ready])
        counts, changed = _load_batch(warehouse, ledger, ready, LoadRequest(now, check, batch_bytes))
        loads += [counts] if counts else []
        waiting += changed
        done = {file.uri for file in changed} | {count.file_uri for count in counts}
        ready = [file for file in ready if file.uri not in done]
        lost_races = 0 if counts or changed else lost_races + 1
    return _outcome(loads, len(waiting), finished)


def quality_gate(warehouse: Warehouse) -> Callable[[list[LoadCounts]], None]:
    """Return the check that `load_interactions` calls before it commits: every record must be accounted for."""

    def check(counts: list[LoadCounts]) -> None:
        from perennial.quality import check_load

        report = check_load(counts)
        if report.success:
            return
        uri = f"{warehouse.operations_uri()}/loads/refused-{uuid.uuid4().hex}.html"
        storage_for(uri).write(uri, report.html.encode())
        raise TerminalDataError(
            f"A load does not add up, nothing of it was committed: {'; '.join(report.failures)}. Report: {uri}"
        )

    return check


def _load_batch(
    warehouse: Warehouse, ledger: Table, files: list[LandingFile], request: LoadRequest
) -> tuple[list[LoadCounts], list[LandingFile]]:
    """Load the first files of the list.

    Returns:
        The counts of each file, none if another load came first; the files that changed while they were read.
    """
    started = time.monotonic()
    with open_connection() as connection:
        batch = read_batch(connection, files, request.batch_bytes)
        if not batch.read:
            return [], batch.left
        prepared, counts = prepare_load(warehouse, ledger, batch, request)
    record_load(warehouse, prepared)
    if not commit_load(warehouse, prepared):
        return [], []
    seconds, read = time.monotonic() - started, sum(count.read for count in counts)
    rate = read / max(seconds, 1e-9)
    loaded = pluralize(len(counts), "file"), pluralize(read, "record")
    log.info("load %s: %s, %s, %.1f s, %.0f records/s", prepared.load_id, *loaded, seconds, rate)
    return counts, batch.left


def _outcome(loads: list[list[LoadCounts]], waiting: int, finished: int) -> LoadOutcome:
    counts = [count for load in loads for count in load]
    names = ("read", "interactions", "summary_only", "duplicates", "ignored", "rejected", "erased")
    totals = {name: sum(getattr(count, name) for count in counts) for name in names}
    outcome = LoadOutcome(loads=len(loads), files=len(counts), waiting=waiting, finished=finished, **totals)
    send({"loaded_rows_total": outcome.interactions, "rejected_events_total": outcome.rejected})
    log.info("%s", outcome)
    return outcome
