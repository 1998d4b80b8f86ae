"""What a benchmark returns: figures, each beside its aim and its must; and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.markup import escape
from rich.table import Table

ROUNDS = 3
MEMORY_AIM, MEMORY_MUST = 400e6, 500e6
"""Peak memory of ours, in bytes, the same for every figure that is judged."""


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: On the clock.
        cpu_seconds: Processor time of all its threads and processes.
        peak_bytes: The most memory that it held.
    """

    seconds: float
    cpu_seconds: float | None = None
    peak_bytes: float | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What was measured, sizes included.
        value: The figure that is judged, or None where the line says what things cost and nothing more.
        unit: Of value, aim and must: `x` for a ratio, ` s`, ` ms`.
        aim: What we want. More is better if the aim is above the must, less is better otherwise.
        must: What has to be reached.
        ours: What ours took.
        other: What the other side took.
        detail: What the other side is, and what else a reader has to know.
    """

    name: str
    value: float | None = None
    unit: str = "x"
    aim: float | None = None
    must: float | None = None
    ours: Cost | None = None
    other: Cost | None = None
    detail: str = ""

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Figure:
        """Read what `dataclasses.asdict` made."""
        costs = {side: Cost(**row[side]) for side in ("ours", "other") if row[side]}
        return cls(**{**row, **costs})


def in_turn(sides: dict[str, Callable[[], Cost]], rounds: int = ROUNDS) -> dict[str, Cost]:
    """Measure all sides one after the other, three times; returns the medians of each side."""
    measured: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            measured[name].append(measure())
    return {name: median_cost(costs) for name, costs in measured.items()}


def median_cost(costs: list[Cost]) -> Cost:
    """Take the median of seconds and of processor time, and the highest of the peaks."""
    cpu = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
    peaks = [cost.peak_bytes for cost in costs if cost.peak_bytes is not None]
    seconds = median(cost.seconds for cost in costs)
    return Cost(seconds, median(cpu) if cpu else None, max(peaks, default=None))


def verdict(value: float | None, aim: float | None, must: float | None) -> str:
    """Say which of aim and must the value reaches; empty where nothing is judged."""
    if value is None or must is None:
        return ""
    more_is_better = aim is not None and aim > must

    def reached(bound: float) -> bool:
        return value >= bound if more_is_better else value <= bound

    if not reached(must):
        return "missed"
    return "must met" if aim is not None and not reached(aim) else "met"


def table(results: dict[str, list[Figure] | None]) -> Table:
    """Lay out all figures; a benchmark that failed keeps a row."""
    printed = Table(title="Medians of three runs, all sides of a line in the same run")
    words = ("what", "verdict", "detail")
    columns = ("what", "figure", "aim", "must", "verdict", "ours", "CPU", "other", "CPU", "peak", "detail")
    for heading in columns:
        printed.add_column(heading, justify="left" if heading in words else "right")
    for name, figures in results.items():
        if figures is None:
            printed.add_row(name, *[""] * (len(columns) - 2), "failed: its error is printed above")
        for figure in figures or []:
            printed.add_row(*map(escape, _cells(figure)))
    return printed


def _cells(figure: Figure) -> Iterator[str]:
    yield figure.name
    yield from (_number(bound, figure.unit) for bound in (figure.value, figure.aim, figure.must))
    yield verdict(figure.value, figure.aim, figure.must)
    for cost in (figure.ours, figure.other):
        yield _number(cost and cost.seconds, " s")
        yield _number(cost and cost.cpu_seconds, " s")
    yield _memory(figure)
    yield figure.detail


def _memory(figure: Figure) -> str:
    """Judged where the figure is: other lines say what they take for comparison."""
    peak = figure.ours.peak_bytes if figure.ours else None
    if peak is None:
        return ""
    judged = verdict(peak, MEMORY_AIM, MEMORY_MUST) if figure.must is not None else ""
    return ", ".join(filter(None, (_number(peak / 1e6, " MB"), judged)))


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.3g}{unit}" if value < 100 else f"{value:,.0f}{unit}"
