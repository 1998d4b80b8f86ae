"""The JSON Schema of definitions says the same as the parser does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from scripts.json_schema import definition_schema

from perennial.audiences.definitions import TerminalDefinitionError
from perennial.audiences.filters import FILTERS, Filter, Parameter
from perennial.audiences.parse import parse

VALIDATOR = Draft202012Validator(definition_schema())


def accepted_by_parser(definition: Any) -> bool:
    try:
        parse(json.dumps(definition))
    except TerminalDefinitionError:
        return False
    return True


def values(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.type == "integer":
        return st.integers(parameter.minimum, parameter.maximum)
    if parameter.type == "boolean":
        return st.booleans()
    if parameter.allowed:
        return st.sampled_from(parameter.allowed)
    if parameter.type == "timestamp":
        return st.datetimes().map(lambda moment: moment.isoformat())
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    declared: Filter = draw(st.sampled_from(list(FILTERS.values())))
    alternatives = [parameter.name for parameter in declared.parameters if parameter.alternative]
    left_out = set(alternatives) - ({draw(st.sampled_from(alternatives))} if alternatives else set())
    node = {p.name: draw(values(p)) for p in declared.parameters if p.name not in left_out}
    for parameter in declared.parameters:
        refused = parameter.only_with is not None and node[parameter.only_with[0]] not in parameter.only_with[1]
        if refused or (parameter.optional and draw(st.booleans())):
            del node[parameter.name]
    return {"filter": declared.name, **node}


nodes = st.recursive(
    filters(),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
    ),
    max_leaves=5,
)
wrong_values = st.sampled_from([None, "", 0, -1, 1.5, True, [], {}, "yesterday", "2026-1-1", 2**60, "opened_email"])


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(definition_schema())


@given(nodes)
def test_what_the_catalogue_allows_is_accepted_by_both(node: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(node)
    assert accepted_by_parser(node)


@given(filters(), st.data())
def test_a_filter_with_a_mistake_is_judged_alike_by_both(node: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from([*node, "surprise"]))
    if key in node and data.draw(st.booleans()):
        del node[key]
    else:
        node[key] = data.draw(wrong_values)
    assert VALIDATOR.is_valid(node) == accepted_by_parser(node)


@pytest.mark.parametrize(
    "definition",
    [[], None, "and", {}, {"and": {}}, {"and": [], "or": []}, {"not": []}, {"not": {"and": [{}]}}, {"filter": []}],
    ids=json.dumps,
)
def test_what_is_no_node_is_refused_by_both(definition: Any) -> None:
    assert not VALIDATOR.is_valid(definition)
    assert not accepted_by_parser(definition)
