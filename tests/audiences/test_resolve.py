"""What an audience depends on, and what it does to the audience when that is not there (R16)."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.audiences.definitions import NAME_ANOTHER, Definition, Effect, Problem
from perennial.audiences.parse import parse
from perennial.audiences.resolve import Dependency, ResolvedAudience, resolve
from perennial.audiences.segment_graph import SEGMENT_DEPTH_LIMIT, SEGMENT_LIMIT
from tests.audiences.oracle import Node, Row, World, needed_sources, users_of
from tests.audiences.scenes import MOMENTS
from tests.audiences.worlds import NOW
from tests.workspace import member, received

NARROWS: frozenset[Effect] = frozenset({"narrows"})
WIDENS: frozenset[Effect] = frozenset({"widens"})
BOTH = NARROWS | WIDENS

TAGGED = {"filter": "received_message_with_tag", "tag": "t"}
CONTROL = {"filter": "in_canvas_control_group", "canvas_id": "a"}
LAST = {"filter": "last_received_message_from_campaign", "campaign_id": "a", "at": "2026-01-01"}
LAST_TAGGED = {"filter": "last_received_message_with_tag", "tag": "t", "at": "2026-01-01"}


def parsed(definition: Node) -> Definition:
    return parse(json.dumps(definition))


def resolved(definition: Node, segments: dict[str, Node] | None = None) -> ResolvedAudience:
    return resolve(parsed(definition), {name: parsed(node) for name, node in (segments or {}).items()})


def dependencies(definition: Node, segments: dict[str, Node] | None = None) -> tuple[Dependency, ...]:
    audience = resolved(definition, segments)
    assert not audience.problems
    return audience.dependencies


@pytest.mark.parametrize(
    ("definition", "effects", "in_part"),
    [
        pytest.param(received("a"), NARROWS, NARROWS, id="a filter"),
        pytest.param({"not": received("a")}, WIDENS, WIDENS, id="its not"),
        pytest.param({"not": {"not": received("a")}}, NARROWS, NARROWS, id="not not"),
        pytest.param({"not": {"or": [received("a"), {"and": []}]}}, WIDENS, WIDENS, id="not of an or"),
        pytest.param({"and": [received("a"), {"not": received("a")}]}, BOTH, BOTH, id="both sides of a not"),
        pytest.param(TAGGED, NARROWS, NARROWS, id="a tag"),
        pytest.param({**LAST, "operator": "after"}, NARROWS, NARROWS, id="last received after"),
        pytest.param({**LAST, "operator": "before"}, NARROWS, BOTH, id="last received before"),
        pytest.param({"not": {**LAST, "operator": "before"}}, WIDENS, BOTH, id="not last received before"),
        pytest.param({**LAST_TAGGED, "operator": "after"}, NARROWS, NARROWS, id="last of a tag after"),
        pytest.param({**LAST_TAGGED, "operator": "before"}, BOTH, BOTH, id="last of a tag before"),
        pytest.param({"not": {**LAST_TAGGED, "operator": "before"}}, BOTH, BOTH, id="not last of a tag before"),
        pytest.param(CONTROL, NARROWS, NARROWS, id="control group of a Canvas"),
        pytest.param({"not": CONTROL}, NARROWS, BOTH, id="entrants who are not in it"),
        pytest.param({"not": {"not": CONTROL}}, WIDENS, BOTH, id="everybody but those entrants"),
        pytest.param({"not": {"and": [CONTROL]}}, WIDENS, WIDENS, id="everybody but the control group"),
    ],
)
def test_what_missing_data_does_to_an_audience(
    definition: Node, effects: frozenset[str], in_part: frozenset[str]
) -> None:
    (found,) = dependencies(definition)
    assert (found.effects, found.effects_in_part) == (effects, in_part)


def test_filters_that_do_not_use_interactions_depend_on_nothing() -> None:
    last = {"filter": "last_received_any_message", "operator": "before", "days_ago": 3}
    assert dependencies({"or": [last, {"not": {"filter": "never_received_message"}}]}) == ()


def test_a_dependency_names_every_place_and_both_sides_once() -> None:
    segments = {
        "s1": {"or": [received("a"), TAGGED]},
        "s2": {"not": {"or": [member("s1"), member("s1")]}},
    }
    definition = {"and": [received("a"), member("s1"), {"not": member("s2")}, {"not": member("s1")}, received("b")]}
    assert {(found.kind, found.id): found for found in dependencies(definition, segments)} == {
        ("source", "a"): Dependency("source", "a", BOTH, BOTH, ("$.and[0]", "segment:s1 $.or[0]")),
        ("tag", "t"): Dependency("tag", "t", BOTH, BOTH, ("segment:s1 $.or[1]",)),
        ("source", "b"): Dependency("source", "b", NARROWS, NARROWS, ("$.and[4]",)),
    }


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        pytest.param(
            {"s0": member("s0")},
            Problem("$.segment_id", "segment 's0' cannot be evaluated: it leads to a circle (s0 > s0).", "s0"),
            id="itself",
        ),
        pytest.param(
            {"s0": {"or": [{"not": member("s1")}]}, "s1": {"and": [member("s0")]}},
            Problem("$.segment_id", "segment 's0' cannot be evaluated: it leads to a circle (s0 > s1 > s0).", "s0"),
            id="circle",
        ),
        pytest.param(
            {},
            Problem("$.segment_id", f"'s0' is not a known segment; {NAME_ANOTHER}", "s0", "segment"),
            id="unknown",
        ),
        pytest.param(
            {"s0": member("gone")},
            Problem("segment:s0 $.segment_id", f"'gone' is not a known segment; {NAME_ANOTHER}", "gone", "segment"),
            id="unknown in a segment",
        ),
    ],
)
def test_segments_that_cannot_be_evaluated_are_named_with_their_path(
    segments: dict[str, Node], problem: Problem
) -> None:
    assert resolved(member("s0"), segments).problems == (problem,)


def chain(length: int) -> dict[str, Node]:
    return {f"s{n}": {"not": member(f"s{n + 1}")} for n in range(length - 1)} | {f"s{length - 1}": received("a")}


def test_a_chain_of_100_segments_is_evaluated_and_one_of_101_is_not_from_wherever_it_is_entered() -> None:
    assert dependencies(member("s0"), chain(SEGMENT_DEPTH_LIMIT))[0].effects == WIDENS
    longer = chain(SEGMENT_DEPTH_LIMIT + 1)
    deep = "more than 100 segments deep; nest fewer."
    assert resolved(member("s0"), longer).problems == (Problem("$.segment_id", deep, "s0"),)
    for other in ("s50", "s1"):
        problems = resolved({"or": [member(other), member("s0")]}, longer).problems
        assert problems == (Problem("$.or[1].segment_id", deep, "s0"),)


def test_1000_segments_are_evaluated_and_1001_are_not() -> None:
    def wide(count: int) -> dict[str, Any]:
        # A definition has 1,000 nodes at most, so it names some itself and others through one of them.
        inner = {f"s{n}": received("a") for n in range(1, count)}
        return {"s0": {"or": [member(name) for name in sorted(inner)[:500]]}, **inner}

    def question(segments: dict[str, Any]) -> Node:
        return {"or": [member("s0"), *(member(name) for name in sorted(segments.keys() - {"s0"})[500:])]}

    assert len(dependencies(question(wide(SEGMENT_LIMIT)), wide(SEGMENT_LIMIT))) == 1
    too_many = wide(SEGMENT_LIMIT + 1)
    assert resolved(question(too_many), too_many).problems == (Problem("$", "uses 1,001 segments; use at most 1,000."),)


# --- whoever is left out or too many was announced ------------------------------------------------------------------


def some_node(dice: random.Random, segments: list[str], depth: int = 3) -> Node:
    if depth and dice.random() < 0.65:
        branch = dice.choice(["and", "or", "not", "not"])
        if branch == "not":
            return {"not": some_node(dice, segments, depth - 1)}
        return {branch: [some_node(dice, segments, depth - 1) for _ in range(dice.randint(1, 3))]}
    source, operator = dice.choice("ab"), dice.choice(["before", "after"])
    moment = {"operator": operator, "at": dice.choice(MOMENTS).isoformat()}
    return dice.choice(
        [
            received(source),
            {**CONTROL, "canvas_id": source},
            {"not": {**CONTROL, "canvas_id": source}},
            {**LAST, "campaign_id": source, **moment},
            {**LAST_TAGGED, **moment},
            TAGGED,
            member(dice.choice(segments)) if segments else {"and": []},
        ]
    )


def some_row(dice: random.Random) -> Row:
    kind = dice.choice(["received", "received", "entered", "control"])
    return {
        "user_id": dice.choice("uv"),
        "source_id": dice.choice("ab"),
        "interaction": kind,
        "occurred_at": dice.choice(MOMENTS),
    }


def check_one(dice: random.Random) -> None:
    segments: dict[str, Node] = {}
    for name in ["s0", "s1"][: dice.randint(0, 2)]:
        segments[name] = some_node(dice, sorted(segments))
    whole = World(
        users=[{"user_id": user_id} for user_id in "uv"],
        sources=[{"source_id": source_id} for source_id in "ab"],
        tags=[(source_id, "t") for source_id in "ab" if dice.random() < 0.8],
        segments=segments,
        interactions=[some_row(dice) for _ in range(dice.randint(0, 8))],
    )
    gone = {source_id: dice.choice(["nothing", "all", "a part"]) for source_id in "ab"}
    chances = {"nothing": 1.0, "a part": 0.5, "all": 0.0}
    seen = replace(
        whole, interactions=[row for row in whole.interactions if dice.random() < chances[gone[row["source_id"]]]]
    )
    definition = some_node(dice, sorted(segments))
    announced: set[str] = set()
    looked_at: set[str] = set()
    for found in dependencies(definition, segments):
        read = {found.id} if found.kind == "source" else {source_id for source_id, _ in whole.tags}
        looked_at |= read
        announced |= {effect for source_id in read if gone[source_id] == "all" for effect in found.effects}
        announced |= {effect for source_id in read if gone[source_id] == "a part" for effect in found.effects_in_part}
    assert looked_at == needed_sources(definition, whole)
    short, full = users_of(definition, seen, NOW), users_of(definition, whole, NOW)
    assert "narrows" in announced or not full - short, (definition, gone, whole, seen)
    assert "widens" in announced or not short - full, (definition, gone, whole, seen)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_whoever_is_left_out_or_too_many_was_announced(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(200):
        check_one(dice)
