"""A session over the archive's listing and what is recorded of its files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perennial.engines.duckdb import KNOWN_VIEWS, create_views, open_connection, show_tables
from perennial.tables import ARCHIVE_CHECKS, ARCHIVED_FILES, INTERACTIONS_ARCHIVE, SOURCES, VANISHED_SOURCES
from perennial.text import pluralize
from perennial.warehouse import LiveFile, Warehouse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

_BATCH_FILES = 50_000
# A sync adds to the second before it replaces the first, so the first is opened first.
_TABLES = (SOURCES.name, VANISHED_SOURCES.name, ARCHIVED_FILES.name, ARCHIVE_CHECKS.name)


@contextmanager
def archive_session(warehouse: Warehouse) -> Iterator[DuckDBPyConnection]:
    """Open a session with `listed_files`, the archive's files as they are listed now, and the tables about them."""
    import pyarrow as pa

    schema = pa.schema({"file_uri": pa.string(), "source_id": pa.string(), "file_bytes": pa.int64()})
    with open_connection() as session:
        show_tables(session, warehouse, _TABLES)
        create_views(session, KNOWN_VIEWS)
        session.execute("CREATE TEMP TABLE listed_files (file_uri VARCHAR, source_id VARCHAR, file_bytes BIGINT)")
        for rows in _batches(warehouse):
            session.register("batch", pa.Table.from_pylist(rows, schema=schema))
            session.execute("INSERT INTO listed_files SELECT file_uri, source_id, file_bytes FROM batch")
        yield session


def files_listed_now(warehouse: Warehouse, source_ids: set[str]) -> dict[str, LiveFile]:
    """List the archived files of some sources at this moment, by address; mixed files are left out."""
    archive = warehouse.table(INTERACTIONS_ARCHIVE.name)
    return {live.uri: live for live in warehouse.live_files(archive, source_ids) if not live.is_mixed}


def _batches(warehouse: Warehouse) -> Iterator[list[dict[str, object]]]:
    rows: list[dict[str, object]] = []
    mixed = 0
    for live in warehouse.live_files(warehouse.table(INTERACTIONS_ARCHIVE.name)):
        if live.is_mixed:
            mixed += 1
            continue
        rows.append({"file_uri": live.uri, "source_id": live.source_id, "file_bytes": live.file_bytes})
        if len(rows) == _BATCH_FILES:
            yield rows
            rows = []
    if mixed:
        files = pluralize(mixed, "file")
        log.warning("%s of the archive may hold rows of several sources, and nothing is recorded of such files", files)
    if rows:
        yield rows
