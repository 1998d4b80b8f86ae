"""How long a restore takes, from the click to the e-mail, estimated from earlier restores in this Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import fmean, linear_regression
from typing import TYPE_CHECKING

from perennial import text as formatting
from perennial.statements import statement
from perennial.tables import LIFECYCLE_EVENTS
from perennial.web.airflow_runs import measured_runs

if TYPE_CHECKING:
    from perennial.web.dependencies import PageContext

# Restores are of about the same size if one has at most ten times the bytes of the other. Below 10 MB the tasks take
# the same time whatever they move.
_SIMILAR_SIZE_FACTOR = 10
_SMALL_BYTES = 10_000_000
_GB = 1_000_000_000
_LATEST_RUNS = 10
# With fewer, the fastest and the slowest say little.
_ENOUGH_RUNS = 3
_FEW_FACTOR = 2
# If nothing is known about this Airflow: how long the tasks take by themselves, and how many bytes a second they copy.
_SHORTEST, _LONGEST = timedelta(seconds=10), timedelta(minutes=1)
_FASTEST_BYTES_PER_SECOND, _SLOWEST_BYTES_PER_SECOND = 200_000_000, 10_000_000
# For a restore more than this many times larger than any measured one, an estimate would only be a guess.
_MAX_EXTRAPOLATION_FACTOR = 100
# A thaw takes at least a minute, and is announced separately.
_MAY_HAVE_THAWED = timedelta(minutes=1)


@dataclass(frozen=True)
class Pace:
    """How long restores take: a fixed part, and a part that grows with the bytes.

    Attributes:
        fixed: What any restore takes.
        per_gb: What each GB (10^9 bytes) adds.
        fastest: The smallest measured time as a multiple of what these two say.
        slowest: The largest.
        run_count: How many restores were measured.
    """

    fixed: timedelta
    per_gb: timedelta
    fastest: float
    slowest: float
    run_count: int

    def takes(self, total_bytes: int) -> timedelta:
        """Return how long a restore of this many bytes takes by this pace."""
        return self.fixed + self.per_gb * (total_bytes / _GB)

    def __str__(self) -> str:
        fixed, per_gb = formatting.duration(self.fixed), formatting.duration(self.per_gb)
        return f"{self.run_count} restores, which took about {fixed} and {per_gb} more for each GB"


@dataclass(frozen=True)
class ExpectedTime:
    """How long a restore takes, from the request to the e-mail.

    Attributes:
        shortest: Probably not less.
        longest: Probably not more.
        run_count: How many restores of about that size it is based on; 0: none, the range is a guess.
        pace: How long restores take by their size, if the range follows from that.
        sentence: The estimate as a sentence.
    """

    shortest: timedelta
    longest: timedelta
    run_count: int
    pace: Pace | None = None

    @property
    def sentence(self) -> str:
        shortest, longest = formatting.duration(self.shortest), formatting.duration(self.longest)
        between = f"{shortest} to {longest}" if shortest != longest else f"About {shortest}"
        if self.run_count >= _ENOUGH_RUNS:
            return f"{between}, based on the last {self.run_count} restores of about that size."
        if self.pace:
            return f"{between}, based on {self.pace}."
        if self.run_count:
            measured = formatting.pluralize(self.run_count, "restore")
            return f"Probably {between}: only {measured} of about that size {_have(self.run_count)} been measured."
        return f"Probably {between}. No restore of about that size has been measured yet."


def expect_time(context: PageContext, total_bytes: int) -> ExpectedTime:
    """Estimate how long a restore of this many bytes takes."""
    return expected_time(_measured(context), total_bytes)


def expected_time(measured: Sequence[tuple[int, timedelta]], total_bytes: int) -> ExpectedTime:
    """Estimate how long a restore takes.

    Args:
        measured: Bytes and duration of earlier ones, the latest first.
        total_bytes: What it brings back.
    """
    size = max(total_bytes, _SMALL_BYTES)
    alike = [
        took
        for known, took in measured
        if size / _SIMILAR_SIZE_FACTOR <= max(known, _SMALL_BYTES) <= size * _SIMILAR_SIZE_FACTOR
    ][:_LATEST_RUNS]
    if len(alike) >= _ENOUGH_RUNS:
        return ExpectedTime(min(alike), max(alike), len(alike))
    if pace := _pace(measured):
        takes = pace.takes(total_bytes)
        return ExpectedTime(takes * pace.fastest, takes * pace.slowest, 0, pace)
    if alike:
        return ExpectedTime(min(alike) / _FEW_FACTOR, max(alike) * _FEW_FACTOR, len(alike))
    shortest = _SHORTEST + timedelta(seconds=total_bytes // _FASTEST_BYTES_PER_SECOND)
    longest = _LONGEST + timedelta(seconds=total_bytes // _SLOWEST_BYTES_PER_SECOND)
    smaller = [(known, took) for known, took in measured if known < total_bytes]
    larger = [took for known, took in measured if known >= total_bytes]
    if smaller:
        largest, took = max(smaller)
        # Measurements bound the guess: at least the time of the largest restore, at most that time scaled by its bytes.
        shortest = max(shortest, took)
        if total_bytes <= _MAX_EXTRAPOLATION_FACTOR * largest:
            longest = took * (total_bytes / max(largest, 1))
    if larger:
        longest = min(larger)
    return ExpectedTime(min(shortest, longest), max(shortest, longest), 0)


def _pace(measured: Sequence[tuple[int, timedelta]]) -> Pace | None:
    """Fit a fixed part and a rate to measured restores; None if too few, or all of about one size."""
    sizes = [max(known, _SMALL_BYTES) for known, _ in measured]
    if len(measured) < _ENOUGH_RUNS or max(sizes) < _SIMILAR_SIZE_FACTOR * min(sizes):
        return None
    known, took = [size / _GB for size, _ in measured], [span.total_seconds() for _, span in measured]
    rate, fixed = linear_regression(known, took)
    if rate < 0:
        # The larger ones were not slower: all of it is fixed.
        rate, fixed = 0, fmean(took)
    elif fixed < 0:
        rate, fixed = linear_regression(known, took, proportional=True).slope, 0
    ratios = [seconds / max(fixed + rate * size, 1) for size, seconds in zip(known, took, strict=True)]
    return Pace(timedelta(seconds=fixed), timedelta(seconds=rate), min(ratios), max(ratios), len(measured))


def _measured(context: PageContext) -> list[tuple[int, timedelta]]:
    """Bytes and duration of successful restores, the latest first; without those that had to thaw anything."""
    from perennial.engines.duckdb import open_session
    from perennial.moves.thaw_status import find_thaw_status

    took = measured_runs(context.session)
    if not took:
        return []
    with open_session(context.warehouse, [LIFECYCLE_EVENTS.name]) as session:
        rows = session.execute(statement("web/sum_restored_bytes"), {"run_ids": list(took)}).fetchall()
    total_bytes = dict(rows)
    return [
        (total_bytes[run_id], duration)
        for run_id, duration in took.items()
        if run_id in total_bytes
        and (duration < _MAY_HAVE_THAWED or find_thaw_status(context.warehouse, run_id) is None)
    ]


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
