"""Read-only access to the platform's database: one consistent state, streamed table by table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perennial.errors import PerennialError, TerminalMetadataError, TerminalSettingError, TransientError
from perennial.platform.selects import PlatformSelect, read_selects

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.exc import DBAPIError

    from perennial.settings import Settings

# Rows in memory at a time.
BATCH_ROWS = 20_000

# Makes every SELECT of one sync see the same moment; other databases do so by default or not at all.
_SNAPSHOT_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
# PostgreSQL has times that Python cannot represent.
_TIME_TYPES = ("timestamptz", "timestamp", "date")
_TRANSIENT_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
}


class PlatformDatabase:
    """An open read-only transaction on the platform's database."""

    def __init__(self, connection: Connection, url: URL, selects: Mapping[str, PlatformSelect]) -> None:
        self._connection = connection
        self._url = url
        self.selects = selects

    @contextmanager
    def selected(self, table: str) -> Iterator[tuple[list[str], Iterator[Sequence[tuple[Any, ...]]]]]:
        """Run the SELECT of a synced table through a server-side cursor.

        Yields:
            The names of the columns, and batches of at most BATCH_ROWS rows.

        Raises:
            TerminalMetadataError: The database refuses the statement, for example because a table or column is missing;
                or it returns no rows at all, because it is not a SELECT.
            TransientError: The database went away.
        """
        select = self.selects[table]
        try:
            # Not text(): a colon or a percent sign in a person's own statement is not a bind.
            cursor = self._connection.exec_driver_sql(
                select.sql,
                execution_options={"no_parameters": True, "stream_results": True, "max_row_buffer": BATCH_ROWS},
            )
            with closing(cursor):
                if not cursor.returns_rows:
                    raise TerminalMetadataError(
                        f"The statement of {table} returns no rows; write one SELECT in {select.place}."
                    )
                yield list(cursor.keys()), (rows for rows in cursor.partitions(BATCH_ROWS))
        except _driver_errors() as error:
            remedy = f"Correct the platform's table {table}, or map it in {select.place}."
            raise _explained(error, self._url, f"reading table {table}", remedy) from None


@contextmanager
def open_platform(settings: Settings) -> Iterator[PlatformDatabase]:
    """Open the platform's database for reading, in one transaction.

    Raises:
        TerminalSettingError: PERENNIAL_PLATFORM_URL cannot be used, or names an SQLite file that does not exist; or
            PERENNIAL_PLATFORM_SQL cannot.
        TransientError: The database cannot be reached.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    url, selects = _checked_url(settings.place("platform_url")), read_selects(settings)
    try:
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (ImportError, TypeError, ValueError) as error:
        raise _unusable(url, f"its driver cannot be used ({type(error).__name__})") from None
    options = _SNAPSHOT_OPTIONS.get(engine.dialect.name, {})
    # TypeError is SQLite's answer to an unknown option of the URL.
    refusals: tuple[type[Exception], ...] = (*_driver_errors(), TypeError)
    try:
        connection = engine.connect().execution_options(**options)
    except refusals as error:
        raise _explained(error, url, "connecting") from None
    with connection:
        if engine.dialect.name == "sqlite":
            # A person's own statement may not be a SELECT.
            connection.exec_driver_sql("PRAGMA query_only = ON")
            # The driver opens a transaction only before a write, so each SELECT would see a different moment.
            connection.exec_driver_sql("BEGIN")
        if engine.driver == "psycopg":
            _keep_times_as_text(connection)
        yield PlatformDatabase(connection, url, selects)


def _checked_url(text: str) -> URL:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(text)
        url.get_dialect()
    except NoSuchModuleError:
        raise TerminalSettingError(
            f"PERENNIAL_PLATFORM_URL names an unknown kind of database, {text.partition(':')[0]!r}; "
            "install its SQLAlchemy dialect, or use sqlite:// or postgresql://."
        ) from None
    except (ArgumentError, ValueError):
        raise TerminalSettingError(
            "PERENNIAL_PLATFORM_URL is not a SQLAlchemy URL; set it to one like postgresql://user@host/database."
        ) from None
    except ImportError as error:
        raise _unusable(url, f"its driver is not installed ({error.name})") from None
    if url.get_backend_name() == "sqlite":
        _refuse_missing_file(url)
    return url


def _refuse_missing_file(url: URL) -> None:
    name = url.database or ""
    if name.startswith("file:"):
        return
    if not name or name == ":memory:" or not Path(name).is_file():
        raise _unusable(url, f"there is no SQLite file {name!r}")


def _unusable(url: URL, problem: str) -> TerminalSettingError:
    return TerminalSettingError(
        f"PERENNIAL_PLATFORM_URL is {_shown(url)}, but {problem}; "
        "set it to the SQLAlchemy URL of the messaging platform's database "
        "(`perennial-airflow[postgres]` brings PostgreSQL's driver)."
    )


def _shown(url: URL) -> str:
    """Name the database without credentials, which may also be among a URL's query parameters."""
    return url.set(query={}).render_as_string(hide_password=True)


def _driver_errors() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import DBAPIError

    # In some drivers, rows of a server-side cursor are fetched outside SQLAlchemy's wrapping; a warning is what
    # Python 3.11 raises of several statements.
    return (DBAPIError, sqlite3.Error, sqlite3.Warning)


def _explained(error: DBAPIError | Exception, url: URL, doing: str, remedy: str = "") -> PerennialError:
    cause = getattr(error, "orig", None) or error
    text = " ".join(_without_secrets(str(cause), url).split())[:500]
    place = f"Platform database {_shown(url)} failed while {doing}: {text}"
    if _may_pass(error, cause):
        return TransientError(f"{place}. Check PERENNIAL_PLATFORM_URL and that the database is up; then run it again.")
    return TerminalMetadataError(f"{place}. {remedy}") if remedy else _unusable(url, f"connecting failed: {text}")


def _may_pass(error: Exception, cause: BaseException) -> bool:
    from sqlalchemy.exc import InterfaceError, OperationalError

    if isinstance(cause, sqlite3.Error):
        # The low byte is the primary result code.
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _TRANSIENT_SQLITE_CODES
    return isinstance(error, OperationalError | InterfaceError)


def _without_secrets(text: str, url: URL) -> str:
    secrets = [url.password, *(value for key, value in url.query.items() if "pass" in key.lower())]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text


def _keep_times_as_text(connection: Connection) -> None:
    """Make psycopg return infinity and years before 1 or after 9999 as text instead of failing the statement."""
    from psycopg import DataError
    from psycopg.adapt import Buffer, Loader

    adapters = connection.connection.driver_connection.adapters  # type: ignore[union-attr]  # psycopg's

    for name in _TIME_TYPES:
        oid = adapters.types[name].oid
        own = adapters.get_loader(oid, 0)

        class TimeOrText(Loader):
            _own = own

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._load = self._own(oid, context).load

            def load(self, data: Buffer) -> Any:
                try:
                    return self._load(data)
                except DataError:
                    return bytes(data).decode()

        adapters.register_loader(oid, TimeOrText)
