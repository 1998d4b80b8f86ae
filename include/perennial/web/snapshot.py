"""The sources as lists show them, kept in memory and made anew when the warehouse has changed."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial.statements import statement
from perennial.tables import INTERACTIONS, INTERACTIONS_ARCHIVE, LIFECYCLE_EVENTS, SOURCE_TAGS, SOURCES

if TYPE_CHECKING:
    import duckdb

    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

# Looking whether anything has changed takes a few milliseconds a table.
_LOOK_EVERY_SECONDS = 2.0
# An answer waits that long for a newer state, and is then given from the one there is.
_WAIT_SECONDS = 1.0
_TABLES = (SOURCES, SOURCE_TAGS, LIFECYCLE_EVENTS, INTERACTIONS, INTERACTIONS_ARCHIVE)

_Version = tuple[int | None, ...]


@dataclass(frozen=True)
class _Loaded:
    version: _Version
    connection: duckdb.DuckDBPyConnection


class SourceSnapshot:
    """Relations `listed_sources` and `listed_tags`, for every thread of the server.

    The first question waits for it; later ones are answered from the last state while a newer one is made, so that a
    load or a move never makes a page slow.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._lock = threading.Lock()
        self._maker = ThreadPoolExecutor(1, "perennial-snapshot")
        self._loaded: _Loaded | None = None
        self._making: Future[None] | None = None
        self._looked_at = 0.0

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of one's own, a status session in which both are in place; close it when done."""
        with self._lock:
            due = self._loaded is None or time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS
            if self._making is None and due:
                self._making = self._maker.submit(self._refresh)
            making = self._making
        if making is not None:
            _wait(making, None if self._loaded is None else _WAIT_SECONDS)
        loaded = self._loaded
        assert loaded is not None
        return loaded.connection.cursor()

    def _refresh(self) -> None:
        try:
            version = tuple(_snapshot_id(self._warehouse, table.name) for table in _TABLES)
            if self._loaded is None or self._loaded.version != version:
                started = time.monotonic()
                self._loaded = _Loaded(version, _load(self._warehouse))
                log.info("sources listed anew in %.2f s", time.monotonic() - started)
        finally:
            with self._lock:
                self._looked_at = time.monotonic()
                self._making = None


def _wait(making: Future[None], seconds: float | None) -> None:
    try:
        making.result(seconds)
    except TimeoutError:
        pass
    except Exception:
        # The last state is better than none; without one, the reader has to know.
        if seconds is None:
            raise
        log.exception("the sources could not be listed anew; the last state is shown")


def _load(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    from perennial.engines.duckdb import open_status_session

    session = open_status_session(warehouse)
    session.execute(statement("web/keep_source_totals"))
    session.execute(statement("web/create_listed_sources"))
    session.execute(statement("web/create_listed_tags"))
    return session


def _snapshot_id(warehouse: Warehouse, table: str) -> int | None:
    snapshot = warehouse.table(table).current_snapshot()
    return snapshot.snapshot_id if snapshot else None
