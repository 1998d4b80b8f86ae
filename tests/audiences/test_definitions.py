"""Audience definitions: what is accepted, what is refused and where, what a definition refers to."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.audiences.definitions import KnownIds, Reference, TerminalDefinitionError, unknown_ids
from perennial.audiences.filters import FILTERS, Parameter, timestamp
from perennial.audiences.parse import parse
from perennial.errors import TerminalMetadataError

HARD_BOUNCED = {"filter": "hard_bounced"}
LONG_ID = "i" * 500
HOSTILE_IDS = ["it's", 'say "hi"', "a/b\\c", "naïve 🌻", " ", "line\nbreak", "nul\0", "--; DROP TABLE sources", LONG_ID]


def _value(parameter: Parameter) -> Any:
    if parameter.allowed:
        return parameter.allowed[0]
    return {"string": "x", "integer": 3, "timestamp": "2026-01-31T09:00:00Z", "boolean": True}[parameter.type]


def _nodes(name: str) -> list[dict[str, Any]]:
    """Every shape that a filter may take."""
    declared = FILTERS[name]
    base = {"filter": name} | {p.name: _value(p) for p in declared.required}
    nodes = [base | {p.name: _value(p)} for p in declared.parameters if p.alternative] or [base]
    for parameter in declared.parameters:
        conditions = (
            [{parameter.only_with[0]: value} for value in parameter.only_with[1]] if parameter.only_with else []
        )
        chosen = conditions or ([{}] if parameter.optional else [])
        nodes += [base | condition | {parameter.name: _value(parameter)} for condition in chosen]
    return nodes


OPTIONAL = {parameter.name for declared in FILTERS.values() for parameter in declared.parameters if parameter.optional}
ALL_NODES = [node for name in FILTERS for node in _nodes(name)]


def _nested(depth: int) -> dict[str, Any]:
    node: dict[str, Any] = HARD_BOUNCED
    for _ in range(depth - 1):
        node = {"not": node}
    return node


@pytest.mark.parametrize("node", ALL_NODES, ids=lambda node: "-".join(map(str, node.values())))
def test_every_filter_is_accepted_in_each_of_its_shapes(node: dict[str, Any]) -> None:
    assert parse(json.dumps(node)).root == node


@pytest.mark.parametrize("node", ALL_NODES, ids=lambda node: "-".join(map(str, node.values())))
def test_every_filter_refuses_a_missing_and_an_additional_parameter(node: dict[str, Any]) -> None:
    for key in node.keys() - OPTIONAL:
        with pytest.raises(TerminalDefinitionError):
            parse(json.dumps({name: value for name, value in node.items() if name != key}))
    with pytest.raises(TerminalDefinitionError):
        parse(json.dumps(node | {"surprise": "x"}))


@pytest.mark.parametrize("node", ALL_NODES, ids=lambda node: "-".join(map(str, node.values())))
@pytest.mark.parametrize("wrong", [None, True, 1.5, [], {}, "", -1], ids=repr)
def test_every_parameter_refuses_a_value_of_the_wrong_type_and_the_error_names_it(
    node: dict[str, Any], wrong: Any
) -> None:
    for key in node:
        if wrong is True and key in OPTIONAL:
            continue
        with pytest.raises(TerminalDefinitionError) as caught:
            parse(json.dumps({"not": node | {key: wrong}}))
        assert caught.value.path.startswith("$.not")
        assert key in str(caught.value)


def test_the_example_of_the_specification_refers_to_its_campaign_twice() -> None:
    spring = {"campaign_id": "cmp-spring"}
    text = json.dumps(
        {
            "and": [
                {"filter": "received_message_from_campaign", **spring},
                {"not": {"filter": "converted_from_campaign", **spring}},
                {"filter": "last_received_email", "operator": "after", "days_ago": 30},
            ]
        }
    )
    assert parse(text).references == (
        Reference("received_message_from_campaign", "source", "cmp-spring"),
        Reference("converted_from_campaign", "source", "cmp-spring"),
    )


def test_a_reference_that_is_repeated_is_listed_once_and_tags_are_no_references() -> None:
    member = {"filter": "segment_membership", "segment_id": "s1"}
    tagged = {"filter": "received_message_with_tag", "tag": "spring"}
    assert parse(json.dumps({"or": [member, {"not": member}, tagged]})).references == (
        Reference("segment_membership", "segment", "s1"),
    )


@pytest.mark.parametrize("text", ['{"and": []}', '{"or": []}'], ids=["everybody", "nobody"])
def test_empty_branches_are_definitions(text: str) -> None:
    assert parse(text).references == ()


@pytest.mark.parametrize(
    "source_id", HOSTILE_IDS, ids=["quote", "double", "slash", "emoji", "space", "line", "nul", "sql", "long"]
)
def test_ids_may_contain_any_character(source_id: str) -> None:
    text = json.dumps({"filter": "received_message_from_campaign", "campaign_id": source_id})
    assert parse(text).references == (Reference("received_message_from_campaign", "source", source_id),)
    assert parse(json.dumps(json.loads(text), ensure_ascii=False)).references[0].id == source_id


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        pytest.param("", "$", "not JSON at line 1, column 1", id="empty text"),
        pytest.param('{"and": [', "$", "not JSON at line 1, column 10", id="truncated"),
        pytest.param('{"filter": "hard_bounced"} x', "$", "not JSON", id="trailing text"),
        pytest.param('{"filter": NaN}', "$", "NaN", id="NaN"),
        pytest.param("[" * 100_000, "$", "nested too deeply", id="nesting bomb"),
        pytest.param('{"filter": ' + "9" * 5_000 + "}", "$", "not JSON", id="number bomb"),
        pytest.param("[]", "$", "[] is not a node", id="list"),
        pytest.param('"hard_bounced"', "$", "is not a node", id="string"),
        pytest.param("null", "$", "is not a node", id="null"),
        pytest.param("{}", "$", "exactly one of and, or, not, filter", id="empty object"),
        pytest.param('{"xor": []}', "$", '["xor"]', id="unknown branch"),
        pytest.param('{"and": [], "or": []}', "$", "exactly one of", id="two branches"),
        pytest.param('{"and": [], "filter": "hard_bounced"}', "$", 'does not take "and"', id="branch and filter"),
        pytest.param('{"and": {}}', "$.and", "is not a list", id="branch without list"),
        pytest.param('{"not": []}', "$.not", "is not a node", id="not with list"),
        pytest.param('{"or": [{"and": [{}]}]}', "$.or[0].and[0]", "exactly one of", id="deep path"),
        pytest.param('{"and": [{"and": []}, {"not": {"filter": "hard_bounce"}}]}', "$.and[1].not.filter", "hard_bounced", id="misspelt"),
        pytest.param('{"filter": ["hard_bounced"]}', "$.filter", "is not a filter", id="name is a list"),
        pytest.param('{"filter": "hard_bounced", "filter": "marked_as_spam"}', "$", "a key twice", id="key twice"),
        pytest.param('{"and": [{"filter": "received_message_from_campaign", "campaign_id": "a", "campaign_id": "b"}]}', "$.and[0]", "a key twice", id="id twice"),
        pytest.param('{"filter": "received_message_from_campaign", "canvas_id": "a"}', "$", 'did you mean "campaign_id"?', id="id of the other kind"),
        pytest.param('{"filter": "recieved_message_from_campain"}', "$.filter", '"recieved_message_from_campain" is not a filter; did you mean "received_message_from_campaign"?', id="nearly a filter"),
        pytest.param('{"filter": "received_message_from_campaign", "campaign_id": "\\ud800"}', "$.campaign_id", "surrogate", id="half a surrogate pair"),
        pytest.param('{"filter": "last_received_sms", "operator": "after"}', "$", "exactly one of at and days_ago", id="no moment"),
        pytest.param('{"filter": "last_received_sms", "operator": "after", "at": "2026-01-01", "days_ago": 1}', "$", "exactly one of at and days_ago", id="two moments"),
        pytest.param('{"filter": "last_received_sms", "operator": "since", "days_ago": 1}', "$.operator", "one of before, after", id="operator"),
        pytest.param('{"filter": "last_received_sms", "operator": "after", "days_ago": 36501}', "$.days_ago", "36500", id="too long ago"),
        pytest.param('{"filter": "last_received_sms", "operator": "after", "days_ago": "1"}', "$.days_ago", "a whole number", id="number as text"),
        pytest.param('{"filter": "last_received_sms", "operator": "after", "at": "yesterday"}', "$.at", "ISO 8601", id="no timestamp"),
        pytest.param('{"filter": "last_received_sms", "operator": "after", "at": "2026-02-30"}', "$.at", "ISO 8601", id="no such day"),
        pytest.param('{"filter": "clicked_or_opened_campaign", "campaign_id": "a", "interaction": "replied_sms"}', "$", "needs keyword_category", id="keyword missing"),
        pytest.param('{"filter": "clicked_or_opened_campaign", "campaign_id": "a", "interaction": "opened_push", "keyword_category": "stop"}', "$", "does not take keyword_category", id="keyword unwanted"),
        pytest.param('{"filter": "clicked_or_opened_campaign", "campaign_id": "a", "interaction": "opened_email", "exclude_suspected_bots": true}', "$", "does not take exclude_suspected_bots", id="bots of an open"),
        pytest.param('{"filter": "received_message_from_campaign", "campaign_id": "a", "exclude_suspected_bots": true}', "$", 'does not take "exclude_suspected_bots"', id="bots of a send"),
        pytest.param('{"filter": "clicked_or_opened_campaign", "campaign_id": "a", "interaction": "read_email"}', "$.interaction", "read_whatsapp", id="interaction"),
        pytest.param('{"filter": "news_feed_view_count", "comparison": "more_than", "count": -1}', "$.count", "a whole number from 0", id="negative count"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_json_path_and_the_remedy(text: str, path: str, says: str) -> None:
    with pytest.raises(TerminalMetadataError) as caught:
        parse(text)
    assert isinstance(caught.value, TerminalDefinitionError)
    assert caught.value.path == path
    assert says in caught.value.remedy
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_200


def test_32_levels_are_accepted_and_33_are_not() -> None:
    parse(json.dumps(_nested(32)))
    with pytest.raises(TerminalDefinitionError, match="at most 32 levels"):
        parse(json.dumps(_nested(33)))


def test_1000_nodes_are_accepted_and_1001_are_not() -> None:
    parse(json.dumps({"or": [HARD_BOUNCED] * 999}))
    with pytest.raises(TerminalDefinitionError, match="1001 nodes"):
        parse(json.dumps({"or": [HARD_BOUNCED] * 1000}))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00+00:00"),
        ("2026-01-31 09:00", "2026-01-31T09:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T09:00:00.25+02:00", "2026-01-31T07:00:00.250000+00:00"),
    ],
)
def test_a_moment_is_read_as_utc_where_it_names_no_offset(text: str, utc: str) -> None:
    found = timestamp(text)
    assert found is not None
    assert found.isoformat() == utc


@pytest.mark.parametrize(
    "text", ["20260131", "2026-W05-1", "0001-01-01T00:00+14:00", "2026-01-31T25:00", "２０２６-01-31"]
)
def test_a_moment_that_is_not_one_is_refused(text: str) -> None:
    assert timestamp(text) is None


def test_ids_that_the_platform_does_not_have_are_listed_with_their_paths() -> None:
    definition = parse(
        json.dumps(
            {
                "and": [
                    {"filter": "received_message_from_campaign", "campaign_id": "c1"},
                    {"filter": "received_message_from_campaign", "campaign_id": "v1"},
                    {"not": {"filter": "received_message_from_canvas_step", "canvas_id": "v1", "step_id": "gone"}},
                    {"filter": "received_campaign_variant", "campaign_id": "c1", "variant_id": "of another"},
                    {"filter": "segment_membership", "segment_id": "s9"},
                    {"filter": "received_message_with_tag", "tag": "any"},
                ]
            }
        )
    )
    known = KnownIds(
        sources={("campaign", "c1"), ("canvas", "v1")},
        steps={("v1", "step")},
        variants={("c2", "of another")},
        segments=set(),
    )
    assert {found.path: found.detail for found in unknown_ids(definition, known)} == {
        "$.and[1].campaign_id": "'v1' is not a known campaign; name one that exists, or remove the filter.",
        "$.and[2].not.step_id": "'gone' is not a step of Canvas 'v1'; name one that exists, or remove the filter.",
        "$.and[3].variant_id": "'of another' is not a variation of campaign 'c1'; name one that exists, or remove the filter.",
        "$.and[4].segment_id": "'s9' is not a known segment; name one that exists, or remove the filter.",
    }


def read_or_refused(text: str) -> Any:
    try:
        return parse(text).root
    except TerminalDefinitionError as error:
        return error


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["and", "or", "not", "filter", "campaign_id", "at", "days_ago", "interaction"]) | st.text(), inner | st.sampled_from(sorted(FILTERS)), max_size=4), max_leaves=12))  # fmt: skip
def test_any_json_is_either_read_or_refused_with_a_path(value: Any) -> None:
    found = read_or_refused(json.dumps(value))
    assert found == value or isinstance(found, TerminalDefinitionError)


@given(st.text())
def test_any_text_is_either_read_or_refused_with_a_path(text: str) -> None:
    found = read_or_refused(text)
    assert isinstance(found, TerminalDefinitionError)
    assert found.path == "$"


def test_large_definitions_are_read_in_linear_time() -> None:
    texts = [
        json.dumps({"or": [{"filter": "received_message_from_campaign", "campaign_id": LONG_ID}] * n})
        for n in (99, 990)
    ]
    small, large = (min(_cpu_seconds(text) for _ in range(5)) for text in texts)
    assert large < 40 * small


def _cpu_seconds(text: str) -> float:
    began = time.process_time()
    parse(text)
    return time.process_time() - began
