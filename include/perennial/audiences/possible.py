"""What a definition that cannot be read could name: if it might keep a source, it does (R4).

Each unreadable part is examined by itself. It could name every source and segment whose id is in it; if no known id is
in it, it could name any source. Filters that never name a source (R5, R15) do not name one because of a mistake in
their parameters either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perennial.audiences.definitions import Reference, TerminalDefinitionError
from perennial.audiences.filters import FILTERS, FilterGroup
from perennial.audiences.parse import Mistake, RepeatedKey, check_filter, decoded, is_unicode

if TYPE_CHECKING:
    import pyarrow as pa

_LONGEST_NAME = 80


class UnreadPart(NamedTuple):
    """A part of a definition that cannot be read.

    Attributes:
        label: What a referrer's path shows instead of a filter.
        names: Every text and whole number in it, because each may be an id.
        may_be_any: Whether it could name any source if it names no known one.
    """

    label: str
    names: frozenset[str]
    may_be_any: bool


@dataclass(frozen=True)
class PossibleMeaning:
    """What a definition that `parse` refuses could mean.

    Attributes:
        references: The references in its readable parts.
        unread: Its unreadable parts.
    """

    references: tuple[Reference, ...]
    unread: tuple[UnreadPart, ...]


def possible_meaning(text: str) -> PossibleMeaning:
    """Read the readable parts of a definition."""
    references: list[Reference] = []
    unread: list[UnreadPart] = []
    try:
        _walk(decoded(text), references, unread)
    except (TerminalDefinitionError, RecursionError):
        return PossibleMeaning((), (UnreadPart("unreadable definition", frozenset(), may_be_any=True),))
    return PossibleMeaning(tuple(dict.fromkeys(references)), tuple(dict.fromkeys(unread)))


def possible_references(
    unread: Iterable[tuple[int, UnreadPart]], source_ids: pa.ChunkedArray, segment_ids: pa.ChunkedArray
) -> Iterator[tuple[int, Reference]]:
    """Resolve unreadable parts to references, each with the number of its part.

    Args:
        unread: Parts, each with the number of its audience.
        source_ids: Every known source.
        segment_ids: Every known segment.
    """
    parts = list(unread)
    names = sorted({name for _, part in parts for name in part.names})
    kinds: tuple[tuple[Literal["source", "segment"], pa.ChunkedArray], ...]
    kinds = (("source", source_ids), ("segment", segment_ids))
    known = {kind: _known(names, ids) for kind, ids in kinds}
    for number, part in parts:
        found = [Reference(part.label, kind, name) for kind, _ in kinds for name in sorted(part.names & known[kind])]
        if not found and part.may_be_any:
            found = [Reference(part.label, "any", "")]
        yield from ((number, reference) for reference in found)


def _known(names: list[str], ids: pa.ChunkedArray) -> frozenset[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = pa.array(names, ids.type)
    return frozenset(asked.filter(pc.is_in(asked, value_set=ids.combine_chunks())).to_pylist())


def _walk(node: Any, references: list[Reference], unread: list[UnreadPart]) -> None:
    if type(node) is dict and "filter" in node:
        try:
            check_filter(node, references)
        except Mistake:
            unread.append(_unread_part(node))
        return
    if type(node) is dict and len(node) == 1:
        ((branch, content),) = node.items()
        children = [content] if branch == "not" else content
        if branch in ("and", "or", "not") and type(children) is list:
            for child in children:
                _walk(child, references, unread)
            return
    unread.append(_unread_part(node))


def _unread_part(node: Any) -> UnreadPart:
    name = node.get("filter") if type(node) is dict else None
    if type(name) is not str:
        return UnreadPart("unreadable part", _names(node), may_be_any=True)
    others = {key: value for key, value in node.items() if key != "filter"}
    declared = FILTERS.get(name)
    if declared is None:
        return UnreadPart(f"unknown filter {_shown(name)}", _names(others), may_be_any=True)
    if declared.group in (FilterGroup.TAG, FilterGroup.OTHER):
        own = {parameter.name for parameter in declared.parameters}
        foreign = {key: value for key, value in others.items() if key not in own}
        return UnreadPart(f"unreadable {name}", _names(foreign), may_be_any=False)
    return UnreadPart(f"unreadable {name}", _names(others), may_be_any=True)


def _names(value: Any) -> frozenset[str]:
    """Collect every text, key and whole number at any depth."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, RepeatedKey):
            waiting += [part for pair in item.pairs for part in pair]
        elif isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) or (isinstance(item, int) and not isinstance(item, bool)):
            found.add(str(item))
    return frozenset(name for name in found if name and is_unicode(name))


def _shown(name: str) -> str:
    text = name if name.isprintable() else ascii(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
