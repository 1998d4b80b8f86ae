"""Resolves an audience: its segments in order, and every source and tag whose interactions it reads (R16)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from perennial.audiences.definitions import OPPOSITE, Definition, Effect, KnownIds, Problem, unknown_ids
from perennial.audiences.segment_graph import SegmentGraph


@dataclass(frozen=True)
class Dependency:
    """A source or a tag whose interactions an audience reads.

    Attributes:
        kind: source or tag.
        id: Id of the source, or the tag.
        effects: How the audience changes if its interactions are missing (R16).
        effects_in_part: How it changes if an unknown part of them is missing.
        paths: Where it is named: `$.and[0].not`, or `segment:s1 $.or[2]` in a segment.
    """

    kind: Literal["source", "tag"]
    id: str
    effects: frozenset[Effect]
    effects_in_part: frozenset[Effect]
    paths: tuple[str, ...]

    def joined(self, other: Dependency) -> Dependency:
        """Combine it with another dependency on the same interactions."""
        return replace(
            self,
            effects=self.effects | other.effects,
            effects_in_part=self.effects_in_part | other.effects_in_part,
            paths=(*self.paths, *other.paths),
        )


@dataclass(frozen=True)
class ResolvedAudience:
    """An audience with everything that its evaluation needs.

    Attributes:
        definition: Its own definition.
        segments: The segments that it uses directly or through others, by id.
        layers: Their ids in layers, each of which uses earlier layers only; empty if a problem prevents that.
        dependencies: The sources and tags whose interactions it reads.
        problems: Why it cannot be evaluated; empty if it can.
    """

    definition: Definition
    segments: Mapping[str, Definition]
    layers: tuple[tuple[str, ...], ...]
    dependencies: tuple[Dependency, ...]
    problems: tuple[Problem, ...]


def resolve(
    definition: Definition, segments: Mapping[str, Definition], known: KnownIds | None = None
) -> ResolvedAudience:
    """Resolve an audience.

    Args:
        definition: Its own definition.
        segments: All existing segments that it uses directly or through others, by id.
        known: Which of the named ids the platform has; None means that every id counts as known.
    """
    known = replace(known or KnownIds(), segments=segments.keys())
    parts = {"": definition} | {f"segment:{name} ": found for name, found in segments.items()}
    problems = [
        problem._replace(path=f"{where}{problem.path}")
        for where, part in parts.items()
        for problem in unknown_ids(part, known)
    ]
    graph = SegmentGraph.of({name: found.segment_uses for name, found in segments.items()})
    unusable = graph.problem(definition.segment_uses)
    return ResolvedAudience(
        definition,
        segments,
        () if unusable else graph.layers(definition.segment_uses),
        _dependencies(definition, segments),
        (*problems, unusable) if unusable else tuple(problems),
    )


def _dependencies(definition: Definition, segments: Mapping[str, Definition]) -> tuple[Dependency, ...]:
    effects: dict[tuple[Literal["source", "tag"], str], set[Effect]] = {}
    in_part: dict[tuple[str, str], set[Effect]] = {}
    paths: dict[tuple[str, str], dict[str, None]] = {}
    # Each segment is visited at most twice, once for each side of a `not`, however often it is used.
    waiting: list[tuple[str, Definition, Effect]] = [("", definition, "narrows")]
    seen: set[tuple[str, Effect]] = set()
    while waiting:
        where, part, side = waiting.pop()
        for use in part.filters:
            if use.named is None:
                continue
            kind, name = use.named
            effect = use.effect if side == "narrows" else OPPOSITE[use.effect]
            if kind == "segment":
                if name in segments and (name, effect) not in seen:
                    seen.add((name, effect))
                    waiting.append((f"segment:{name} ", segments[name], effect))
                continue
            both: set[Effect] = {effect, OPPOSITE[effect]} if use.reverses else {effect}
            in_part.setdefault((kind, name), set()).update(both)
            # Some sources of a tag can be missing and others not.
            effects.setdefault((kind, name), set()).update(both if kind == "tag" else {effect})
            paths.setdefault((kind, name), {})[f"{where}{use.path}"] = None
    return tuple(
        Dependency(*key, frozenset(found), frozenset(in_part[key]), tuple(paths[key])) for key, found in effects.items()
    )
