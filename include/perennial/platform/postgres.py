"""PostgreSQL times that Python cannot represent: read as text, so that the error names row and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection

_TYPES = ("timestamptz", "timestamp", "date")


def keep_times_as_text(connection: Connection) -> None:
    """Make psycopg return infinity and years before 1 or after 9999 as text instead of failing the statement."""
    from psycopg import DataError
    from psycopg.adapt import Buffer, Loader

    adapters = connection.connection.driver_connection.adapters  # type: ignore[union-attr]  # psycopg's

    for name in _TYPES:
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
