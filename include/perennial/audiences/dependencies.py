"""What an audience has to be told from: the segments it uses, the sources and tags whose interactions it looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perennial.audiences.definitions import NAME_ANOTHER, Definition, TerminalDefinitionError, filter_nodes
from perennial.audiences.filters import FILTERS, Filter, FilterGroup
from perennial.refusals import not_known

SEGMENT_DEPTH_LIMIT = 100
SEGMENT_LIMIT = 1_000

Effect = Literal["narrows", "widens"]
_OPPOSITE: dict[Effect, Effect] = {"narrows": "widens", "widens": "narrows"}


@dataclass(frozen=True)
class Dependency:
    """A source or a tag whose interactions an audience looks at.

    Attributes:
        kind: source or tag.
        id: Id of the source, or the tag.
        effects: What leaving its interactions out does to the audience (R16).
        effects_in_part: What leaving some of them out does, nobody knows which.
        paths: Where it is named: `$.and[0].not`, or `segment:s1 $.or[2]` in a segment.
    """

    kind: Literal["source", "tag"]
    id: str
    effects: frozenset[Effect]
    effects_in_part: frozenset[Effect]
    paths: tuple[str, ...]


def segments_of(definition: Definition, segments: Mapping[str, Definition]) -> list[list[str]]:
    """List the segments a definition uses, itself or through others, in layers: each uses those of earlier layers only.

    Raises:
        TerminalDefinitionError: A segment is unknown, contains itself, or there are too many; names the path.
    """
    levels: dict[str, int] = {}
    trail: list[str] = []

    def visit(used_in: Definition, where: str) -> int:
        deepest = 0
        for path, segment_id in segment_nodes(used_in):
            place = f"{where}{path}.segment_id"
            if segment_id in trail:
                circle = " > ".join([*trail[trail.index(segment_id) :], segment_id])
                raise TerminalDefinitionError(
                    place, f"segment {segment_id!r} contains itself ({circle}); break the circle."
                )
            if segment_id not in segments:
                raise TerminalDefinitionError(place, not_known(segment_id, "known segment", "", NAME_ANOTHER))
            if segment_id not in levels:
                if len(trail) == SEGMENT_DEPTH_LIMIT:
                    raise TerminalDefinitionError(place, f"more than {SEGMENT_DEPTH_LIMIT} segments deep; nest fewer.")
                trail.append(segment_id)
                levels[segment_id] = 1 + visit(segments[segment_id], f"segment:{segment_id} ")
                trail.pop()
            deepest = max(deepest, levels[segment_id])
        if deepest > SEGMENT_DEPTH_LIMIT:
            raise TerminalDefinitionError(f"{where}$", f"more than {SEGMENT_DEPTH_LIMIT} segments deep; nest fewer.")
        return deepest

    depth = visit(definition, "")
    if len(levels) > SEGMENT_LIMIT:
        raise TerminalDefinitionError("$", f"uses {len(levels)} segments; use at most {SEGMENT_LIMIT}.")
    layers: list[list[str]] = [[] for _ in range(depth)]
    for segment_id, level in levels.items():
        layers[level - 1].append(segment_id)
    return layers


def segment_nodes(definition: Definition) -> Iterator[tuple[str, str]]:
    """List the segments a definition names: JSON path, id of the segment."""
    for path, node in filter_nodes(definition.root):
        if node["filter"] == "segment_membership":
            yield path, node["segment_id"]


def find_dependencies(definition: Definition, segments: Mapping[str, Definition]) -> tuple[Dependency, ...]:
    """List the sources and tags an audience looks at, with what the absence of their interactions does to it (R16).

    Args:
        definition: Its segments have been checked by `segments_of`.
        segments: By id.
    """
    effects: dict[tuple[Literal["source", "tag"], str], set[Effect]] = {}
    in_part: dict[tuple[str, str], set[Effect]] = {}
    paths: dict[tuple[str, str], dict[str, None]] = {}
    # Each segment twice at most, once for each side of a `not`, however often it is used.
    waiting: list[tuple[str, dict[str, Any], Effect]] = [("", definition.root, "narrows")]
    seen: set[tuple[str, Effect]] = set()
    while waiting:
        where, root, effect = waiting.pop()
        for path, node, found, reverses in _signed_filters(root, "$", effect):
            declared = FILTERS[node["filter"]]
            if declared.group is FilterGroup.SEGMENT:
                segment_id = node["segment_id"]
                if (segment_id, found) not in seen:
                    seen.add((segment_id, found))
                    waiting.append((f"segment:{segment_id} ", segments[segment_id].root, found))
            elif declared.group is not FilterGroup.OTHER:
                key = _named(declared, node)
                both: set[Effect] = {found, _OPPOSITE[found]} if reverses else {found}
                in_part.setdefault(key, set()).update(both)
                # Of a tag, some sources can be missing and others not.
                effects.setdefault(key, set()).update(both if declared.group is FilterGroup.TAG else {found})
                paths.setdefault(key, {})[f"{where}{path}"] = None
    return tuple(
        Dependency(*key, frozenset(found), frozenset(in_part[key]), tuple(paths[key])) for key, found in effects.items()
    )


def _signed_filters(
    node: dict[str, Any], path: str, effect: Effect
) -> Iterator[tuple[str, dict[str, Any], Effect, bool]]:
    """List the filters of a node, each with what it does to the whole that its interactions are missing.

    The flag tells whether it can do the opposite as well when only some of them are.
    """
    if "filter" in node:
        # Without the latest match an earlier one counts, and it may lie before.
        yield path, node, effect, node.get("operator") == "before"
    elif "not" in node:
        child = node["not"]
        if "filter" in child and FILTERS[child["filter"]].negated_within == "entrants":
            # Who entered is told from the same interactions: without all of them, nobody is left to be taken from.
            yield f"{path}.not", child, effect, True
        else:
            yield from _signed_filters(child, f"{path}.not", _OPPOSITE[effect])
    else:
        ((branch, children),) = node.items()
        for position, child in enumerate(children):
            yield from _signed_filters(child, f"{path}.{branch}[{position}]", effect)


def _named(declared: Filter, node: dict[str, Any]) -> tuple[Literal["source", "tag"], str]:
    if declared.group is FilterGroup.TAG:
        return "tag", node["tag"]
    return "source", node["campaign_id" if declared.source_kind == "campaign" else "canvas_id"]
