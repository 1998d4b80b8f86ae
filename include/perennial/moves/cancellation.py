"""The record that somebody has cancelled or rejected a run; every step of the run looks for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from perennial.errors import TerminalCancelledError
from perennial.operations import OperationStore, hashed_name, wall_clock
from perennial.warehouse import Warehouse

CANCELLED, REJECTED = "cancelled", "rejected"
_TOPIC = "cancellations"


@dataclass(frozen=True)
class Cancellation:
    """Why a run stops before its data is in the hot table.

    Attributes:
        run_id: The run.
        what: cancelled or rejected.
        by: Who did that; empty if unknown.
        at: Wall clock, ISO 8601.
    """

    run_id: str
    what: str
    by: str
    at: str

    def __str__(self) -> str:
        if self.what == REJECTED:
            return (
                f"The restore was not approved: {self.by} rejected it."
                if self.by
                else ("The restore was not approved: nobody answered in time.")
            )
        return f"The restore was cancelled by {self.by or 'somebody who marked its run in Airflow'}."


def record_cancellation(warehouse: Warehouse, run_id: str, by: str, what: str = CANCELLED) -> Cancellation:
    """Record that a run is to stop; the first record of a run stays."""
    if (known := find_cancellation(warehouse, run_id)) is not None:
        return known
    cancellation = Cancellation(run_id, what, by, wall_clock().isoformat())
    OperationStore.of(warehouse).put(_TOPIC, asdict(cancellation), hashed_name(run_id))
    return cancellation


def find_cancellation(warehouse: Warehouse, run_id: str) -> Cancellation | None:
    """Return the record of a run; None if it goes on."""
    fields = OperationStore.of(warehouse).find(_TOPIC, hashed_name(run_id))
    return Cancellation(**fields) if fields else None


def forget_cancellation(warehouse: Warehouse, run_id: str) -> None:
    """Let a run that begins anew go on."""
    OperationStore.of(warehouse).remove(_TOPIC, hashed_name(run_id))


def refuse_cancelled_run(warehouse: Warehouse, run_id: str) -> None:
    """Refuse to go on with a run that was cancelled, before any of its data is in the hot table.

    Raises:
        TerminalCancelledError: It was cancelled or rejected.
    """
    if (cancellation := find_cancellation(warehouse, run_id)) is not None:
        raise TerminalCancelledError(str(cancellation))
