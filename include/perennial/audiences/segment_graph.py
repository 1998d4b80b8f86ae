"""Which segments use which: what each reaches, how deep it is, and which can never be evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from perennial.audiences.definitions import Problem

SEGMENT_DEPTH_LIMIT = 100
SEGMENT_LIMIT = 1_000
# How many segments of a circle an error names.
_NAMED = 10

# The segments that a definition names: JSON path of the id, and the id.
Uses = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class SegmentGraph:
    """Segments, and the segments that each uses.

    Attributes:
        uses: The segments that each names, by id; unknown ids are ignored.
        levels: How many segments deep each one is, itself included; those that reach a circle have none.
        circles: The circle that each of those reaches, cached when it is first needed.
    """

    uses: Mapping[str, Uses]
    levels: Mapping[str, int]
    circles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, uses: Mapping[str, Uses]) -> SegmentGraph:
        used = {name: {other for _, other in named if other in uses} for name, named in uses.items()}
        sorter = TopologicalSorter(used)
        # Segments that reach no circle still get a level.
        with suppress(CycleError):
            sorter.prepare()
        levels: dict[str, int] = {}
        while sorter.is_active():
            for name in sorter.get_ready():
                levels[name] = 1 + max((levels[other] for other in used[name]), default=0)
                sorter.done(name)
        return cls(uses, levels)

    def reached(self, named: Uses) -> list[str]:
        """List the segments that an audience uses directly or through others, breadth first, each once."""
        reached = dict.fromkeys(self._known(named))
        waiting = list(reached)
        for name in waiting:
            fresh = dict.fromkeys(self._known(self.uses[name]))
            waiting += [other for other in fresh if other not in reached]
            reached |= fresh
        return waiting

    def layers(self, named: Uses) -> tuple[tuple[str, ...], ...]:
        """List the segments that an audience uses in layers, each of which uses earlier layers only."""
        layers: dict[int, list[str]] = {}
        for name in self.reached(named):
            layers.setdefault(self.levels[name], []).append(name)
        return tuple(tuple(layers[level]) for level in sorted(layers))

    def problem(self, named: Uses) -> Problem | None:
        """Explain why an audience cannot be evaluated because of its segments; None if it can."""
        for path, name in named:
            if name in self.uses and name not in self.levels:
                circle = f"segment {name!r} cannot be evaluated: it leads to a circle ({self._circle(name)})."
                return Problem(path, circle, name)
            if self.levels.get(name, 0) > SEGMENT_DEPTH_LIMIT:
                deep = f"more than {SEGMENT_DEPTH_LIMIT} segments deep; nest fewer."
                return Problem(path, deep, name)
        count = len(self.reached(named))
        if count > SEGMENT_LIMIT:
            return Problem("$", f"uses {count:,} segments; use at most {SEGMENT_LIMIT:,}.")
        return None

    def _known(self, named: Uses) -> Iterable[str]:
        return (name for _, name in named if name in self.uses)

    def _circle(self, name: str) -> str:
        if name not in self.circles:
            trail: dict[str, None] = {}
            place = name
            while place not in trail:
                trail[place] = None
                place = next(other for other in self._known(self.uses[place]) if other not in self.levels)
            circle = [*list(trail)[list(trail).index(place) :], place]
            shown = circle if len(circle) <= _NAMED else [*circle[: _NAMED - 1], "…", place]
            self.circles[name] = " > ".join(shown)
        return self.circles[name]
