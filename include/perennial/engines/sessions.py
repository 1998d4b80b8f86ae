"""One question of a feature (R14) at one moment: what is decided in process, and where the rows are queried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from perennial.engines.duckdb import (
    KNOWN_VIEWS,
    at_one_moment,
    create_state_views,
    create_view,
    create_views,
    open_connection,
)
from perennial.engines.misplaced import show_misplaced
from perennial.engines.protocol import Engine, QuerySession
from perennial.engines.query_sessions import DuckDBSession, EngineSession, open_engine
from perennial.statements import statement
from perennial.tables import INTERACTIONS, LIFECYCLE_EVENTS, SOURCE_TAGS, SOURCES, VANISHED_SOURCES
from perennial.warehouse.schemas import contract_columns

if TYPE_CHECKING:
    import duckdb
    from pyiceberg.table import Table as IcebergTable

    from perennial.warehouse import LiveFile, Warehouse

_Opened = TypeVar("_Opened")
# What decisions are made from: always in process.
_DECIDING = (SOURCES.name, VANISHED_SOURCES.name, SOURCE_TAGS.name, LIFECYCLE_EVENTS.name)


@dataclass(frozen=True)
class FeatureSession:
    """Everything that one query needs; it is closed at the end of its block.

    Attributes:
        connection: DuckDB in process, with what decisions are made from.
        queries: Where interactions and users are queried.
        source_ids: The sources whose interactions the question looks at; None: all.
        interaction_files: The data files of interactions it may read.
    """

    connection: duckdb.DuckDBPyConnection
    queries: QuerySession
    source_ids: frozenset[str] | None
    interaction_files: tuple[LiveFile, ...]

    def __enter__(self) -> FeatureSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.queries.close()
        self.connection.close()


@dataclass
class Opening:
    """A session that is being opened: each table is loaded once, so that every read sees the same snapshot.

    Attributes:
        warehouse: Where the tables are.
        engine: Who is queried; None: DuckDB in process.
        connection: DuckDB in process, with `known_sources`, `known_source_tags` and `source_states` in place.
    """

    warehouse: Warehouse
    engine: Engine | None
    connection: duckdb.DuckDBPyConnection = field(default_factory=open_connection)
    tables: dict[str, IcebergTable] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    def table(self, name: str) -> IcebergTable:
        """Return a table as it was when the session first read it."""
        if name not in self.tables:
            self.tables[name] = self.warehouse.table(name)
        return self.tables[name]

    def show(self, names: Iterable[str]) -> None:
        """Create views of tables for decisions."""
        for name in names:
            if name not in self.shown:
                table = self.table(name)
                # Our statements use only these columns, and the engine is told the same.
                columns = contract_columns(name, table.schema())
                create_view(self.connection, name, list(self.warehouse.live_files(table)), table, columns)
                self.shown.add(name)

    def offer(self, names: Iterable[str]) -> None:
        """Let tables be queried; an engine reads them itself, at the snapshot that is loaded here."""
        if self.engine is None:
            self.show(names)
        else:
            for name in names:
                self.table(name)

    def session(self, source_ids: Collection[str] | None) -> FeatureSession:
        """Finish: `available_interactions` is what features may see of some sources.

        Args:
            source_ids: The sources whose interactions the question looks at; None: all.
        """
        show_misplaced(self.connection, self.warehouse, source_ids or None)
        rows = self.connection.execute("SELECT source_id FROM hidden_sources").fetchall()
        hidden = {source_id for (source_id,) in rows}
        found = list(self.warehouse.live_files(self.table(INTERACTIONS.name), source_ids))
        # A partition is a source, so what is hidden is left out file by file, and no row is looked at for it.
        visible = [live for live in found if live.is_mixed or live.source_id not in hidden]
        if self.engine is None:
            _show_available(self, visible, source_ids, hidden)
            queries: QuerySession = DuckDBSession(self.connection)
        else:
            with_rows = {live.source_id for live in found if not live.is_mixed}
            if any(live.is_mixed for live in found):
                with_rows |= hidden if source_ids is None else set(source_ids)
            unseen = None if source_ids is not None else with_rows & hidden
            queries = _engine_session(self.engine, self, with_rows - hidden, unseen)
        wanted = None if source_ids is None else frozenset(source_ids)
        return FeatureSession(self.connection, queries, wanted, tuple(visible))


def open_feature_session(
    warehouse: Warehouse, tables: Collection[str], opened: Callable[[Opening], _Opened]
) -> _Opened:
    """Open what answers one question of a feature: only the files that it can need are planned and read.

    Args:
        warehouse: Where the tables are.
        tables: The tables of the contract that the question queries, besides the interactions.
        opened: Shows and offers more tables where it needs them, and finishes the session. Called again where a move
            was recorded meanwhile.

    Returns:
        What that returns.
    """
    engine = open_engine(warehouse.settings)

    def feature() -> _Opened:
        opening = Opening(warehouse, engine)
        opening.show(_DECIDING)
        opening.offer(tables)
        create_state_views(opening.connection, warehouse.settings.retention_months)
        create_views(opening.connection, ("known_source_tags", "hidden_sources"))
        return opened(opening)

    return at_one_moment(warehouse, feature)


def _show_available(
    opening: Opening, files: Sequence[LiveFile], source_ids: Collection[str] | None, hidden: Collection[str]
) -> None:
    """Create `available_interactions`; rows are filtered only if a file may hold those of several sources."""
    name, table = "available_interactions", opening.table(INTERACTIONS.name)
    columns = contract_columns(INTERACTIONS.name, table.schema())
    if not any(live.is_mixed for live in files):
        create_view(opening.connection, name, files, table, columns)
        return
    create_view(opening.connection, INTERACTIONS.name, files, table, columns)
    if source_ids is None:
        select, binds = "engines/select_interactions_except", {"hidden_ids": sorted(hidden)}
    else:
        select, binds = "engines/select_interactions_of", {"source_ids": sorted(set(source_ids) - set(hidden))}
    opening.connection.sql(statement(select), params=binds).create_view(name)


def open_deciding_session(warehouse: Warehouse, tables: Collection[str]) -> duckdb.DuckDBPyConnection:
    """Open a connection, always in process, for decisions from tables and the state of every source."""

    def opened(opening: Opening) -> duckdb.DuckDBPyConnection:
        opening.show(tables)
        return opening.session(()).connection

    return open_feature_session(warehouse, (), opened)


def _engine_session(engine: Engine, opening: Opening, visible: set[str], hidden: set[str] | None) -> EngineSession:
    """Tell an engine where the tables are, and which interactions features may see.

    Args:
        engine: The engine.
        opening: The session, with every table loaded that may be read.
        visible: The needed sources with visible interactions.
        hidden: If all sources are needed: those with interactions that are all hidden; otherwise None.
    """
    from perennial.engines.transpile import relations_at_snapshots

    relations = relations_at_snapshots(opening.warehouse.settings, opening.tables.values())
    for view in (*KNOWN_VIEWS, "known_source_tags"):
        relations.define(view, statement(f"views/create_{view}"), {})
    if hidden is None:
        binds = {"source_ids": sorted(visible)}
        relations.define("available_interactions", statement("engines/select_interactions_of"), binds)
    else:
        binds = {"hidden_ids": sorted(hidden)}
        relations.define("available_interactions", statement("engines/select_interactions_except"), binds)
    return EngineSession(engine, relations, opening.connection)
