"""A JSON Schema of audience definitions, from the filter catalogue, for editors and for pages that build them."""

from __future__ import annotations

from typing import Any

from perennial.audiences.filters import FILTERS, TIMESTAMP_PATTERN, Filter, Parameter
from perennial.audiences.parse import DEPTH_LIMIT, NODE_LIMIT

_NODE = {"$ref": "#/$defs/node"}


def definition_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12).

    It accepts every definition that `parse` accepts. Only `parse` sees the limits on depth and size, keys given twice,
    dates that no calendar has, and whole numbers written with a fraction.
    """
    branches = [_branch(name, {"type": "array", "items": _NODE}, doc) for name, doc in _LISTS.items()]
    branches.append(_branch("not", _NODE, "The users who are not in it."))
    filters = [{"$ref": f"#/$defs/{name}"} for name in FILTERS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Audience",
        "description": f"A set of users. At most {DEPTH_LIMIT} levels deep and {NODE_LIMIT:,} nodes large.",
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {"oneOf": [*branches, *filters]},
            **{name: _filter(declared) for name, declared in FILTERS.items()},
        },
    }


_LISTS = {
    "and": "The users who are in all of these; of none: everybody.",
    "or": "Those in any of these; of none: nobody.",
}


def _branch(name: str, content: dict[str, Any], doc: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": doc,
        "properties": {name: content},
        "required": [name],
        "additionalProperties": False,
    }


def _filter(declared: Filter) -> dict[str, Any]:
    properties = {"filter": {"const": declared.name}, **{p.name: _parameter(p) for p in declared.parameters}}
    required = [p.name for p in declared.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": ["filter", *required],
        "additionalProperties": False,
    }
    if alternatives := [p.name for p in declared.parameters if p.alternative]:
        schema["oneOf"] = [{"required": [name]} for name in alternatives]
    if conditions := [_condition(p, *p.only_with) for p in declared.parameters if p.only_with is not None]:
        schema["allOf"] = conditions
    return schema


def _condition(parameter: Parameter, other: str, values: tuple[str, ...]) -> dict[str, Any]:
    condition = {"if": {"properties": {other: {"enum": list(values)}}}, "else": {"properties": {parameter.name: False}}}
    return condition if parameter.optional else {**condition, "then": {"required": [parameter.name]}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": parameter.doc}
    if parameter.type == "integer":
        return {**schema, "type": "integer", "minimum": parameter.minimum, "maximum": parameter.maximum}
    if parameter.type == "boolean":
        return {**schema, "type": "boolean"}
    if parameter.allowed:
        return {**schema, "enum": list(parameter.allowed)}
    if parameter.type == "timestamp":
        return {**schema, "type": "string", "pattern": f"^{TIMESTAMP_PATTERN}$"}
    return {**schema, "type": "string", "minLength": 1}
