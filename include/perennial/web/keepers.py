"""Why a source is or is not expiring, in a marketer's words (R1-R4, R8-R10, R13, R18)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perennial import text as formatting
from perennial.audiences.definitions import TerminalDefinitionError
from perennial.audiences.parse import parse
from perennial.audiences.resolve import resolve
from perennial.statements import statement
from perennial.tables import AUDIENCES

if TYPE_CHECKING:
    import duckdb

    from perennial.policy.decisions import Explanation
    from perennial.warehouse import Warehouse
    from perennial.web.source_details import Referrer

MOST_SHOWN = 20
KINDS = {"campaign": "campaign", "canvas": "Canvas", "content_card": "Content Card", "segment": "segment"}
# What the people in an audience have done, by the filter that names the source.
DEEDS = {
    "clicked_alias_in_campaign": "clicked a certain link in it",
    "clicked_alias_in_canvas_step": "clicked a certain link in it",
    "clicked_or_opened_campaign": "engaged with it",
    "clicked_or_opened_step": "engaged with it",
    "converted_from_campaign": "converted after it",
    "converted_from_canvas": "converted after it",
    "entered_canvas_variation": "entered one of its variations",
    "in_campaign_control_group": "were in its control group",
    "in_canvas_control_group": "were in its control group",
    "last_received_message_from_campaign": "last received it before or after a certain time",
    "last_received_message_from_canvas_step": "last received one of its messages before or after a certain time",
    "received_campaign_variant": "received one of its variations",
    "received_message_from_campaign": "received it",
    "received_message_from_canvas_step": "received one of its messages",
}
_CLOCKS = {
    "stopped": "it was stopped",
    "last sent": "it was last sent",
    "restored": "it was restored",
    "vanished": "it was first missing from the platform",
    "created": "it was created",
}


@dataclass(frozen=True)
class Keeper:
    """An active referrer that keeps a source, in the words of the page.

    Attributes:
        kind: Kind of the referrer, as written in a sentence.
        id: Its id.
        name: Its name; empty where it has none.
        known: Whether it is a source that has a page.
        targets: What its audience does with the source.
        segments: Names of the segments through which it does so, outermost first.
    """

    kind: str
    id: str
    name: str
    known: bool
    targets: str
    segments: tuple[str, ...]


def verdict(explained: Explanation, months: int, restoring: bool) -> str:
    """Say what will happen to a source, and when.

    Args:
        explained: The decision, and what it was made from.
        months: PERENNIAL_RETENTION_MONTHS.
        restoring: Whether a restore is bringing it back at the moment.
    """
    if restoring:
        return "A restore is bringing its interactions back. Until it has ended, none of them expire."
    decision = explained.decision
    period = formatting.pluralize(months, "month")
    if decision.decision in ("expired", "late", "reactivated", "deleted"):
        return {
            "expired": "Its interactions are in long-term storage until somebody restores them or it is active again.",
            "late": "The next daily run moves the interactions that arrived after its expiry to long-term storage.",
            "reactivated": "It is active again: the next daily run brings its interactions back.",
            "deleted": "Its interactions were deleted under the previous policy and cannot be restored.",
        }[decision.decision]
    if decision.decision == "active":
        return "It does not expire while it is active."
    if decision.expires_at is None or decision.clock_started_at is None:
        return "It does not expire, because all of its dates are before 2000, which is impossible."
    since = f"{_CLOCKS[explained.clock_started_by or 'created']} on {formatting.day(decision.clock_started_at)}"
    ends = formatting.day(decision.expires_at)
    return {
        "recent": f"It can expire on {ends}, {period} after {since}.",
        "held": f"It could have expired on {ends}, {period} after {since}, but is held.",
        "referenced": f"It could have expired on {ends}, {period} after {since}.",
        "empty": f"It has no interactions that could expire. Its time ended on {ends}, {period} after {since}.",
        "expire": f"It expires with the next daily run. Its time ended on {ends}, {period} after {since}, and no "
        "active audience uses it.",
    }[decision.decision]


def find_keepers(warehouse: Warehouse, source_id: str, referrers: Sequence[Referrer]) -> list[Keeper]:
    """Describe the referrers of a source, with the platform's names for them and their segments."""
    from perennial.engines.duckdb import open_connection

    if not referrers:
        return []
    with open_connection() as connection:
        connection.register("audiences", warehouse.read(AUDIENCES.name))
        ways = [_split(referrer.way) for referrer in referrers]
        wanted = {referrer.id for referrer in referrers} | {segment for segments, _ in ways for segment in segments}
        rows = connection.execute(statement("web/list_audience_names"), {"owner_ids": sorted(wanted)}).fetchall()
        names = {(kind, owner_id): name for kind, owner_id, name in rows}
        return [
            Keeper(
                kind=KINDS.get(referrer.kind, referrer.kind),
                id=referrer.id,
                name=referrer.name or names.get((referrer.kind, referrer.id)) or "",
                known=referrer.known,
                targets=_targets(connection, source_id, referrer, named_by),
                segments=tuple(names.get(("segment", segment)) or segment for segment in segments),
            )
            for referrer, (segments, named_by) in zip(referrers, ways, strict=True)
        ]


def _split(way: str) -> tuple[list[str], str]:
    """Split the rest of a path (`referenced_by`) into the segments and the filter."""
    trail, _, named_by = way.rpartition(" > ")
    return (trail.removeprefix(" > segment:").split(" > segment:") if trail else []), named_by


def _targets(connection: duckdb.DuckDBPyConnection, source_id: str, referrer: Referrer, named_by: str) -> str:
    deed = DEEDS.get(named_by)
    if deed is None:
        return "may use it: its audience cannot be read"
    binds = {"kind": referrer.kind, "source_id": referrer.id}
    parts = connection.execute(statement("audiences/list_source_audiences"), binds).fetchall()
    effects = {effect for _, text in parts for effect in _effects(connection, source_id, text)}
    if effects == {"narrows"}:
        return f"targets people who {deed}"
    if effects == {"widens"}:
        return f"leaves out people who {deed}"
    return f"depends on which people {deed}"


def _effects(connection: duckdb.DuckDBPyConnection, source_id: str, text: str) -> Collection[str]:
    from perennial.audiences.lookups import load_segments

    try:
        definition = parse(text)
        audience = resolve(definition, load_segments(connection, definition))
    except TerminalDefinitionError:
        return ()
    named = (found for found in audience.dependencies if (found.kind, found.id) == ("source", source_id))
    return {effect for found in named for effect in found.effects}
