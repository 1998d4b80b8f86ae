"""The sources as shown in lists, kept in memory and rebuilt when the warehouse has changed."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perennial.operations import wall_clock
from perennial.policy.holds import show_holds
from perennial.policy.referrers import explain_unread, kept_sources
from perennial.statements import statement
from perennial.tables import (
    AUDIENCES,
    HOLDS,
    INTERACTIONS,
    INTERACTIONS_ARCHIVE,
    LIFECYCLE_EVENTS,
    LOADED_FILES,
    SOURCE_TAGS,
    SOURCES,
)

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from perennial.operations import OperationRecord
    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

_TAGS_OFFERED = 200
# Checking whether anything has changed takes a few milliseconds per table.
_LOOK_EVERY_SECONDS = 2.0
# A request waits this long for a newer state and is then answered from the last one. If the last one took longer to
# build, it does not wait.
_WAIT_SECONDS = 1.0
_TABLES = (AUDIENCES, SOURCES, SOURCE_TAGS, LIFECYCLE_EVENTS, INTERACTIONS, INTERACTIONS_ARCHIVE, HOLDS)

_Version = tuple[int | None, ...]
_Rows = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Kept:
    """The sources that an active referrer keeps (R4).

    Attributes:
        source_ids: Their ids.
        undecided: Why all sources are kept, so that nothing expires; empty if only those in `source_ids` are.
        version: Version of the audiences that were read.
    """

    source_ids: frozenset[str] = frozenset()
    undecided: str = ""
    version: int | None = None


@dataclass(frozen=True, eq=False)
class Listed:
    """The sources as of one state of the warehouse.

    Attributes:
        connection: A status session with relation `listed_sources`; query it through your own cursor.
        rows: What lists show of each source (web/list_sources), by position; `searched` is the text that a search
            looks through.
        tagged: Positions of the sources that carry a tag, in order, by tag.
        tags: The tags that a person can choose from, the most used first, with the number of their sources.
        states: Figures of each state (web/sum_states).
        moves: Figures of each day on which something was moved or loaded (web/list_daily_moves).
        restores: The last runs that restored something (web/list_restores).
        kept: The sources that are kept, whatever their clock says.
        version: Version of the tables it was built from.
        took_seconds: How long building it took.
        matched: Positions of the sources that match, by query.
    """

    connection: duckdb.DuckDBPyConnection
    rows: pl.DataFrame
    tagged: dict[str, list[int]]
    tags: _Rows
    states: _Rows
    moves: _Rows
    restores: _Rows
    kept: Kept
    version: _Version
    took_seconds: float
    matched: dict[object, pl.Series] = field(default_factory=dict)


class SourceSnapshot:
    """The sources as they are now, for every thread of the server.

    The first request waits for it; later ones are answered from the last state while a newer one is built, so that a
    load or a move never makes a page slow.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._lock = threading.Lock()
        self._maker = ThreadPoolExecutor(1, "perennial-snapshot")
        self._loaded: Listed | None = None
        self._restores: tuple[OperationRecord, ...] = ()
        self._making: Future[None] | None = None
        self._failure: Exception | None = None
        self._looked_at = 0.0

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection to query; close it when done."""
        return self.now().connection.cursor()

    @property
    def restores(self) -> tuple[OperationRecord, ...]:
        """The pending records of restores."""
        self.now()
        return self._restores

    def now(self) -> Listed:
        """Return the latest state; figures that belong together have to come from one state.

        Raises the error that prevented the last check whether it still is the latest.
        """
        with self._lock:
            looked = time.monotonic() - self._looked_at
            due = self._loaded is None or self._failure is not None or looked > _LOOK_EVERY_SECONDS
            if self._making is None and due:
                self._making = self._maker.submit(self._refresh)
            making = self._making
        if making is not None:
            wait([making], self._patience())
        if self._failure is not None:
            raise self._failure
        assert self._loaded is not None
        return self._loaded

    def _patience(self) -> float | None:
        if self._loaded is None or self._failure is not None:
            return None
        return _WAIT_SECONDS if self._loaded.took_seconds < _WAIT_SECONDS else 0.0

    def _refresh(self) -> None:
        failure = None
        try:
            self._look()
        except Exception as error:
            failure = error
        with self._lock:
            self._failure = failure
            self._looked_at = time.monotonic()
            self._making = None

    def _look(self) -> None:
        from perennial.moves.move_plan import RESTORE
        from perennial.operations import pending_records

        version = tuple(_snapshot_id(self._warehouse, table.name) for table in _TABLES)
        self._restores = tuple(pending_records(self._warehouse, RESTORE.name))
        if self._loaded is not None and self._loaded.version == version:
            return
        try:
            self._loaded = _load(self._warehouse, version, self._kept(version[0]))
        except Exception:
            # The last state is better than none; without one, the reader has to see the error.
            if self._loaded is None:
                raise
            log.exception("the list of sources could not be rebuilt; the last state is shown")
        else:
            log.info("list of sources rebuilt in %.2f s", self._loaded.took_seconds)

    def _kept(self, version: int | None) -> Kept:
        # Reading fifty thousand audiences takes seconds, and most changes do not concern audiences.
        if self._loaded is not None and self._loaded.kept.version == version:
            return self._loaded.kept
        kept = kept_sources(self._warehouse)
        return Kept(kept.source_ids, explain_unread(kept.unread), version)


def _load(warehouse: Warehouse, version: _Version, kept: Kept) -> Listed:
    import polars as pl
    import pyarrow as pa

    from perennial.engines.duckdb import open_status_session, show_tables

    started = time.monotonic()
    session = open_status_session(warehouse)
    show_tables(session, warehouse, [LOADED_FILES.name])
    session.execute(statement("web/keep_source_totals"))
    session.register("kept_sources", pa.table({"source_id": pa.array(list(kept.source_ids), pa.string())}))
    show_holds(session, warehouse, wall_clock())
    session.execute(statement("web/create_listed_sources"))
    rows = session.sql(statement("web/list_sources")).pl()
    # Nobody types the separator. Python does this, because SQL's lower() does less than casefold().
    searched = [f"{name}\x1e{source_id}".casefold() for name, source_id in rows.select("name", "source_id").rows()]
    tagged = _tagged(rows)
    return Listed(
        connection=session,
        rows=rows.with_columns(searched=pl.Series(searched, dtype=pl.String)),
        tagged=tagged,
        tags=_most_used(tagged),
        states=tuple(session.execute(statement("web/sum_states")).fetchall()),
        moves=tuple(session.execute(statement("web/list_daily_moves")).fetchall()),
        restores=tuple(session.execute(statement("web/list_restores")).fetchall()),
        kept=kept,
        version=version,
        took_seconds=time.monotonic() - started,
    )


def _tagged(rows: pl.DataFrame) -> dict[str, list[int]]:
    tags = rows.select("position", "tags").explode("tags").drop_nulls()
    return dict(tags.group_by("tags").agg("position").iter_rows())


def _most_used(tagged: dict[str, list[int]]) -> tuple[tuple[str, int], ...]:
    counted = [(tag, len(positions)) for tag, positions in tagged.items()]
    return tuple(sorted(counted, key=lambda tag: (-tag[1], tag[0]))[:_TAGS_OFFERED])


def _snapshot_id(warehouse: Warehouse, table: str) -> int | None:
    snapshot = warehouse.table(table).current_snapshot()
    return snapshot.snapshot_id if snapshot else None
