"""One source goes the whole way of a restore and back, in tables that nobody else sees, and its rows are compared.

The scratch archive lists the real archived files; all that follows is the code of moves, which copies them to a
directory of the drill below `operations/drills/`. Only files below that directory are deleted afterwards, so a drill
needs no right to delete archived files, and its tables are not in the catalog, so it cannot change one that is.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.drills.listing import files_listed_now
from perennial.engines.duckdb import create_view, open_connection, show_tables
from perennial.errors import TerminalDataError, TerminalError
from perennial.moves.commit import commit_origin
from perennial.moves.finish import finish_move
from perennial.moves.inline import prepare_move
from perennial.moves.move_plan import EXPIRE, RESTORE, WRITTEN_TABLES, Direction, MovePlan
from perennial.moves.plan import plan_move
from perennial.moves.rewrite import fingerprint
from perennial.operations import OperationStore, Run, wall_clock
from perennial.reports import RestoreDrill
from perennial.statements import statement
from perennial.storage import StoredFile, storage_for
from perennial.tables import ARCHIVED_FILES, INTERACTIONS, INTERACTIONS_ARCHIVE
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse
from perennial.warehouse.files import taken_over
from perennial.warehouse.scratch import scratch_warehouse

if TYPE_CHECKING:
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# A drill of another run that has written nothing for this long is dead.
ABANDONED_SECONDS = 24 * 60 * 60


def rehearse_restore(warehouse: Warehouse, run: Run, source_id: str) -> RestoreDrill | None:
    """Restore one source into scratch tables and move it back, compare its rows each time, and clean up.

    Returns:
        The outcome; None if the source was moved meanwhile, or there is none.

    Raises:
        TransientError: The storage does not answer for the moment.
    """
    clean_up(warehouse, run)
    files = list(files_listed_now(warehouse, {source_id}).values())
    if not files:
        return None
    drill_id = uuid.uuid4().hex
    root = f"{warehouse.operations_uri()}/drills/{drill_id}"
    # Written first and deleted last, so that every directory says whose it is.
    OperationStore.of(warehouse).put(f"drills/{drill_id}", {"run_id": run.run_id}, "drill")
    try:
        found = _rehearsed(warehouse, run, files, root)
    except TerminalError as error:
        found = _failed(files, str(error))
    finally:
        _remove(root)
    if found.error and files_listed_now(warehouse, {source_id}).keys() != {live.uri for live in files}:
        log.info("drill: %r was moved meanwhile", source_id)
        return None
    (log.error if found.error else log.info)("drill: %s", found)
    return found


def clean_up(warehouse: Warehouse, run: Run) -> int:
    """Delete what dead drills have left: earlier tries of a run, and those that have been silent for a day.

    Returns:
        Files deleted.
    """
    place = f"{warehouse.operations_uri()}/drills"
    found: dict[str, list[StoredFile]] = {}
    for stored in storage_for(place).list_files(place):
        found.setdefault(stored.uri.removeprefix(f"{place}/").partition("/")[0], []).append(stored)
    deleted = 0
    for drill_id, files in found.items():
        started_by = (OperationStore.of(warehouse).find(f"drills/{drill_id}", "drill") or {}).get("run_id")
        silent = (wall_clock() - max(stored.modified_at for stored in files)).total_seconds()
        if started_by in (None, run.run_id) or silent >= ABANDONED_SECONDS:
            log.warning("drill: what a dead run left is deleted: %s", pluralize(len(files), "file"))
            deleted += _remove(f"{place}/{drill_id}")
    return deleted


def _remove(root: str) -> int:
    storage, marker = storage_for(root), f"{root}/drill.json"
    files = [stored.uri for stored in storage.list_files(root)]
    for uri in sorted(files, key=lambda uri: uri == marker):
        storage.delete(uri)
    return len(files)


@dataclass(frozen=True)
class _Rows:
    """How many rows some files hold, and an order-free hash of them."""

    row_count: int
    row_hash: str


def _rehearsed(warehouse: Warehouse, run: Run, files: Sequence[LiveFile], root: str) -> RestoreDrill:
    source_id = files[0].source_id
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    with scratch_warehouse(warehouse, root, WRITTEN_TABLES) as scratch:
        _list_files(warehouse, scratch, files)
        started = time.monotonic()
        plan = _planned(scratch, RESTORE, source_id)
        prepare_move(scratch, plan)
        finish_move(scratch, plan, run).refuse_rest()
        restored = time.monotonic()
        # Not before: of a damaged file the copy says what is wrong with it.
        expected = _rows(archive, files, archive)
        error = _difference(scratch, INTERACTIONS.name, archive, expected)
        return_seconds = 0.0
        if not error:
            begun = time.monotonic()
            plan = _planned(scratch, EXPIRE, source_id)
            prepare_move(scratch, plan)
            commit_origin(scratch, plan, [source_id])
            return_seconds = time.monotonic() - begun
            error = _difference(scratch, INTERACTIONS_ARCHIVE.name, archive, expected)
    return RestoreDrill(
        source_id=source_id,
        file_count=len(files),
        row_count=expected.row_count,
        total_bytes=sum(live.file_bytes for live in files),
        restore_seconds=restored - started,
        return_seconds=return_seconds,
        error=error,
    )


def _failed(files: Sequence[LiveFile], error: str) -> RestoreDrill:
    return RestoreDrill(
        source_id=files[0].source_id,
        file_count=len(files),
        row_count=sum(live.row_count for live in files),
        total_bytes=sum(live.file_bytes for live in files),
        error=error,
    )


def _list_files(warehouse: Warehouse, scratch: Warehouse, files: Sequence[LiveFile]) -> None:
    """Let the scratch archive list the real archived files, and know what was recorded of them."""
    with open_connection() as session:
        show_tables(session, warehouse, [ARCHIVED_FILES.name])
        binds = {"file_uris": [live.uri for live in files]}
        recorded = session.sql(statement("drills/select_records_of_files"), params=binds).to_arrow_table()
    scratch.append_rows(ARCHIVED_FILES.name, recorded.to_pylist(), "drill:records")
    table = scratch.table(INTERACTIONS_ARCHIVE.name)
    scratch.append_files(INTERACTIONS_ARCHIVE.name, [taken_over(table, live, live.uri) for live in files], "drill:list")


def _planned(scratch: Warehouse, direction: Direction, source_id: str) -> MovePlan:
    plan = plan_move(scratch, direction, [source_id])
    if plan is None:
        raise TerminalDataError(f"{direction.origin} lists nothing of {source_id!r} that could be moved.")
    return plan


def _rows(table: Table, files: Sequence[LiveFile], archive: Table) -> _Rows:
    """Read the rows of some files as the archive's columns."""
    from duckdb import Error as DuckDBError

    with open_connection() as session:
        create_view(session, "rehearsed", files, table, archive.schema())
        try:
            return _Rows(*fingerprint(session, "rehearsed"))
        except DuckDBError as error:
            raise TerminalDataError(f"The rows of {files[0].source_id!r} cannot be read: {error}") from error


def _difference(scratch: Warehouse, name: str, archive: Table, expected: _Rows) -> str:
    table = scratch.table(name)
    found = _rows(table, list(scratch.live_files(table)), archive)
    if found == expected:
        return ""
    way = "after the restore" if name == INTERACTIONS.name else "after the way back"
    return (
        f"{way} it had other rows than before: {pluralize(found.row_count, 'row')} of {expected.row_count:,}"
        f"{', not the same' if found.row_count == expected.row_count else ''}."
    )
