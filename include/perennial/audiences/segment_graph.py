"""Which segments use which, for all audiences at once: what each reaches, and which can never be evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from perennial.audiences.dependencies import SEGMENT_DEPTH_LIMIT, SEGMENT_LIMIT
from perennial.audiences.findings import CORRECT, Finding

# Segments of a circle that are named.
_SHOWN = 10


class ReadAudience(NamedTuple):
    """What is kept of a definition once it has been looked at.

    Attributes:
        flaws: What is wrong with it, taken by itself.
        uses: The segments it names, each with the JSON path.
    """

    flaws: tuple[Finding, ...]
    uses: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SegmentGraph:
    """All segments.

    Attributes:
        segments: By id.
        levels: How many segments deep each is, itself counted; those that reach a circle have none.
        circles: The circle that one of those reaches, once it has been asked for.
    """

    segments: Mapping[str, ReadAudience]
    levels: Mapping[str, int]
    circles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, segments: Mapping[str, ReadAudience]) -> SegmentGraph:
        used = {name: {other for _, other in read.uses if other in segments} for name, read in segments.items()}
        sorter = TopologicalSorter(used)
        # What reaches no circle still comes out.
        with suppress(CycleError):
            sorter.prepare()
        levels: dict[str, int] = {}
        while sorter.is_active():
            for name in sorter.get_ready():
                levels[name] = 1 + max((levels[other] for other in used[name]), default=0)
                sorter.done(name)
        return cls(segments, levels)

    def flaws(self, read: ReadAudience) -> Iterator[Finding]:
        """List what is wrong with an audience: each place in its own definition, and what its segments bring in.

        What several segments name is listed once, where the shortest chain names it first. An audience that cannot be
        evaluated for its segments is told of nothing that they bring in.
        """
        yield from read.flaws
        reached = self._reached(read)
        if unreadable := self._unreadable(read, len(reached)):
            yield unreadable
            return
        seen: set[str] = set()
        for name in reached:
            for flaw in self.segments[name].flaws:
                path = f"segment:{name} {flaw.path}"
                # What is said of something that is named holds wherever it is named.
                said = flaw.detail if flaw.named_id else path
                if said not in seen:
                    seen.add(said)
                    yield flaw._replace(path=path)

    def _unreadable(self, read: ReadAudience, count: int) -> Finding | None:
        for path, name in read.uses:
            place = f"{path}.segment_id"
            if name in self.segments and name not in self.levels:
                detail = f"Segment {name!r} cannot be evaluated: it comes to a circle ({self._circle(name)})."
                return _refused(place, name, detail)
            if self.levels.get(name, 0) > SEGMENT_DEPTH_LIMIT:
                return _refused(place, name, f"More than {SEGMENT_DEPTH_LIMIT} segments deep; nest fewer.")
        if count > SEGMENT_LIMIT:
            return Finding(
                "unreadable", None, "$", None, f"Uses {count:,} segments; use at most {SEGMENT_LIMIT}.", CORRECT
            )
        return None

    def _reached(self, read: ReadAudience) -> list[str]:
        """List the segments an audience uses, itself or through others, breadth first, each once."""
        reached = dict.fromkeys(name for _, name in read.uses if name in self.segments)
        waiting = list(reached)
        for name in waiting:
            fresh = dict.fromkeys(other for _, other in self.segments[name].uses if other in self.segments)
            waiting += [other for other in fresh if other not in reached]
            reached |= fresh
        return waiting

    def _circle(self, name: str) -> str:
        if name not in self.circles:
            trail: dict[str, None] = {}
            place = name
            while place not in trail:
                trail[place] = None
                uses = self.segments[place].uses
                place = next(other for _, other in uses if other in self.segments and other not in self.levels)
            circle = [*list(trail)[list(trail).index(place) :], place]
            shown = circle if len(circle) <= _SHOWN else [*circle[: _SHOWN - 1], "…", place]
            self.circles[name] = " > ".join(shown)
        return self.circles[name]


def _refused(path: str, segment_id: str, detail: str) -> Finding:
    return Finding("unreadable", "segment_membership", path, segment_id, detail, CORRECT)
