"""What an audience means, in plain Python over lists of dicts: no catalogue, no SQL, no haste."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]
Node = dict[str, Any]

# The value of `interaction`: interactions.interaction, interactions.channel.
VALUES = {
    "clicked_email": ("clicked", "email"),
    "opened_email": ("opened", "email"),
    "machine_opened_email": ("opened", "email"),
    "opened_push": ("opened", "push"),
    "clicked_in_app_message": ("clicked", "in_app_message"),
    "viewed_in_app_message": ("received", "in_app_message"),
    "clicked_content_card": ("clicked", "content_card"),
    "viewed_content_card": ("received", "content_card"),
    "replied_sms": ("replied", "sms"),
    "clicked_sms_link": ("clicked", "sms"),
    "read_whatsapp": ("opened", "whatsapp"),
}
MEASURES: dict[str, tuple[str, str | None]] = {
    "last_engaged_with_message": ("engaged", None),
    "last_enrolled_in_any_control_group": ("control", None),
    "last_in_app_message_impression": ("received", "in_app_message"),
    "last_received_any_message": ("received", None),
    "last_received_email": ("received", "email"),
    "last_received_push": ("received", "push"),
    "last_received_sms": ("received", "sms"),
    "last_received_webhook": ("received", "webhook"),
    "last_received_whatsapp": ("received", "whatsapp"),
    "last_viewed_news_feed": ("viewed_news_feed", None),
}


@dataclass(frozen=True)
class World:
    """All that an audience can be told from; rows have the columns of the tables, nulls may be left out."""

    users: list[Row] = field(default_factory=list)
    sources: list[Row] = field(default_factory=list)
    tags: list[tuple[str, str]] = field(default_factory=list)
    segments: dict[str, Node] = field(default_factory=dict)
    interactions: list[Row] = field(default_factory=list)
    summaries: list[Row] = field(default_factory=list)

    @property
    def everybody(self) -> set[str]:
        return {user["user_id"] for user in self.users}

    def without(self, source_ids: Iterable[str]) -> World:
        """Return what is seen once the interactions of some sources are gone."""
        gone = set(source_ids)
        return replace(self, interactions=[row for row in self.interactions if row["source_id"] not in gone])


def users_of(node: Node, world: World, now: datetime) -> set[str]:
    """Return the ids of the users in an audience."""
    match node:
        case {"and": children}:
            return world.everybody.intersection(*(users_of(child, world, now) for child in children))
        case {"or": children}:
            return set().union(*(users_of(child, world, now) for child in children))
        case {"not": {"filter": "in_canvas_control_group"} as child}:
            entered = {row["user_id"] for row in of_source(child, world) if row["interaction"] == "entered"}
            return (world.everybody & entered) - users_of(child, world, now)
        case {"not": child}:
            return world.everybody - users_of(child, world, now)
    return world.everybody & set(matched(node, world, now))


def matched(node: Node, world: World, now: datetime) -> Iterable[str]:
    """Return who matches a filter, known to `users` or not."""
    match node["filter"]:
        case "segment_membership":
            return users_of(world.segments[node["segment_id"]], world, now)
        case "feature_flag":
            return {user["user_id"] for user in world.users if node["flag"] in user["feature_flags"]}
        case "invalid_phone_number":
            return {user["user_id"] for user in world.users if user["invalid_phone"]}
        case "hard_bounced" | "marked_as_spam" as measure:
            return {row["user_id"] for row in summaries(world, measure)}
        case "never_received_message":
            return world.everybody - {row["user_id"] for row in summaries(world, "received")}
        case "clicked_alias_in_any_message":
            return {row["user_id"] for row in summaries(world, "clicked_alias", node["alias"])}
        case "news_feed_view_count":
            return viewers(node, world)
        case "last_sent_sms_keyword_category":
            rows = summaries(world, "sms_keyword", node["keyword_category"])
            return latest(node, ((row["user_id"], row["last_at"]) for row in rows), now)
        case name if name in MEASURES:
            rows = summaries(world, *MEASURES[name])
            return latest(node, ((row["user_id"], row["last_at"]) for row in rows), now)
    rows = (row for row in of_source(node, world) if matches(node, row))
    if "operator" in node:
        return latest(node, ((row["user_id"], row["occurred_at"]) for row in rows), now)
    return {row["user_id"] for row in rows}


def of_source(node: Node, world: World) -> Iterator[Row]:
    """List the interactions of the sources that a filter looks at."""
    looked_at = sources_of(node, world)
    return (row for row in world.interactions if row["source_id"] in looked_at)


def sources_of(node: Node, world: World) -> set[str]:
    """Return the sources whose interactions a filter looks at."""
    if "tag" not in node:
        return {node[key] for key in ("campaign_id", "canvas_id") if key in node}
    tagged = {source_id for source_id, tag in world.tags if tag == node["tag"]}
    never = datetime.min.replace(tzinfo=UTC)
    sent = {source["source_id"]: source.get("last_sent_at") or never for source in world.sources}
    # The specification says nothing of sources that sent at the same moment; they go by their id.
    return set(sorted(tagged & sent.keys(), key=lambda source_id: (never - sent[source_id], source_id))[:200])


def matches(node: Node, row: Row) -> bool:
    """Tell whether an interaction of the right source matches a filter."""
    name = node["filter"]
    if "step_id" in node and row.get("canvas_step_id") != node["step_id"]:
        return False
    if "variant_id" in node and row.get("variant_id") != node["variant_id"]:
        return False
    if node.get("exclude_suspected_bots") and row.get("is_suspected_bot_click"):
        return False
    if name.startswith("clicked_or_opened"):
        return did(node, row)
    if name.startswith("clicked_alias"):
        clicked = (row["interaction"], row.get("channel")) == ("clicked", "email")
        return clicked and row.get("link_alias") == node["alias"]
    if name.startswith("converted"):
        return row["interaction"] == "converted" and row.get("conversion_index") == 0
    wanted = {"entered_canvas_variation": "entered", "in_campaign_control_group": "control"}
    wanted["in_canvas_control_group"] = "control"
    return row["interaction"] == wanted.get(name, "received")


def did(node: Node, row: Row) -> bool:
    value = node["interaction"]
    if (row["interaction"], row.get("channel")) != VALUES[value]:
        return False
    if value == "opened_email":
        return not row.get("machine_open")
    if value == "machine_opened_email":
        return row.get("machine_open") is True
    return value != "replied_sms" or row.get("keyword_category") == node["keyword_category"]


def summaries(world: World, measure: str, dimension: str | None = None) -> list[Row]:
    rows = [row for row in world.summaries if row["measure"] == measure]
    return [row for row in rows if dimension is None or row["dimension"] == dimension]


def viewers(node: Node, world: World) -> set[str]:
    views = dict.fromkeys(world.everybody, 0)
    for row in summaries(world, "viewed_news_feed"):
        views[row["user_id"]] = views.get(row["user_id"], 0) + row["event_count"]
    compares: dict[str, Callable[[int], bool]] = {
        "more_than": lambda count: count > node["count"],
        "less_than": lambda count: count < node["count"],
        "exactly": lambda count: count == node["count"],
    }
    return {user_id for user_id, count in views.items() if compares[node["comparison"]](count)}


def latest(node: Node, times: Iterable[tuple[str, datetime]], now: datetime) -> set[str]:
    """Return the users whose latest match lies on the right side of the moment, not on it."""
    last: dict[str, datetime] = {}
    for user_id, at in times:
        last[user_id] = max(at, last.get(user_id, at))
    moment = moment_of(node, now)
    before = node["operator"] == "before"
    return {user_id for user_id, at in last.items() if (at < moment if before else at > moment)}


def moment_of(node: Node, now: datetime) -> datetime:
    if "days_ago" in node:
        return now - timedelta(days=node["days_ago"])
    moment = datetime.fromisoformat(node["at"])
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def needed_sources(node: Node, world: World) -> set[str]:
    """Return the sources whose interactions an audience looks at, through its segments too."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        match waiting.pop():
            case {"and": children} | {"or": children}:
                waiting += children
            case {"not": child}:
                waiting.append(child)
            case {"filter": "segment_membership", "segment_id": segment_id}:
                if segment_id not in seen:
                    seen.add(segment_id)
                    waiting.append(world.segments[segment_id])
            case found_filter:
                found |= sources_of(found_filter, world)
    return found
