"""DuckDB in process: every table as a view over the data files of its current snapshot.

pyiceberg plans, DuckDB reads the planned files by field id, so a column that was added later is null in older files.

A session of the whole warehouse has in schema `main` what people query, and in schema `internal` the views beneath.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb

from perennial.engines.columns import FILE_COLUMN, SOURCE_TOTALS, arrow_type, no_values, quoted, scan
from perennial.errors import TerminalDataError, TransientConflictError
from perennial.statements import statement
from perennial.storage import local_name
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
from perennial.tables import VIEWS as PUBLIC_VIEWS
from perennial.warehouse.foreign import refuse_unreadable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table as IcebergTable

    from perennial.warehouse import LiveFile, Warehouse

# Tables that say where interactions are; small compared with the interactions.
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
# Views for everybody who queries the whole warehouse, in order.
VIEWS = (
    "hidden_sources",
    "available_interactions",
    "campaign_interactions",
    "canvas_interactions",
    "source_analytics",
    "user_message_summary_latest",
)
_INTERNAL = {*STATE_VIEWS, "hidden_sources", "retention", "source_totals"}
_PUBLIC = {relation.name for relation in (*TABLES, *PUBLIC_VIEWS)}
_RELATION = re.compile(r"\b(CREATE VIEW|CREATE TABLE|FROM|JOIN) (\w+)")
_ATTEMPTS = 10

_Session = TypeVar("_Session")


def open_connection() -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that computes in UTC and never downloads extensions."""
    # Data that does not fit in memory goes to a separate directory, not to the current one.
    spill = Path(tempfile.gettempdir()) / f"perennial-{uuid.uuid4().hex}"
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "temp_directory": str(spill)})
    # A progress bar that redraws itself would fill a worker's log. In Jupyter without ipywidgets there is none, and
    # DuckDB refuses to turn it off.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    # Set after opening: at opening time the time zone's extension is not loaded yet.
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA internal")
    return connection


def open_session(warehouse: Warehouse, tables: Iterable[str] | None = None) -> duckdb.DuckDBPyConnection:
    """Open a connection with tables as views of their current snapshots.

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
                # One broken table must not break the others: only queries on it fail.
                _fail_when_read(connection, name, warehouse.table(name).schema(), str(error))
        # A registered relation would be listed with the tables, and a cursor of the connection would not see it.
        connection.from_arrow(source_totals(warehouse)).create("internal.source_totals")
        _create_availability(connection, warehouse, _in_schemas)
        create_views(connection, VIEWS, _in_schemas)
        return connection

    return at_one_moment(warehouse, whole)


def open_status_session(warehouse: Warehouse) -> duckdb.DuckDBPyConnection:
    """Open a connection that knows the state of every source, from metadata alone: no fact table is opened."""

    def status() -> duckdb.DuckDBPyConnection:
        connection = _opened(warehouse, STATUS_TABLES)
        connection.register("source_totals", source_totals(warehouse))
        _create_availability(connection, warehouse)
        return connection

    return at_one_moment(warehouse, status)


@contextmanager
def internals_in_sight(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let statements read what is in schema `internal` without naming the schema."""
    connection.execute("SET search_path = 'main,internal'")
    try:
        yield
    finally:
        connection.execute("RESET search_path")


def _in_schemas(sql: str) -> str:
    """Add its schema to each relation that a statement of `include/sql/views/` creates or reads.

    So the views stay what they are for a cursor of the connection, and after USE of another database.
    """

    def placed(found: re.Match[str]) -> str:
        word, name = found.groups()
        schema = "internal." if name in _INTERNAL else "main." if name in _PUBLIC else ""
        return f"{word} {schema}{name}"

    return _RELATION.sub(placed, sql)


def _opened(warehouse: Warehouse, tables: Iterable[str]) -> duckdb.DuckDBPyConnection:
    connection = open_connection()
    show_tables(connection, warehouse, tables)
    return connection


def show_tables(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, tables: Iterable[str]) -> None:
    """Create views of tables at their current snapshots."""
    for name in tables:
        table = warehouse.table(name)
        create_view(connection, name, list(warehouse.live_files(table)), table)


def at_one_moment(warehouse: Warehouse, opened: Callable[[], _Session]) -> _Session:
    """Open a session again until no move was recorded while it was opened.

    An expiry records before it removes rows, a restore after it has added them: if the last event is the same before
    and after, the state of a source and its visible rows agree.
    """
    before = _last_move(warehouse)
    for _ in range(_ATTEMPTS):
        session = opened()
        after = _last_move(warehouse)
        if after == before:
            return session
        before = after
    raise TransientConflictError(
        f"Sources were moved during each of {_ATTEMPTS} attempts to open the warehouse; try again."
    )


def _last_move(warehouse: Warehouse) -> int | None:
    snapshot = warehouse.table(LIFECYCLE_EVENTS.name).current_snapshot()
    return snapshot.snapshot_id if snapshot else None


