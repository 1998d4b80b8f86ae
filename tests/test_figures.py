"""The table of the benchmarks says rightly what reaches its aim and its must."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module

import pytest
from benchmarks.__main__ import names
from benchmarks.figures import Cost, Figure, in_turn, verdict


@pytest.mark.parametrize(
    ("value", "aim", "must", "said"),
    [
        (20, 20, 12, "met"),
        (19.9, 20, 12, "must met"),
        (11.9, 20, 12, "missed"),
        (1.2, 1.2, 1.5, "met"),
        (1.5, 1.2, 1.5, "must met"),
        (1.6, 1.2, 1.5, "missed"),
        (0.3, None, 0.3, "met"),
        (0.4, None, 0.3, "missed"),
        (0.4, None, None, ""),
        (None, 1, 2, ""),
    ],
)
def test_a_figure_is_judged_in_the_direction_from_must_to_aim(
    value: float | None, aim: float | None, must: float | None, said: str
) -> None:
    assert verdict(value, aim, must) == said


def test_sides_are_measured_in_turn_and_the_median_of_each_counts() -> None:
    measured: list[str] = []
    seconds = {"ours": iter([3.0, 1.0, 2.0]), "other": iter([30.0, 10.0, 50.0])}

    def side(name: str) -> Cost:
        measured.append(name)
        taken = next(seconds[name])
        return Cost(taken, taken / 2, taken * 100)

    costs = in_turn({name: lambda name=name: side(name) for name in seconds})
    assert measured == ["ours", "other"] * 3
    assert costs == {"ours": Cost(2, 1, 300), "other": Cost(30, 15, 5000)}


def test_a_figure_comes_back_from_json() -> None:
    figure = Figure("restore", 4.0, " s", 6, 9, Cost(4, 2.5, 1e8))
    assert Figure.from_json(asdict(figure)) == figure


@pytest.mark.parametrize("name", names())
def test_each_benchmark_finds_what_it_measures(name: str) -> None:
    assert import_module(f"benchmarks.{name}").run
