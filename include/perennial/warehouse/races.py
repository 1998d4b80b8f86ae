"""Repeats an operation that lost a race against another writer, from the start, on the current table (M2)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

from pyiceberg.exceptions import CommitFailedException, ValidationException
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, stop_after_attempt

from perennial.errors import TransientConflictError

log = logging.getLogger(__name__)

ATTEMPTS = 20
_Result = TypeVar("_Result")


def repeat_lost_races(name: str, operation: str, attempt: Callable[[], _Result]) -> _Result:
    """Repeat a function that reads a table, decides and commits, until no other writer comes in between.

    Args:
        name: The table.
        operation: What is done, for the log and the error.
        attempt: Starts by loading the table.

    Raises:
        TransientConflictError: Other writers kept committing first.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        log.info("%s: another writer changed %s first (%s), trying again", operation, name, error)

    races = Retrying(
        retry=retry_if_exception_type((CommitFailedException, ValidationException)),
        stop=stop_after_attempt(ATTEMPTS),
        wait=_pause,
        before_sleep=report,
    )
    try:
        return races(attempt)
    except RetryError as error:
        raise TransientConflictError(
            f"{operation}: other writers changed {name} during each of {ATTEMPTS} attempts; run it again."
        ) from error


def _pause(state: RetryCallState) -> float:
    # At a random time, so that two losers of a race do not collide again.
    return min(0.05 * 2.0 ** (state.attempt_number - 1), 2.0) * (0.5 + random.random())
