"""Hostile definitions: every string is a value and nothing else, and no size is a surprise."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.audiences.compile import QUESTION_LIMIT, compile_audience
from perennial.audiences.definitions import Definition, TerminalDefinitionError
from perennial.audiences.filters import FILTERS, Filter, Parameter
from perennial.audiences.parse import parse
from perennial.audiences.resolve import resolve
from perennial.settings import Settings
from perennial.warehouse import Warehouse
from tests.audiences.oracle import Node, Row, World, users_of
from tests.audiences.worlds import NOW, ask, fill
from tests.rows import multiset
from tests.workspace import member, received

STRINGS = {
    "quotes": "it's \"quoted\" '; DROP TABLE users; --",
    "bind": "$v1",
    "binds": "$v1, $v2) OR (TRUE",
    "comment": "-- /* ",
    "percent": "100%_\\%",
    "backslash": "\\' \\x00 \\",
    "nul": "be\0hind",
    "emoji": "🌻👩🏽‍🚀",
    "right to left": "\u202eمرحبا\u202c",
    "decomposed": "e\u0301",
    "composed": "\u00e9",
    "space": " ",
    "template": "{0} {users} {{x}} %(a)s",
    "lines": "one\r\ntwo\u2028three",
    "long": "ab" * 5_000,
}
COUNT = 999
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


def row(user_id: str, source_id: str, **fields: Any) -> Row:
    return {"user_id": user_id, "source_id": source_id, "occurred_at": MOMENT, "interaction": "received", "channel": "email", **fields}  # fmt: skip


def hostile_world() -> World:
    """Return a world in which each of the strings is a user, a source, a tag, a segment and all else."""
    texts = list(STRINGS.values())
    kinds = {"campaign": "", "canvas": "canvas "}
    columns = ("link_alias", "variant_id", "canvas_step_id", "keyword_category")
    done = ("received", "clicked", "entered", "control", "converted", "replied")
    rows = [
        row(text, prefix + text, **dict.fromkeys(columns, text), interaction=interaction, conversion_index=0)
        | {"channel": "sms" if interaction == "replied" else "email"}
        for text in texts
        for prefix in kinds.values()
        for interaction in done
    ]
    return World(
        users=[{"user_id": text, "invalid_phone": False, "feature_flags": [text]} for text in texts],
        sources=[{"source_id": prefix + text, "kind": kind} for kind, prefix in kinds.items() for text in texts],
        tags=[(text, text) for text in texts],
        segments={text: received(text) for text in texts},
        interactions=rows,
        summaries=[
            {"user_id": text, "measure": measure, "dimension": text, "last_at": MOMENT, "event_count": 1}
            for text in texts
            for measure in ("clicked_alias", "sms_keyword")
        ],
    )


WORLD = hostile_world()


def opened(tmp_path_factory: pytest.TempPathFactory, name: str) -> Warehouse:
    warehouse = Warehouse(Settings.from_environment({"PERENNIAL_HOME": str(tmp_path_factory.mktemp(name))}))
    warehouse.create_tables()
    return warehouse


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = opened(tmp_path_factory, "hostile")
    steps = [{"source_id": f"canvas {text}", "step_id": text} for text in STRINGS.values()]
    variants = [
        {"source_id": prefix + text, "variant_id": text} for text in STRINGS.values() for prefix in ("", "canvas ")
    ]
    fill(warehouse, WORLD, WORLD.interactions, steps=steps, variants=variants)
    return warehouse


def takes_text(parameter: Parameter) -> bool:
    return parameter.type == "string" and not parameter.allowed


def about(declared: Filter, text: str) -> Node:
    """Write a filter in which every string is the same."""
    node: Node = {"filter": declared.name}
    for parameter in declared.parameters:
        if takes_text(parameter):
            node[parameter.name] = f"canvas {text}" if parameter.name == "canvas_id" else text
        elif parameter.allowed:
            node[parameter.name] = "replied_sms" if parameter.name == "interaction" else "after"
        elif parameter.name == "at":
            node[parameter.name] = "2026-01-01"
    return node


WITH_TEXT = [declared for declared in FILTERS.values() if any(map(takes_text, declared.parameters))]


@pytest.mark.long(but="^(comment|nul)$")
@pytest.mark.parametrize("text", STRINGS.values(), ids=list(STRINGS))
def test_a_string_in_any_parameter_of_any_filter_is_only_itself(hostile: Warehouse, text: str) -> None:
    before = hostile.read("users"), multiset(hostile, "interactions")
    nodes = [about(declared, text) for declared in WITH_TEXT]
    assert all(users_of(node, WORLD, NOW) == {text} for node in nodes)
    assert ask(hostile, {"and": nodes}).users == [text]
    assert ask(hostile, {"not": {"or": nodes}}).users == sorted(set(STRINGS.values()) - {text})
    assert (hostile.read("users"), multiset(hostile, "interactions")) == before


@pytest.mark.long(but="^(template|comment)$")
@pytest.mark.parametrize("text", STRINGS.values(), ids=list(STRINGS))
def test_an_unknown_id_is_named_with_its_path_whatever_it_holds(hostile: Warehouse, text: str) -> None:
    for unknown, path in (
        (received(f"no {text}"), "$.not.campaign_id"),
        (member(f"no {text}"), "$.not.segment_id"),
        ({**about(FILTERS["received_campaign_variant"], text), "variant_id": f"no {text}"}, "$.not.variant_id"),
        ({**about(FILTERS["received_message_from_canvas_step"], text), "step_id": f"no {text}"}, "$.not.step_id"),
    ):
        with pytest.raises(TerminalDefinitionError, match=r"name one that exists|did you mean") as caught:
            ask(hostile, {"not": unknown})
        assert caught.value.path == path
        assert str(caught.value).isprintable()


# --- no value in the text of a statement ----------------------------------------------------------------------------


def parsed(definition: Node) -> Definition:
    return parse(json.dumps(definition))


def texts_of(node: Node) -> Iterator[tuple[Node, str]]:
    """List the places of a definition that hold any string."""
    for content in node.values():
        for child in content if isinstance(content, list) else [content]:
            if isinstance(child, dict):
                yield from texts_of(child)
    if "filter" in node:
        yield from ((node, p.name) for p in FILTERS[node["filter"]].parameters if takes_text(p) and p.name in node)


@st.composite
def definitions(draw: st.DrawFn) -> Node:
    some = st.sampled_from(WITH_TEXT).flatmap(
        lambda declared: st.sampled_from("abc").map(lambda text: about(declared, text))
    )
    nodes = st.recursive(
        some,
        lambda inner: st.one_of(
            inner.map(lambda node: {"not": node}),
            st.lists(inner, max_size=3).flatmap(lambda nodes: st.sampled_from([{"and": nodes}, {"or": nodes}])),
        ),
        max_leaves=8,
    )
    # Each node its own: the strings are replaced in place.
    return json.loads(json.dumps(draw(nodes)))  # type: ignore[no-any-return]


@settings(deadline=None)
@given(definitions(), st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=6, max_size=6, unique=True))  # fmt: skip
def test_the_statement_does_not_change_with_the_strings(definition: Node, fresh: list[str]) -> None:
    segments = {text: {"filter": "feature_flag", "flag": "a"} for text in "abc"}
    first = compile_audience(resolve(parsed(definition), {name: parsed(node) for name, node in segments.items()}), NOW)
    assert re.fullmatch(r"[A-Za-z0-9_$.,()*=<>\s]+", first.sql), first.sql
    assert first.binds.keys() == {name.removeprefix("$") for name in re.findall(r"\$\w+", first.sql)}
    # The same strings stay the same, different ones different; those that the catalogue itself uses are left alone.
    own = {
        "received",
        "clicked",
        "replied",
        "entered",
        "control",
        "converted",
        "email",
        "sms",
        "clicked_alias",
        "sms_keyword",
    }
    names = sorted({node[key] for node, key in texts_of(definition)} | {"a"})
    replaced = dict(zip(names, (text if text not in own else f"{text}!" for text in fresh), strict=False))
    if len(set(replaced.values())) < len(names):
        return
    for node, key in texts_of(definition):
        node[key] = replaced[node[key]]
    renamed = {replaced.get(name, name): {"filter": "feature_flag", "flag": replaced["a"]} for name in segments}
    second = compile_audience(resolve(parsed(definition), {name: parsed(node) for name, node in renamed.items()}), NOW)
    assert second.sql == first.sql
    assert second.binds == {name: replaced.get(value, value) for name, value in first.binds.items()}


# --- sizes ----------------------------------------------------------------------------------------------------------


def laugh(depth: int) -> dict[str, Node]:
    """Return segments of which each names the next twice: two to the power of `depth` of the last."""
    segments = {f"{depth}:{n}": {"and": [member(f"{depth}:{n + 1}"), {"or": [received("c1"), member(f"{depth}:{n + 1}")]}]} for n in range(depth)}  # fmt: skip
    return {**segments, f"{depth}:{depth}": {"not": received("c0")}}


def wide_segments(count: int) -> dict[str, Node]:
    return {
        f"wide{n}": {"or": [{"filter": "feature_flag", "flag": f"{n}-{m}"} for m in range(990)]} for n in range(count)
    }


LARGE = World(
    users=[{"user_id": f"u{n}", "invalid_phone": False, "feature_flags": [f"f{n}"]} for n in range(20)],
    sources=[{"source_id": f"c{n}"} for n in range(COUNT)],
    tags=[(f"c{n}", f"t{n}") for n in range(COUNT)],
    segments=laugh(30)
    | laugh(90)
    | wide_segments(QUESTION_LIMIT // 990 + 1)
    | {"loop": {"not": member("pool")}, "pool": {"or": [member("loop")]}},
    interactions=[row(f"u{n % 20}", f"c{n}") for n in range(0, COUNT, 125)],
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    warehouse = opened(tmp_path_factory, "large")
    fill(warehouse, LARGE, LARGE.interactions)
    return warehouse


def deep(node: Node, wraps: list[str]) -> Node:
    for number, branch in enumerate(wraps):
        node = {"not": node} if branch == "not" else {branch: [node, received(f"c{number}")]}
    return node


LAST = {"filter": "last_received_message_from_campaign", "operator": "before"}


@pytest.mark.long(but="^deep and wide$")
@pytest.mark.parametrize(
    "definition",
    [
        pytest.param({"or": [received(f"c{n}") for n in range(COUNT)]}, id="a thousand sources"),
        pytest.param({"or": [{"filter": "received_message_with_tag", "tag": f"t{n}"} for n in range(COUNT)]}, id="a thousand tags"),
        pytest.param({"or": [{**LAST, "campaign_id": f"c{n}", "days_ago": n % 40} for n in range(COUNT)]}, id="a thousand moments"),
        pytest.param({"or": [{"filter": "feature_flag", "flag": f"f{2 * n}"} for n in range(COUNT)]}, id="a thousand flags"),
        pytest.param(deep(received("c0"), ["not"] * 31), id="31 nots"),
        pytest.param(deep(received("c0"), ["and", "not", "or"] * 10), id="31 levels of all kinds"),
        pytest.param({"or": [deep(received(f"c{n}"), ["not", "and", "or"] * 7) for n in range(27)]}, id="deep and wide"),
        pytest.param({"and": [{"or": []}] * 500 + [{"and": []}] * 499}, id="a thousand empty branches"),
    ],
)  # fmt: skip
def test_a_definition_of_the_largest_size_has_its_answer(large: Warehouse, definition: Node) -> None:
    assert ask(large, definition).users == sorted(users_of(definition, LARGE, NOW))


@pytest.mark.parametrize("depth", [30, 90])
def test_a_billion_laughs_of_segments_cost_no_more_than_the_segments(large: Warehouse, depth: int) -> None:
    began = time.process_time()
    answer = ask(large, member(f"{depth}:0"))
    # Followed one by one, they would not end in this century.
    assert time.process_time() - began < 20
    assert answer.users == sorted(LARGE.everybody - {"u0"})


def test_segments_that_together_hold_too_much_are_refused(large: Warehouse) -> None:
    definition = {"or": [member(name) for name in wide_segments(QUESTION_LIMIT // 990 + 1)]}
    with pytest.raises(TerminalDefinitionError, match="more than 5,000 different filters"):
        ask(large, definition)


def test_a_circle_of_segments_is_refused_with_its_path(large: Warehouse) -> None:
    with pytest.raises(TerminalDefinitionError, match=r"it leads to a circle \(loop > pool > loop\)") as caught:
        ask(large, {"not": member("loop")})
    assert caught.value.path == "$.not.segment_id"
