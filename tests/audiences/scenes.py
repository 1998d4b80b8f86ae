"""Random worlds of which some data is out of reach, and random definitions about them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from hypothesis import strategies as st

from perennial.audiences.filters import FILTERS, Filter, Parameter
from tests.audiences.oracle import VALUES, Node, Row, World
from tests.audiences.worlds import NOW

Fate = Literal["active", "expired", "deleted", "deleted, active again"]

USERS = ["u0", "u1", "u2", "u3"]
STRANGER = "u9"
STEPS = ["step-a", "step-b"]
VARIANTS = ["red", "blue"]
TAGS = ["promo", "news"]
# Few, so that they coincide.
MOMENTS = [NOW - timedelta(days=days) for days in (1, 2, 3, 4)]
WORDS = ["shop", "help"]
CHANNELS = ["email", "push", "sms", "in_app_message", "content_card", "whatsapp", "webhook", None]


@dataclass(frozen=True)
class Scene:
    """A world and what has become of it.

    Attributes:
        whole: All there ever was.
        fates: Of each source.
        late: Positions of the interactions that arrive after the expiry.
        deleted: Positions of the interactions that the previous policy deleted.
        definitions: Questions about it.
    """

    whole: World
    fates: dict[str, Fate]
    late: frozenset[int]
    deleted: frozenset[int]
    definitions: list[Node]

    def rows(self, late: bool) -> list[Row]:
        """Return the interactions that are there before the expiry, or arrive after it."""
        kept = [n for n in range(len(self.whole.interactions)) if n not in self.deleted]
        return [self.whole.interactions[n] for n in kept if (n in self.late) is late]

    @property
    def missing(self) -> set[str]:
        """Sources of which something is out of reach; an expiry leaves alone what has no interactions."""
        moved = {row["source_id"] for row in self.rows(late=False)}
        return {name for name, fate in self.fates.items() if "deleted" in fate or (fate == "expired" and name in moved)}

    @property
    def seen(self) -> World:
        """What features see."""
        hidden = {name for name in self.missing if self.fates[name] != "deleted, active again"}
        return replace(self.whole, interactions=self.rows(late=False) + self.rows(late=True)).without(hidden)


@st.composite
def scenes(draw: st.DrawFn, prefix: str) -> Scene:
    """Draw a scene; ids of its sources begin with the prefix, so that scenes can follow each other in one warehouse."""
    users = draw(st.lists(st.builds(user, st.sampled_from(USERS), st.booleans(), st.sets(st.sampled_from(WORDS))), max_size=4, unique_by=lambda row: row["user_id"]))  # fmt: skip
    fates: list[Fate] = draw(st.lists(st.sampled_from(["active", "expired", "expired", "deleted", "deleted, active again"]), min_size=1, max_size=5))  # fmt: skip
    named = {f"{prefix}{number}": fate for number, fate in enumerate(fates)}
    sources = [draw(source(source_id, fate)) for source_id, fate in named.items()]
    world = World(
        users=users,
        sources=sources,
        tags=draw(st.lists(st.tuples(st.sampled_from(sorted(named)), st.sampled_from(TAGS)), unique=True)),
        summaries=draw(st.lists(SUMMARIES, max_size=12)),
    )
    for number in range(draw(st.integers(0, 3))):
        world = replace(world, segments=world.segments | {f"seg{number}": draw(nodes(world))})
    drawn = draw(st.lists(st.tuples(interactions(world), st.sampled_from(["", "", "late", "deleted"])), max_size=25))
    partly = {name for name, fate in named.items() if fate == "deleted, active again"}
    gone = {n for n, (row, what) in enumerate(drawn) if row["source_id"] in partly and what == "deleted"}
    gone |= {n for n, (row, _) in enumerate(drawn) if named[row["source_id"]] == "deleted"}
    late = frozenset(n for n, (_, what) in enumerate(drawn) if what == "late")
    world = replace(world, interactions=[row for row, _ in drawn])
    return Scene(world, named, late, frozenset(gone), draw(st.lists(nodes(world), min_size=20, max_size=20)))


def user(user_id: str, invalid_phone: bool, flags: set[str]) -> Row:
    return {"user_id": user_id, "invalid_phone": invalid_phone, "feature_flags": sorted(flags)}


@st.composite
def source(draw: st.DrawFn, source_id: str, fate: Fate) -> Row:
    row: Row = {"source_id": source_id, "kind": draw(st.sampled_from(["campaign", "canvas"]))}
    long_ago = datetime(2024, 1, 1, tzinfo=UTC)
    if fate != "active":
        row |= {"last_sent_at": draw(st.sampled_from([None, long_ago]))}
    if fate == "expired":
        return row | {"status": "stopped"}
    return row | {"status": "stopped" if fate == "deleted" else "active", "interaction_data_deleted_at": None if fate == "active" else long_ago}  # fmt: skip


# What filters look for, and the same beside the point.
DONE = [*VALUES.values(), ("received", "email"), ("received", None), ("opened", None), *((done, None) for done in ("converted", "entered", "control"))]  # fmt: skip


def interactions(world: World) -> st.SearchStrategy[Row]:
    def row(done: tuple[str, str | None], **fields: Any) -> Row:
        return {"interaction": done[0], "channel": done[1], **fields}

    return st.builds(
        row,
        st.sampled_from(DONE),
        user_id=st.sampled_from([*USERS, STRANGER]),
        source_id=st.sampled_from([source["source_id"] for source in world.sources]),
        occurred_at=st.sampled_from(MOMENTS),
        canvas_step_id=st.sampled_from([*STEPS, None]),
        variant_id=st.sampled_from([*VARIANTS, None]),
        link_alias=st.sampled_from([*WORDS, None]),
        machine_open=st.sampled_from([True, False, None]),
        is_suspected_bot_click=st.sampled_from([True, False, None]),
        conversion_index=st.sampled_from([0, 1, None]),
        keyword_category=st.sampled_from([*WORDS, None]),
    )


MEASURES = ["received", "received", "engaged", "clicked_alias", "control", "sms_keyword", "hard_bounced", "marked_as_spam", "viewed_news_feed"]  # fmt: skip
SUMMARIES = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([*USERS, STRANGER]),
        "measure": st.sampled_from(MEASURES),
        "dimension": st.sampled_from([*WORDS, *(channel for channel in CHANNELS if channel)]),
        "last_at": st.sampled_from(MOMENTS),
        "event_count": st.integers(0, 3),
    }
)


def nodes(world: World) -> st.SearchStrategy[Node]:
    """Definitions that name what a world has."""
    by_kind = {kind: [s["source_id"] for s in world.sources if s["kind"] == kind] for kind in ("campaign", "canvas")}
    possible = [
        declared
        for declared in FILTERS.values()
        if (declared.source_kind is None or by_kind[declared.source_kind])
        and (declared.name != "segment_membership" or world.segments)
    ]
    leaf = st.sampled_from(possible).flatmap(lambda declared: filters(declared, by_kind, sorted(world.segments)))
    return st.recursive(
        leaf | leaf.map(lambda node: {"not": node}),
        lambda inner: st.one_of(
            st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"not": inner}),
        ),
        max_leaves=4,
    )


def filters(declared: Filter, sources: dict[str, list[str]], segments: list[str]) -> st.SearchStrategy[Node]:
    alternatives = [parameter for parameter in declared.parameters if parameter.alternative]
    optional = [parameter for parameter in declared.parameters if parameter.optional]

    def value(parameter: Parameter) -> st.SearchStrategy[Any]:
        if parameter.allowed:
            return st.sampled_from(parameter.allowed)
        if parameter.type == "integer":
            return st.integers(0, 5)
        if parameter.type == "timestamp":
            return st.sampled_from([moment.isoformat() for moment in MOMENTS])
        return st.sampled_from({"source": sources.get(declared.source_kind or "", []), "segment": segments, "step": STEPS, "variant": VARIANTS, "tag": TAGS, None: WORDS}[parameter.names])  # fmt: skip

    @st.composite
    def drawn(draw: st.DrawFn) -> Node:
        chosen = [*declared.required, *([draw(st.sampled_from(alternatives))] if alternatives else [])]
        node = {"filter": declared.name} | {parameter.name: draw(value(parameter)) for parameter in chosen}
        if node.get("interaction") == "replied_sms":
            node["keyword_category"] = draw(st.sampled_from(WORDS))
        if optional and node.get("interaction", "clicked").startswith("clicked") and draw(st.booleans()):
            node["exclude_suspected_bots"] = draw(st.booleans())
        return node

    return drawn()
