"""Holds: who keeps which source or tag hot, why, and until when (R19).

Table `holds` is append-only: one row places a hold, another lifts it. A hold on a tag keeps what carries the tag at the
moment of a decision, and what carried it when it vanished from the platform.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING

from perennial.statements import statement
from perennial.tables import HOLDS, SOURCE_TAGS, SOURCES, VANISHED_SOURCES

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class Hold:
    """A hold on a source or on a tag: exactly one of the two. Times are UTC.

    Attributes:
        hold_id: Its id.
        source_id: Campaign or Canvas.
        tag: Everything that carries it.
        held_by: Who placed it.
        reason: Why, in their words.
        held_at: When it was recorded (wall clock).
        until: Its end; None: until it is lifted.
    """

    hold_id: str
    source_id: str | None
    tag: str | None
    held_by: str
    reason: str
    held_at: datetime
    until: datetime | None

    @property
    def period(self) -> str:
        """How long it lasts, in a sentence."""
        if self.until is None:
            return "until it is lifted"
        return f"until {self.until:%Y-%m-%d %H:%M} UTC".replace(" 00:00 UTC", "")

    @property
    def what(self) -> str:
        """What it keeps, in a sentence."""
        return f"everything with the tag {self.tag!r}" if self.tag is not None else repr(self.source_id)


def standing_holds(warehouse: Warehouse) -> list[Hold]:
    """List the holds that nobody has lifted, the oldest first; the end of some may have passed."""
    from perennial.engines.duckdb import open_session

    with open_session(warehouse, [HOLDS.name]) as session:
        session.execute(statement("policy/create_standing_holds"))
        return read_holds(session.sql("SELECT * FROM standing_holds ORDER BY held_at, hold_id").to_arrow_table())


def read_holds(rows: pa.Table) -> list[Hold]:
    """Read rows with the columns of `standing_holds` or `source_holds`."""
    names = [field.name for field in fields(Hold)]
    return [
        Hold(**{name: row[name] for name in names} | ({"source_id": None} if row["tag"] is not None else {}))
        for row in rows.to_pylist()
    ]


def ends_by_source(source_holds: pa.Table) -> dict[str, datetime]:
    """Return when the last of a source's holds ends, by source; those that stay until they are lifted do not count.

    Args:
        source_holds: As `Decisions.holds`.
    """
    ends: dict[str, datetime] = {}
    for row in source_holds.select(["source_id", "until"]).to_pylist():
        if row["until"] is not None:
            ends[row["source_id"]] = max(row["until"], ends.get(row["source_id"], row["until"]))
    return ends


def create_source_holds(connection: duckdb.DuckDBPyConnection, as_of: datetime) -> None:
    """Create relations `source_holds` and `held_sources` over `holds` and `known_source_tags`.

    Args:
        connection: Where to create them.
        as_of: Holds that have ended by then do not count.
    """
    connection.execute(statement("policy/create_standing_holds"))
    connection.execute(statement("policy/create_source_holds"), {"as_of": as_of})
    connection.execute(statement("policy/create_held_sources"))


def show_holds(session: duckdb.DuckDBPyConnection, warehouse: Warehouse, as_of: datetime) -> None:
    """Create the relations of `create_source_holds` in a session with `known_source_tags`, from the current holds."""
    from perennial.engines.duckdb import show_tables

    show_tables(session, warehouse, [HOLDS.name])
    create_source_holds(session, as_of)


def held_sources(warehouse: Warehouse, as_of: datetime) -> Collection[str]:
    """Return the sources that the holds recorded by now keep at a moment."""
    from perennial.engines.duckdb import KNOWN_VIEWS, create_views, open_session

    if warehouse.table(HOLDS.name).current_snapshot() is None:
        return frozenset()
    with open_session(warehouse, [table.name for table in (VANISHED_SOURCES, SOURCES, SOURCE_TAGS)]) as session:
        create_views(session, (*KNOWN_VIEWS, "known_source_tags"))
        show_holds(session, warehouse, as_of)
        return frozenset(source_id for (source_id,) in session.execute("FROM held_sources SELECT source_id").fetchall())
