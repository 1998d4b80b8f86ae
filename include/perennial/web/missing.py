"""Which of the left-out sources an answer names, read from the address (R16)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from perennial.audiences.completeness import MISSING_LIMIT, MISSING_LIMIT_MOST, MissingPage

_MAX_SKIPPED_SOURCES = 10**9


def _page(
    missing_from: Annotated[
        int,
        Query(
            ge=0,
            le=_MAX_SKIPPED_SOURCES,
            description="How many of the sources that are left out to skip before the first one is named",
        ),
    ] = 0,
    missing_limit: Annotated[
        int, Query(ge=1, le=MISSING_LIMIT_MOST, description="How many of them to name at most")
    ] = MISSING_LIMIT,
) -> MissingPage:
    return MissingPage(missing_from, missing_limit)


MissingPageDep = Annotated[MissingPage, Depends(_page)]
