"""Which of the sources that a list leaves out an answer names (R16); the command line is described by what is here."""

from __future__ import annotations

from dataclasses import dataclass

MISSING_LIMIT, MISSING_LIMIT_MOST = 20, 1_000


@dataclass(frozen=True)
class MissingPage:
    """Which of the sources that a list leaves out an answer names: some in a row, those that left last first.

    Attributes:
        first: How many come before them.
        limit: At most so many.
    """

    first: int = 0
    limit: int = MISSING_LIMIT


FIRST_PAGE = MissingPage()
