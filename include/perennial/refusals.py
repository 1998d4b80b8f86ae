"""Refusals of what cannot be meant: misspelt names, and dates in the future (R24)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from perennial.errors import TerminalRequestError

# Clocks of two machines differ by seconds; the date of a run for another day differs by more.
CLOCK_DIFFERENCE = timedelta(minutes=5)
_Request = TypeVar("_Request")


def read_params(request: type[_Request], params: Mapping[str, Any], remedies: Mapping[str, str]) -> _Request:
    """Read the params of a run into a dataclass; null means the default of a param (ADR 23).

    Args:
        request: A dataclass whose fields are the params; pydantic checks their types.
        params: The params of the run.
        remedies: What to give, by param.

    Raises:
        TerminalRequestError: Names every param that cannot be used, its value and the remedy.
    """
    given = {name: value for name, value in params.items() if name in remedies and value is not None}
    wrong, unknown = [], unknown_params(params, remedies)
    try:
        found = TypeAdapter(request).validate_python(given)
    except ValidationError as error:
        names = dict.fromkeys(str(flaw["loc"][0]) for flaw in error.errors())
        wrong = [f"{name} is {given.get(name)!r}; give {remedies[name]}" for name in names]
    if wrong or unknown:
        raise TerminalRequestError(sentences([*wrong, *unknown]))
    return found


def read_moment(name: str, text: str) -> datetime:
    """Read a moment that a person has written: ISO 8601, UTC if it has no offset.

    Raises:
        TerminalRequestError: It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise TerminalRequestError(f"{name} is {text!r}; give a moment such as 2026-01-31T04:00.") from error


def unknown_params(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a sentence for each unknown param, with the nearest known one."""
    return [_unknown(name, known) for name in given if name not in known]


def nearest_name(name: str, known: Collection[str], nearness: float = 0.5) -> str:
    """Return the most similar known name; empty if none is similar enough."""
    by_spelling = {other.casefold(): other for other in known}
    found = get_close_matches(name.strip().casefold(), by_spelling, n=1, cutoff=nearness)
    return by_spelling[found[0]] if found else ""


def not_known(name: str, what: str, nearest: str, otherwise: str) -> str:
    """Say that a name is unknown, and suggest the nearest known one, or what to do if none is near.

    Args:
        name: As it was given.
        what: What it should have been: known source, param.
        nearest: What was probably meant; empty if unknown.
        otherwise: What to do if there is no suggestion, with a full stop.
    """
    return f"{name!r} is not a {what}; " + (f"did you mean {nearest!r}?" if nearest else otherwise)


def sentences(flaws: Iterable[str]) -> str:
    """Join sentences, adding full stops where they are missing."""
    return " ".join(flaw if flaw.endswith((".", "?")) else f"{flaw}." for flaw in flaws)


def _unknown(name: str, known: Collection[str]) -> str:
    otherwise = f"use {', '.join(known)}." if known else "there are none."
    return not_known(name, "param", nearest_name(name, known), otherwise)


def lies_ahead(now: datetime, wall_clock: datetime) -> bool:
    """Return whether a date is in the future: more than five minutes after the wall clock (R24)."""
    return now - wall_clock > CLOCK_DIFFERENCE


def refuse_future_date(now: datetime, wall_clock: datetime) -> None:
    """Refuse a run with a future date (R24); a query may be about any date.

    Args:
        now: The run's date.
        wall_clock: The real time.

    Raises:
        TerminalRequestError: The date is in the future.
    """
    if lies_ahead(now, wall_clock):
        dated, today = (f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for moment in (now, wall_clock))
        raise TerminalRequestError(
            f"The run is dated {dated} and it is only {today}, so nothing was done. Run it again without a date, "
            "or with one that has passed; a dry run, where the DAG has one, and `perennial explain --as-of` say what "
            "would be due on that day."
        )
