"""Parses the JSON of an audience to a definition: every node is checked against the filter catalogue."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from perennial.audiences.definitions import Definition, Reference, TerminalDefinitionError
from perennial.audiences.filters import FILTERS, Filter, Parameter, timestamp
from perennial.refusals import nearest_name

DEPTH_LIMIT = 32
NODE_LIMIT = 1_000

_BRANCHES = ("and", "or", "not", "filter")


class RepeatedKey(dict[str, Any]):
    """A JSON object that has a key twice, kept so that the check can name its path.

    Attributes:
        pairs: All its keys and values.
    """

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def parse(text: str) -> Definition:
    """Parse a definition.

    Raises:
        TerminalDefinitionError: Names the JSON path of the first mistake, and the remedy.
    """
    root = decoded(text)
    references: list[Reference] = []
    try:
        count = _check_node(root, 1, references)
    except Mistake as mistake:
        path = "".join(("$", *reversed(mistake.steps)))
        raise TerminalDefinitionError(path, mistake.remedy) from None
    if count > NODE_LIMIT:
        raise TerminalDefinitionError(
            "$", f"has {count} nodes; use at most {NODE_LIMIT}, and move parts into segments."
        )
    return Definition(root, tuple(dict.fromkeys(references)))


# --- decoding -----------------------------------------------------------------------------------------------------


def decoded(text: str) -> Any:
    """Parse JSON.

    Raises:
        TerminalDefinitionError: It is not JSON.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise TerminalDefinitionError("$", f"not JSON at {place} ({error.msg}); write one JSON object.") from None
    except RecursionError:
        raise TerminalDefinitionError("$", f"nested too deeply; use at most {DEPTH_LIMIT} levels.") from None
    except (ValueError, TypeError) as error:
        raise TerminalDefinitionError("$", f"not JSON ({error}); write one JSON object.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKey(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


# --- checking -----------------------------------------------------------------------------------------------------


class Mistake(Exception):  # noqa: N818  # on its way to becoming a TerminalDefinitionError
    """What is wrong; each level that it passes on its way up adds its step to the path."""

    def __init__(self, remedy: str, *steps: str) -> None:
        super().__init__(remedy)
        self.remedy = remedy
        self.steps = list(steps)


class _Rule(NamedTuple):
    """A filter in a form that can be checked quickly.

    Attributes:
        shapes: The sets of keys that a node may have.
        size: The number of keys in the smallest of them.
        plain: The parameters that accept any string.
        special: The others.
        reference: Name of the parameter that names a source or segment, and which of the two.
    """

    declared: Filter
    shapes: frozenset[frozenset[str]]
    size: int
    plain: tuple[str, ...]
    special: tuple[tuple[str, Parameter], ...]
    reference: tuple[str, Literal["source", "segment"]] | None


def _rule(declared: Filter) -> _Rule:
    fixed = {"filter", *(p.name for p in declared.required)}
    # At most one, because no two of them are accepted with the same value of another parameter.
    optional = [{p.name} for p in declared.parameters if p.optional or p.only_with]
    alternatives = [{p.name} for p in declared.parameters if p.alternative]
    shapes = [fixed | choice | extra for choice in alternatives or [set()] for extra in ([set(), *optional])]
    plain = [p for p in declared.required if p.type == "string" and not p.allowed]
    named = declared.reference
    return _Rule(
        declared,
        frozenset(map(frozenset, shapes)),
        min(map(len, shapes)),
        tuple(p.name for p in plain),
        tuple((p.name, p) for p in declared.parameters if p not in plain),
        (named.name, "segment" if named.names == "segment" else "source") if named else None,
    )


_ANY_STRING = Parameter("", "string", "")
_RULES = {name: _rule(declared) for name, declared in FILTERS.items()}


def _check_node(node: Any, depth: int, references: list[Reference]) -> int:
    """Check a node and all below it, and collect their references; returns the number of nodes."""
    if type(node) is not dict:
        raise Mistake(_no_node(node))
    if "filter" in node:
        check_filter(node, references)
        return 1
    branch, content = _branch(node)
    if depth == DEPTH_LIMIT:
        raise Mistake(f"nested too deeply; use at most {DEPTH_LIMIT} levels, and move parts into segments.")
    if branch == "not":
        content = [content]
    elif type(content) is not list:
        raise Mistake(f"{_shown(content)} is not a list; write a list of nodes.", f".{branch}")
    count, done = 1, 0
    try:
        for done, child in enumerate(content):  # noqa: B007 - the handler needs to know where it stopped
            count += _check_node(child, depth + 1, references)
    except Mistake as mistake:
        mistake.steps.append(f".{branch}" if branch == "not" else f".{branch}[{done}]")
        raise
    return count


def check_filter(node: dict[str, Any], references: list[Reference]) -> None:
    """Check a node that is a filter, and collect its reference.

    Raises:
        Mistake: Something is wrong with it; nothing was collected.
    """
    name = node["filter"]
    rule = _RULES.get(name) if type(name) is str else None
    if rule is None:
        raise Mistake(_not_one(name, "a filter", sorted(FILTERS)), ".filter")
    if rule.special:
        _check_special(rule, node)
    elif len(node) != rule.size:
        raise _wrong_keys(rule.declared, node)
    for key in rule.plain:
        value = node.get(key)
        if type(value) is not str or not value or not value.isascii():
            if key not in node:
                raise _wrong_keys(rule.declared, node)
            _check_value(key, _ANY_STRING, value)
    if rule.reference is not None:
        key, kind = rule.reference
        references.append(Reference(name, kind, node[key]))


def _check_special(rule: _Rule, node: dict[str, Any]) -> None:
    if frozenset(node) not in rule.shapes:
        raise _wrong_keys(rule.declared, node)
    for key, parameter in rule.special:
        if parameter.only_with is not None:
            _check_condition(rule.declared, parameter, node)
        if key in node:
            _check_value(key, parameter, node[key])


def _branch(node: dict[str, Any]) -> tuple[str, Any]:
    if len(node) == 1:
        ((branch, content),) = node.items()
        if branch in _BRANCHES:
            return branch, content
    raise Mistake(f"has the keys {_shown(list(node))}; a node has exactly one of {', '.join(_BRANCHES)}.")


def _wrong_keys(declared: Filter, node: dict[str, Any]) -> Mistake:
    names = [parameter.name for parameter in declared.parameters]
    takes = ", ".join(names) or "no parameters"
    for key in node:
        if key != "filter" and key not in names:
            nearest = _nearest(key, tuple(names))
            else_ = f"did you mean {_shown(nearest)}?" if nearest else f"it takes {takes}."
            return Mistake(f"{declared.name} does not take {_shown(key)}; {else_}")
    for parameter in declared.parameters:
        if parameter.name not in node and parameter in declared.required:
            return Mistake(f"{declared.name} needs {parameter.name}; it takes {takes}.")
    alternatives = [parameter.name for parameter in declared.parameters if parameter.alternative]
    return Mistake(f"{declared.name} needs exactly one of {' and '.join(alternatives)}.")


def _check_condition(declared: Filter, parameter: Parameter, node: dict[str, Any]) -> None:
    other, values = parameter.only_with or ("", ())
    given, taken = parameter.name in node, node[other] in values
    if given != taken and not (taken and parameter.optional):
        verb = "does not take" if given else "needs"
        raise Mistake(f"{declared.name} {verb} {parameter.name} where {other} is {_shown(node[other])}.")


def _check_value(key: str, parameter: Parameter, value: Any) -> None:
    if expected := _expected(parameter, value):
        raise Mistake(f"{_shown(value)} is not {expected}.", f".{key}")


def _expected(parameter: Parameter, value: Any) -> str | None:
    """Return what a value should have been; None if it is valid."""
    if parameter.type == "boolean":
        return None if type(value) is bool else "true or false"
    if parameter.type == "integer":
        # `True` is an int in Python, but not a number in JSON.
        if type(value) is int and parameter.minimum <= value <= parameter.maximum:
            return None
        return f"a whole number from {parameter.minimum} to {parameter.maximum}"
    if type(value) is not str or not value or not (value.isascii() or is_unicode(value)):
        return "a string of at least one character (and no half of a surrogate pair)"
    if parameter.allowed and value not in parameter.allowed:
        return f"one of {', '.join(parameter.allowed)}"
    if parameter.type == "timestamp" and timestamp(value) is None:
        return "an ISO 8601 timestamp such as 2026-01-31T09:00:00Z"
    return None


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which cannot be stored in a table."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_one(value: Any, what: str, known: list[str]) -> str:
    nearest = _nearest(value, tuple(known)) if isinstance(value, str) else ""
    return f"{_shown(value)} is not {what}; " + (
        f"did you mean {_shown(nearest)}?" if nearest else f"use one of {', '.join(known)}."
    )


# The same mistake may be in the definitions of 100,000 audiences.
@lru_cache(maxsize=1_000)
def _nearest(value: str, known: tuple[str, ...]) -> str:
    return nearest_name(value[:100], known, nearness=0.6)


def _no_node(node: Any) -> str:
    if isinstance(node, RepeatedKey):
        return f"has a key twice (its keys: {_shown(list(node))}); give each once."
    return f"{_shown(node)} is not a node; write an object with one of {', '.join(_BRANCHES)}."


def _shown(value: Any) -> str:
    text = json.dumps(value) if value is not None else "nothing"
    return text if len(text) <= 80 else text[:77] + "…"
