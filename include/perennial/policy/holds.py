"""Holds: who keeps which source or tag hot, why, and until when (R19).

Table `holds` is append-only: one row places a hold, another lifts it. A hold on a tag keeps what carries the tag at the
moment of a decision, and what carried it when it vanished from the platform.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalRequestError
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.refusals import nearest_name, not_known
from perennial.sql import statement
from perennial.tables import HOLDS, LIFECYCLE_EVENTS, SOURCE_TAGS, SOURCES, VANISHED_SOURCES
from perennial.text import pluralize

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    from pyiceberg.table import Table

    from perennial.warehouse import Warehouse

_MOST_CHARACTERS = 1_000


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
    def what(self) -> str:
        """What it keeps, in a sentence."""
        return f"everything with the tag {self.tag!r}" if self.tag is not None else repr(self.source_id)


@dataclass(frozen=True)
class HoldRequest:
    """What somebody wants to hold: a source or a tag.

    Raises:
        TerminalRequestError: It names both or neither, gives no reason, or is too long.
    """

    source_id: str | None
    tag: str | None
    held_by: str
    reason: str
    until: datetime | None = None

    def __post_init__(self) -> None:
        if (self.source_id is None) == (self.tag is None):
            raise TerminalRequestError("A hold is on a source or on a tag: give one of the two.")
        for name in ("held_by", "reason"):
            # Line breaks of a form become spaces; no reason that is shown in one line may hold others.
            text = " ".join(getattr(self, name).split())
            object.__setattr__(self, name, text)
            if not text:
                raise TerminalRequestError(f"{name} is empty; say {'who' if name == 'held_by' else 'why'}.")
            if len(text) > _MOST_CHARACTERS or not text.isprintable():
                raise TerminalRequestError(f"{name} is {text[:40]!r}; give at most 1,000 printable characters.")


@dataclass(frozen=True)
class PlacedHold:
    """A hold that was placed, and where the data of its sources is at that moment.

    Attributes:
        hold: The hold.
        states: How many of its sources are available, expired and deleted.
    """

    hold: Hold
    states: dict[str, int]

    @property
    def sentences(self) -> str:
        """What it does and what it does not do."""
        end = f"until {self.hold.until:%Y-%m-%d %H:%M} UTC" if self.hold.until else "until it is lifted"
        count = self.states.get("available", 0)
        keeps = f"{self.hold.what}, {pluralize(count, 'source')} now," if self.hold.tag else self.hold.what
        text = f"Hold {self.hold.hold_id} keeps {keeps} {end.replace(' 00:00 UTC', '')}."
        if expired := self.states.get("expired", 0):
            asked = f"--tag '{self.hold.tag}'" if self.hold.tag else self.hold.source_id
            text += (
                f" The data of {pluralize(expired, 'source')} has expired already, and a hold brings nothing back: "
                f"run `perennial restore {asked}`, and it stays."
            )
        if self.states.get("deleted"):
            deleted = pluralize(self.states["deleted"], "source")
            text += f" The data of {deleted} was deleted under the previous policy and cannot be kept."
        return text


def place_hold(warehouse: Warehouse, request: HoldRequest, now: datetime) -> PlacedHold:
    """Record a hold; it counts from then on, also against a run that is copying.

    Args:
        warehouse: Where.
        request: What to hold.
        now: Wall clock.

    Raises:
        TerminalRequestError: The source or tag is unknown, or the end has passed; nothing was recorded.
    """
    from perennial.warehouse.replace import make_snapshot

    if request.until is not None and request.until <= now:
        raise TerminalRequestError(
            f"until is {request.until:%Y-%m-%d %H:%M} UTC, which has passed; give a later day, or none to hold it "
            "until it is lifted."
        )
    _refuse_unknown(warehouse, request)
    hold = Hold(secrets.token_hex(4), held_at=now, **vars(request))

    def rows(table: Table) -> list[dict[str, object]]:
        known = {row["hold_id"] for row in _rows_of(warehouse, table)}
        if hold.hold_id in known:
            raise TerminalRequestError(f"The id {hold.hold_id} is taken by chance; run the same again.")
        return [{**vars(hold), "event": "placed"}]

    operation = f"hold:{hold.hold_id}:placed"
    warehouse.append_decided(HOLDS.name, rows, operation)
    # A run that has looked at the holds before, and is about to record that a source has expired, has to look again:
    # its commit is compared with this one (`audit_trail.record_expired`).
    make_snapshot(warehouse, LIFECYCLE_EVENTS.name, operation)
    return PlacedHold(hold, _states(warehouse, hold))


def lift_hold(warehouse: Warehouse, hold_id: str, lifted_by: str, now: datetime, reason: str = "") -> Hold:
    """Record that a hold is lifted; the clock of its sources has run on underneath, and nothing restarts.

    Raises:
        TerminalRequestError: No such hold was placed, or it was lifted before.
    """
    lifted: list[Hold] = []

    def rows(table: Table) -> list[dict[str, object]]:
        found = _rows_of(warehouse, table)
        lifted[:] = [_placed(found, hold_id)]
        row = {**vars(lifted[0]), "held_by": lifted_by, "reason": " ".join(reason.split()), "held_at": now}
        return [{**row, "event": "lifted"}]

    warehouse.append_decided(HOLDS.name, rows, f"hold:{hold_id}:lifted:{uuid.uuid4().hex}")
    return lifted[0]


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


def _refuse_unknown(warehouse: Warehouse, request: HoldRequest) -> None:
    from perennial.engines.duckdb import open_status_session

    with open_status_session(warehouse) as session:
        if request.tag is not None:
            tags = [tag for (tag,) in session.execute("SELECT DISTINCT tag FROM known_source_tags").fetchall()]
            if request.tag not in tags:
                nearest = nearest_name(request.tag, tags)
                raise TerminalRequestError(
                    not_known(request.tag, "known tag", nearest, "`perennial status --tag` lists them.")
                )
            return
        binds = [request.source_id]
        if not session.execute("FROM known_sources WHERE source_id = ?", binds).fetchone():
            hot = dict(session.execute(statement("cli/list_unseen_sources")).fetchall())
            source_id = str(request.source_id)
            raise unknown_source(source_id, hot.get(source_id, 0), nearest_source(session, source_id))


def _states(warehouse: Warehouse, hold: Hold) -> dict[str, int]:
    from perennial.engines.duckdb import open_status_session

    with open_status_session(warehouse) as session:
        binds = {"source_id": hold.source_id, "tag": hold.tag}
        return dict(session.execute(statement("policy/sum_held_states"), binds).fetchall())


def _placed(rows: list[dict[str, Any]], hold_id: str) -> Hold:
    of_id = {row["event"]: row for row in rows if row["hold_id"] == hold_id}
    if lifted := of_id.get("lifted"):
        at = lifted["held_at"].astimezone(UTC)
        raise TerminalRequestError(
            f"Hold {hold_id!r} was lifted on {at:%Y-%m-%d %H:%M} UTC by {lifted['held_by']}; there is nothing to lift."
        )
    if "placed" not in of_id:
        lifted_ids = {row["hold_id"] for row in rows if row["event"] == "lifted"}
        standing = {row["hold_id"] for row in rows} - lifted_ids
        raise TerminalRequestError(
            not_known(hold_id, "hold", nearest_name(hold_id, standing), "`perennial holds` lists them.")
        )
    return Hold(**{field.name: of_id["placed"][field.name] for field in fields(Hold)})


def _rows_of(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    from perennial.engines.duckdb import create_view, open_connection

    with open_connection() as connection:
        create_view(connection, HOLDS.name, list(warehouse.live_files(table)), table)
        return list(connection.sql("FROM holds").to_arrow_table().to_pylist())
