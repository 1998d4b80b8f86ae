"""DuckDB in process: every table as a view over the data files of its current snapshot.

pyiceberg plans, DuckDB reads the planned files by field id, so a column that was added later is null in older files.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from perennial.engines.columns import SOURCE_TOTALS, arrow_type, no_values, quoted, scan
from perennial.errors import TerminalDataError, TransientConflictError
from perennial.sql import statement
from perennial.tables import (
    EXPIRY_DECISIONS,
    INTERACTIONS,
    INTERACTIONS_ARCHIVE,
    LIFECYCLE_EVENTS,
    SOURCE_TAGS,
    SOURCES,
    TABLES,
    VANISHED_SOURCES,
)
from perennial.warehouse.foreign import refuse_unreadable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table as IcebergTable

    from perennial.warehouse import LiveFile, Warehouse

# What tells where interactions are; small beside the interactions themselves.
STATUS_TABLES = (
    SOURCES.name,
    VANISHED_SOURCES.name,
    SOURCE_TAGS.name,
    LIFECYCLE_EVENTS.name,
    EXPIRY_DECISIONS.name,
)
# Which sources are known, in order. A sync adds to `vanished_sources` before it replaces `sources`: whoever opens them
# the other way round, which is the order of TABLES, misses none.
KNOWN_VIEWS = ("absent_sources", "known_sources")
STATE_VIEWS = (*KNOWN_VIEWS, "source_moves", "source_states")
# What is in place for everybody who asks the whole warehouse, in order.
VIEWS = (
    "hidden_sources",
    "available_interactions",
    "campaign_interactions",
    "canvas_interactions",
    "source_analytics",
    "user_message_summary_latest",
)
_ATTEMPTS = 10

_Session = TypeVar("_Session")


def open_connection() -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that computes in UTC and never reaches for the network."""
    # What does not fit in memory goes to a directory of its own, not to the one that the process happens to stand in.
    spill = Path(tempfile.gettempdir()) / f"perennial-{uuid.uuid4().hex}"
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "temp_directory": str(spill)})
    # A worker's log is no place for a bar that redraws itself.
    connection.execute("SET enable_progress_bar = false")
    # Set after opening: at opening time the time zone's extension is not loaded yet.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def open_session(warehouse: Warehouse, tables: Iterable[str] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a connection with tables in place as views over their current snapshots.

    Args:
        warehouse: Where the tables are.
        tables: Names of the tables; None for all of them, and the contract's views with them.
    """
    if tables is not None:
        return _opened(warehouse, tables)

    def whole() -> duckdb.DuckDBPyConnection:
        connection = open_connection()
        for name in (table.name for table in TABLES):
            try:
                show_tables(connection, warehouse, [name])
            except TerminalDataError as error:
                # One table must not take the others with it: who asks this one is told.
                _fail_when_read(connection, name, warehouse.table(name).schema(), str(error))
        _create_availability(connection, warehouse)
        create_views(connection, VIEWS)
        return connection

    return at_one_moment(warehouse, whole)


def open_status_session(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Open a connection that knows where everything is and why, from metadata alone: no fact table is opened."""

    def status() -> duckdb.DuckDBPyConnection:
        connection = _opened(warehouse, STATUS_TABLES)
        _create_availability(connection, warehouse)
        return connection

    return at_one_moment(warehouse, status)


def _opened(warehouse: Warehouse, tables: Iterable[str]) -> duckdb.DuckDBPyConnection:
    connection = open_connection()
    show_tables(connection, warehouse, tables)
    return connection


def show_tables(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, tables: Iterable[str]) -> None:
    """Put tables in place as views over their current snapshots."""
    for name in tables:
        table = warehouse.table(name)
        create_view(connection, name, list(warehouse.live_files(table)), table)


def at_one_moment(warehouse: Warehouse, opened: Callable[[], _Session]) -> _Session:
    """Open a session again until no move was recorded meanwhile.

    An expiry records before it removes, a restore after it has added: with the same last event before and after, where
    a source is said to be and what the tables show of it agree.
    """
    before = _last_move(warehouse)
    for _ in range(_ATTEMPTS):
        session = opened()
        after = _last_move(warehouse)
        if after == before:
            return session
        before = after
    raise TransientConflictError(
        f"Sources were moved during each of {_ATTEMPTS} attempts to look at the warehouse; try again."
    )


