"""Requests to place a hold and to lift one: checked, and recorded in the append-only table `holds` (R19)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perennial.errors import TerminalRequestError
from perennial.operations import hashed_name
from perennial.platform.vanished import nearest_source, unknown_source
from perennial.policy.holds import Hold
from perennial.refusals import nearest_name, not_known, read_moment, read_params
from perennial.statements import statement
from perennial.tables import HOLDS, LIFECYCLE_EVENTS
from perennial.text import pluralize

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from perennial.warehouse import Warehouse

_MOST_CHARACTERS = 1_000
_REMEDIES = {
    "source_id": "the id of a campaign or Canvas",
    "tag": "a tag of sources",
    "until": "a day such as 2026-10-01, or none to hold it until it is lifted",
    "reason": "why, in words",
    "lift": "the id of the hold to lift",
}


@dataclass(frozen=True)
class HoldParams:
    """The params of the DAG `hold_sources`: a hold to place, or the id of one to lift."""

    source_id: str | None = None
    tag: str | None = None
    until: str | None = None
    reason: str = ""
    lift: str | None = None


def read_request(params: Mapping[str, Any], by: str) -> HoldRequest | str:
    """Read the params of the DAG `hold_sources`: a hold to place, or the id of one to lift.

    Raises:
        TerminalRequestError: They cannot be meant.
    """
    asked = read_params(HoldParams, params, _REMEDIES)
    if asked.lift:
        if asked.source_id or asked.tag or asked.until:
            raise TerminalRequestError("To lift a hold, give its id and a reason: nothing else of it can be changed.")
        return asked.lift
    until = read_moment("until", asked.until) if asked.until else None
    return HoldRequest(asked.source_id or None, asked.tag or None, by, asked.reason, until)


def refuse_request(warehouse: Warehouse, params: Mapping[str, Any], by: str, now: datetime) -> None:
    """Refuse what `carry_out` would refuse; nothing is recorded.

    Raises:
        TerminalRequestError: It cannot be done.
    """
    asked = read_request(params, by)
    if isinstance(asked, HoldRequest):
        _refuse_impossible(warehouse, asked, now)
    else:
        _refuse_unliftable(_rows_of(warehouse, warehouse.table(HOLDS.name)), asked)


def carry_out(warehouse: Warehouse, params: Mapping[str, Any], by: str, now: datetime, run_id: str = "") -> str:
    """Place or lift a hold as the params of the DAG `hold_sources` say; returns what was done, as a sentence.

    Args:
        warehouse: Where.
        params: Those of the DAG.
        by: Who asks for it.
        now: Wall clock.
        run_id: Run whose repetition does nothing; without one, nothing is a repetition.

    Raises:
        TerminalRequestError: It cannot be done; nothing was recorded.
    """
    asked = read_request(params, by)
    if isinstance(asked, HoldRequest):
        return place_hold(warehouse, asked, now, run_id).sentences
    hold = lift_hold(warehouse, asked, by, now, str(params.get("reason") or ""), run_id)
    return f"Hold {hold.hold_id} on {hold.what} is lifted; the clock has gone on meanwhile, and nothing restarts."


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
        count = self.states.get("available", 0)
        keeps = f"{self.hold.what}, {pluralize(count, 'source')} now," if self.hold.tag else self.hold.what
        text = f"Hold {self.hold.hold_id} keeps {keeps} {self.hold.period}."
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


def place_hold(warehouse: Warehouse, request: HoldRequest, now: datetime, run_id: str = "") -> PlacedHold:
    """Record a hold; it counts from then on, also against a run that is copying.

    Args:
        warehouse: Where.
        request: What to hold.
        now: Wall clock.
        run_id: As in `carry_out`.

    Raises:
        TerminalRequestError: The source or tag is unknown, or the end has passed; nothing was recorded.
    """
    from perennial.warehouse.replace import make_snapshot

    _refuse_impossible(warehouse, request, now)
    hold = Hold(hashed_name(run_id or uuid.uuid4().hex)[:8], held_at=now, **vars(request))

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


def lift_hold(
    warehouse: Warehouse, hold_id: str, lifted_by: str, now: datetime, reason: str = "", run_id: str = ""
) -> Hold:
    """Record that a hold is lifted; the clock of its sources has gone on meanwhile, and nothing restarts.

    Args:
        warehouse: Where.
        hold_id: The hold.
        lifted_by: Who lifts it.
        now: Wall clock.
        reason: Why, in their words.
        run_id: As in `carry_out`.

    Raises:
        TerminalRequestError: No such hold was placed, or it was lifted before.
    """
    said = {"held_by": lifted_by, "reason": " ".join(reason.split()), "held_at": now, "event": "lifted"}

    def rows(table: Table) -> list[dict[str, object]]:
        found = _rows_of(warehouse, table)
        _refuse_unliftable(found, hold_id)
        return [{**vars(_placed(found, hold_id)), **said}]

    warehouse.append_decided(HOLDS.name, rows, f"hold:{hold_id}:lifted:{hashed_name(run_id or uuid.uuid4().hex)}")
    return _placed(_rows_of(warehouse, warehouse.table(HOLDS.name)), hold_id)


def _refuse_impossible(warehouse: Warehouse, request: HoldRequest, now: datetime) -> None:
    if request.until is not None and request.until <= now:
        raise TerminalRequestError(
            f"until is {request.until:%Y-%m-%d %H:%M} UTC, which has passed; give a later day, or none to hold it "
            "until it is lifted."
        )
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


def _refuse_unliftable(rows: list[dict[str, Any]], hold_id: str) -> None:
    by_event = {row["event"]: row for row in rows if row["hold_id"] == hold_id}
    if lifted := by_event.get("lifted"):
        at = lifted["held_at"].astimezone(UTC)
        raise TerminalRequestError(
            f"Hold {hold_id!r} was lifted on {at:%Y-%m-%d %H:%M} UTC by {lifted['held_by']}; there is nothing to lift."
        )
    if not by_event:
        standing = {row["hold_id"] for row in rows} - {row["hold_id"] for row in rows if row["event"] == "lifted"}
        nearest = nearest_name(hold_id, standing)
        raise TerminalRequestError(not_known(hold_id, "hold", nearest, "`perennial holds` lists them."))


def _placed(rows: list[dict[str, Any]], hold_id: str) -> Hold:
    row = next(row for row in rows if row["hold_id"] == hold_id and row["event"] == "placed")
    return Hold(**{field.name: row[field.name] for field in fields(Hold)})


def _rows_of(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    from perennial.engines.duckdb import create_view, open_connection

    with open_connection() as connection:
        create_view(connection, HOLDS.name, list(warehouse.live_files(table)), table)
        return list(connection.sql("FROM holds").to_arrow_table().to_pylist())
