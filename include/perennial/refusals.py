"""What cannot be meant: names that are nearly those of a param or a setting, and dates that are still to come (R24)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from perennial.errors import TerminalRequestError

# Clocks of two machines differ by seconds; a run that was meant for another day differs by more.
CLOCK_DIFFERENCE = timedelta(minutes=5)


def unknown_params(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Say of each given param that is not known that it is not, and which known one is nearest to it."""
    return [_unknown(name, known) for name in given if name not in known]


def nearest_name(name: str, known: Collection[str], nearness: float = 0.5) -> str:
    """Return the known name that is spelled most like another; empty where none shares that much of its letters."""
    by_spelling = {other.casefold(): other for other in known}
    found = get_close_matches(name.strip().casefold(), by_spelling, n=1, cutoff=nearness)
    return by_spelling[found[0]] if found else ""


def _unknown(name: str, known: Collection[str]) -> str:
    if not known:
        return f"unknown param {name!r} (there are none)"
    nearest = nearest_name(name, known)
    hint = f"did you mean {nearest!r}? " if nearest else ""
    return f"unknown param {name!r} ({hint}known: {', '.join(known)})"


def lies_ahead(now: datetime, wall_clock: datetime) -> bool:
    """Tell whether the date of a run is still to come: more than five minutes after the wall clock (R24)."""
    return now - wall_clock > CLOCK_DIFFERENCE


def refuse_future_date(now: datetime, wall_clock: datetime) -> None:
    """Refuse to do anything as of a moment that has not come (R24); a question may be about any date.

    Args:
        now: What a run takes for now.
        wall_clock: The real time.

    Raises:
        TerminalRequestError: The date is still to come.
    """
    if lies_ahead(now, wall_clock):
        dated, today = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for moment in (now, wall_clock))
        raise TerminalRequestError(
            f"The run is dated {dated} and it is only {today}, so nothing was done (R24). Run it again without a date, "
            "or with one that has passed; a dry run, where the DAG has one, and `perennial explain --as-of` say what "
            "would be due on that day."
        )