def _last_move(warehouse: Warehouse) -> int | None:
    snapshot = warehouse.table(LIFECYCLE_EVENTS.name).current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _create_availability(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    connection.register("source_totals", source_totals(warehouse))
    create_state_views(connection, warehouse.settings.retention_months)
    create_views(connection, ("known_source_tags", "source_availability"))


def create_state_views(connection: duckdb.DuckDBPyConnection, retention_months: int) -> None:
    """Create view `source_states`, and what it needs, over `sources`, `vanished_sources` and `lifecycle_events`."""
    connection.execute(statement("views/create_retention"), {"months": retention_months})
    create_views(connection, STATE_VIEWS)


def create_views(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    """Create views of `include/sql/views/` over the relations that they read."""
    for name in names:
        connection.execute(statement(f"views/create_{name}"))


_OF_ARROW = re.compile(r"^\w*Error: (.+)$", re.MULTILINE)


def create_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    live_files: Sequence[LiveFile],
    table: IcebergTable,
    schema: Schema | None = None,
) -> None:
    """Show data files as one view, delete files of other engines applied.

    The addresses are this warehouse's own; a view takes no binds, so they are quoted as literals.

    Args:
        connection: Where to.
        name: Of the view; comes from code.
        live_files: The files.
        table: Whose files they are, as loaded.
        schema: The columns of the view; None for all of the table's.

    Raises:
        TerminalDataError: A file is there and cannot be read rightly, or has a format that cannot be read.
    """
    import pyarrow as pa

    refuse_unreadable(table, live_files)
    schema = schema or table.schema()
    try:
        parts = _parts(connection, name, live_files, table, schema)
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")
    except (duckdb.Error, OSError, pa.ArrowInvalid) as error:
        # A file that has vanished, or that this role may not read, must not take the other tables with it, nor be left
        # out without a word. What Arrow says of a bucket comes as a traceback, with no class of DuckDB's own.
        told = _OF_ARROW.search(str(error))
        _fail_when_read(connection, name, schema, f"{name} cannot be read: {told[1] if told else error}")


def _fail_when_read(connection: duckdb.DuckDBPyConnection, name: str, schema: Schema, said: str) -> None:
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {_no_rows(schema)} OR error({quoted(said)})")


def _parts(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    live_files: Sequence[LiveFile],
    table: IcebergTable,
    schema: Schema,
) -> list[str]:
    from perennial.warehouse.files import deleted_rows
    from perennial.warehouse.layouts import laid_out

    parts = []
    _reach(connection, table, (live.uri for live in live_files))
    for merged in (False, True):
        some = [live for live in live_files if bool(live.deletes) is merged]
        left_out = ""
        if merged and some:
            connection.register(f"{name}__deleted", deleted_rows(table, some, local_path))
            left_out = f" ANTI JOIN {name}__deleted AS d ON d.path = r.filename AND d.position = r.file_row_number"
        for layout, group in laid_out(table, some, schema).items():
            files = ", ".join(quoted(local_path(live.uri)) for live in group)
            parts.append(scan(schema, layout, files) + left_out)
    return parts or [_no_rows(schema)]


def _reach(connection: duckdb.DuckDBPyConnection, table: IcebergTable, uris: Iterable[str]) -> None:
    """Let the engine open files where the table's are, with the table's credentials: no extension to be installed.

    Those of this machine it opens anyway; an archive that has moved to S3 has both.
    """
    uri = next((uri for uri in uris if "://" in local_path(uri)), None)
    if uri is None:
        return
    from perennial.engines.remote_files import Buckets, RemoteFiles

    scheme = uri.partition("://")[0]
    files = Buckets(partial(table.io.fs_by_scheme, scheme))  # type: ignore[attr-defined]  # Arrow's
    if "s3" in connection.list_filesystems():
        connection.unregister_filesystem("s3")
    connection.register_filesystem(RemoteFiles(files))


def _no_rows(schema: Schema) -> str:
    return f"SELECT {no_values(schema)} WHERE FALSE"


def source_totals(warehouse: Warehouse) -> pa.Table:
    """What hot and archive hold of each source: columns `SOURCE_TOTALS`."""
    import pyarrow as pa

    rows = [
        {"table_name": name, **vars(total)}
        for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)
        for total in warehouse.source_totals(name).values()
    ]
    return pa.Table.from_pylist(rows, pa.schema([(name, arrow_type(kind)) for name, kind in SOURCE_TOTALS.items()]))


def local_path(uri: str) -> str:
    """Return an address as DuckDB reads it."""
    return re.sub(r"^s3[an]://", "s3://", uri.removeprefix("file://"))
