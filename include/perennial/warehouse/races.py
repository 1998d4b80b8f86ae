"""What loses a race against another writer is repeated from the start, on the table as it is by then (M2)."""

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
    """Call what looks at a table, decides and commits, until no other writer comes in between.

    Args:
        name: The table.
        operation: What is done, for the log and the error.
        attempt: Starts by loading the table.

    Raises:
        TransientConflictError: Other writers won every race.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        log.info("%s: lost a race for %s (%s), looking again", operation, name, error)

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
    # Apart, so that two who lost the same race do not meet again.
    return min(0.05 * 2.0 ** (state.attempt_number - 1), 2.0) * (0.5 + random.random())
