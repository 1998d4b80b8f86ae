"""Audience definitions: their filters with their JSON paths, and the sources, segments and tags they name (R4, R16)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from perennial.audiences.filters import FILTERS, Filter, FilterGroup
from perennial.errors import TerminalMetadataError
from perennial.refusals import not_known

Effect = Literal["narrows", "widens"]
OPPOSITE: dict[Effect, Effect] = {"narrows": "widens", "widens": "narrows"}
NAME_ANOTHER = "name one that exists, or remove the filter."


class TerminalDefinitionError(TerminalMetadataError):
    """An audience definition cannot be read.

    Attributes:
        path: The place as a JSON path: `$.and[1].not.campaign_id`.
        remedy: What is wrong there and what to write instead.
    """

    def __init__(self, path: str, remedy: str) -> None:
        super().__init__(f"{path}: {remedy}")
        self.path = path
        self.remedy = remedy


class Reference(NamedTuple):
    """A filter that names a source or a segment; `any` is for what cannot be read and could name any source."""

    filter: str
    kind: Literal["source", "segment", "any"]
    id: str


class FilterUse(NamedTuple):
    """A filter at its place in a definition.

    Attributes:
        path: The place as a JSON path.
        node: The JSON object.
        declared: The filter in the catalogue.
        effect: What it does to the audience when the interactions that the filter reads are missing.
        reverses: Whether it can do the opposite as well when only some of them are missing.
    """

    path: str
    node: dict[str, Any]
    declared: Filter
    effect: Effect
    reverses: bool

    @property
    def named(self) -> tuple[Literal["source", "segment", "tag"], str] | None:
        """The source, segment or tag that it names; None where it reads no interactions."""
        if self.declared.group is FilterGroup.OTHER:
            return None
        parameter = next(p for p in self.declared.parameters if p.names == self.declared.group.value)
        return self.declared.group.value, self.node[parameter.name]


@dataclass(frozen=True)
class Definition:
    """A checked definition.

    Attributes:
        root: The JSON as it was written; every node is known to be valid.
        references: The sources and segments it names, each once per filter, in order of appearance.
    """

    root: dict[str, Any]
    references: tuple[Reference, ...]

    @cached_property
    def filters(self) -> tuple[FilterUse, ...]:
        """Its filters in order of appearance."""
        return tuple(_filters(self.root, "$", "narrows"))

    @cached_property
    def segment_uses(self) -> tuple[tuple[str, str], ...]:
        """The segments it names: JSON path of the id, and the id."""
        return tuple(
            (f"{use.path}.segment_id", use.node["segment_id"])
            for use in self.filters
            if use.declared.group is FilterGroup.SEGMENT
        )


def _filters(node: dict[str, Any], path: str, effect: Effect) -> Iterator[FilterUse]:
    if "filter" in node:
        # If the latest match is missing, an earlier one counts, and it may lie on the other side.
        yield FilterUse(path, node, FILTERS[node["filter"]], effect, node.get("operator") == "before")
    elif "not" in node:
        child, path = node["not"], f"{path}.not"
        if "filter" in child and FILTERS[child["filter"]].negated_within == "entrants":
            # The users who entered are known from the same interactions: if all are missing, the filter selects nobody.
            yield FilterUse(path, child, FILTERS[child["filter"]], effect, reverses=True)
        else:
            yield from _filters(child, path, OPPOSITE[effect])
    else:
        ((branch, children),) = node.items()
        for position, child in enumerate(children):
            yield from _filters(child, f"{path}.{branch}[{position}]", effect)


# --- what the platform has --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownIds:
    """The ids that the platform has; None means that every id counts as known.

    Attributes:
        sources: `(kind, source_id)`.
        steps: `(source_id, step_id)`.
        variants: `(source_id, variant_id)`.
        segments: Ids of segments.
        vanished: Sources that the platform no longer has; their steps and variations are unknown.
    """

    sources: Collection[tuple[str, str]] | None = None
    steps: Collection[tuple[str, str]] | None = None
    variants: Collection[tuple[str, str]] | None = None
    segments: Collection[str] | None = None
    vanished: Collection[str] = ()


class Problem(NamedTuple):
    """Why a definition cannot be evaluated.

    Attributes:
        path: The place as a JSON path.
        detail: What is wrong, and what to do about it.
        id: The id that causes it; empty if none does.
        unknown: What the platform does not have under that id; None if something else is wrong.
    """

    path: str
    detail: str
    id: str = ""
    unknown: Literal["source", "step", "variant", "segment"] | None = None


def unknown_ids(definition: Definition, known: KnownIds) -> Iterator[Problem]:
    """List the ids in a definition that the platform does not have."""
    for use in definition.filters:
        for parameter in use.declared.parameters:
            kind = parameter.names
            if kind is not None and kind != "tag" and (noun := _unknown(use, kind, use.node[parameter.name], known)):
                value = use.node[parameter.name]
                detail = not_known(value, noun, "", NAME_ANOTHER)
                yield Problem(f"{use.path}.{parameter.name}", detail, value, kind)


def _unknown(
    use: FilterUse, kind: Literal["source", "step", "variant", "segment"], value: str, known: KnownIds
) -> str | None:
    """Return what an id should have named; None if it does."""
    source_kind, source_id = use.declared.source_kind, use.node.get("campaign_id", use.node.get("canvas_id", ""))
    found: Collection[Any] | None
    found, key, noun = {
        "source": (known.sources, (source_kind, value), f"known {source_kind}"),
        "segment": (known.segments, value, "known segment"),
        "step": (known.steps, (source_id, value), f"step of Canvas {source_id!r}"),
        "variant": (known.variants, (source_id, value), f"variation of {source_kind} {source_id!r}"),
    }[kind]
    if found is None or key in found:
        return None
    return None if kind in ("step", "variant") and source_id in known.vanished else noun