def _create_availability(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, placed: Callable[[str], str] = str
) -> None:
    create_state_views(connection, warehouse.settings.retention_months, placed)
    create_views(connection, ("known_source_tags", "source_availability"), placed)


def create_state_views(
    connection: duckdb.DuckDBPyConnection, retention_months: int, placed: Callable[[str], str] = str
) -> None:
    """Create view `source_states` and those it needs, over `sources`, `vanished_sources` and `lifecycle_events`."""
    connection.execute(placed(statement("views/create_retention")), {"months": retention_months})
    create_views(connection, STATE_VIEWS, placed)


def create_views(
    connection: duckdb.DuckDBPyConnection, names: Iterable[str], placed: Callable[[str], str] = str
) -> None:
    """Create views of `include/sql/views/` over the relations that they read; `placed` may add schemas to the names."""
    for name in names:
        connection.execute(placed(statement(f"views/create_{name}")))


_OF_ARROW = re.compile(r"^\w*Error: (.+)$", re.MULTILINE)


def create_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    live_files: Sequence[LiveFile],
    table: IcebergTable,
    schema: Schema | None = None,
    with_file: bool = False,
) -> None:
    """Create one view of data files, with delete files of other engines applied.

    The addresses are this warehouse's own; a view takes no binds, so they are quoted as literals.

    Args:
        connection: Where to create it.
        name: Name of the view; comes from code.
        live_files: The files.
        table: Whose files they are, as loaded.
        schema: The columns of the view; None for all of the table's.
        with_file: Whether it has FILE_COLUMN too.

    Raises:
        TerminalDataError: A file exists but cannot be read correctly, or has a format that cannot be read.
    """
    import pyarrow as pa

    refuse_unreadable(table, live_files)
    schema = schema or table.schema()
    try:
        parts = _parts(connection, name, live_files, table, schema, with_file)
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS {' UNION ALL BY NAME '.join(parts)}")
    except (duckdb.Error, OSError, pa.ArrowInvalid) as error:
        # A file that has vanished, or that this role may not read, must not break the other tables, nor be left out
        # silently. Arrow's errors about a bucket arrive as a traceback, without a DuckDB class.
        told = _OF_ARROW.search(str(error))
        _fail_when_read(connection, name, schema, f"{name} cannot be read: {told[1] if told else error}", with_file)


def _fail_when_read(
    connection: duckdb.DuckDBPyConnection, name: str, schema: Schema, said: str, with_file: bool = False
) -> None:
    connection.execute(f"CREATE OR REPLACE VIEW {name} AS {_no_rows(schema, with_file)} OR error({quoted(said)})")


def _parts(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    live_files: Sequence[LiveFile],
    table: IcebergTable,
    schema: Schema,
    with_file: bool,
) -> list[str]:
    from perennial.warehouse.files import deleted_rows
    from perennial.warehouse.layouts import laid_out

    parts = []
    reach(connection, table, (live.uri for live in live_files))
    for merged in (False, True):
        some = [live for live in live_files if bool(live.deletes) is merged]
        left_out = ""
        if merged and some:
            connection.register(f"{name}__deleted", deleted_rows(table, some, local_path))
            left_out = f" ANTI JOIN {name}__deleted AS d ON d.path = r.filename AND d.position = r.file_row_number"
        for layout, group in laid_out(table, some, schema).items():
            files = ", ".join(quoted(local_path(live.uri)) for live in group)
            parts.append(scan(schema, layout, files, with_file) + left_out)
    return parts or [_no_rows(schema, with_file)]


def reach(connection: duckdb.DuckDBPyConnection, table: IcebergTable, uris: Iterable[str]) -> None:
    """Let DuckDB open files where the table's files are, with the table's credentials, without an extension.

    It can always open files of this machine; an archive that has moved to S3 has both.
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


def _no_rows(schema: Schema, with_file: bool = False) -> str:
    file = f", NULL::VARCHAR AS {FILE_COLUMN}" if with_file else ""
    return f"SELECT {no_values(schema)}{file} WHERE FALSE"


def source_totals(warehouse: Warehouse) -> pa.Table:
    """How much of each source hot and archive have: columns `SOURCE_TOTALS`."""
    import pyarrow as pa

    schema = pa.schema([(name, arrow_type(kind)) for name, kind in SOURCE_TOTALS.items()])
    parts = [(name, warehouse.source_counts(name)) for name in (INTERACTIONS.name, INTERACTIONS_ARCHIVE.name)]
    return pa.concat_tables(
        counts.add_column(0, "table_name", pa.repeat(name, len(counts))).cast(schema) for name, counts in parts
    )


def local_path(uri: str) -> str:
    """Return an address in DuckDB's form."""
    return re.sub(r"^s3[an]://", "s3://", local_name(uri))
