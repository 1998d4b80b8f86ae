"""The record of a restore whose request was accepted: its run, and whether it was approved and has ended."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace

from perennial.moves.cancellation import forget_cancellation
from perennial.operations import OperationStore, hashed_name
from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

_TOPIC = "restores"


@dataclass(frozen=True)
class RestoreStart:
    """A restore whose request was accepted.

    Attributes:
        run_id: Its run.
        request_uri: Its checked request.
        approved: Whether a person has approved it above its ceiling.
        ended: Whether its requesters have been notified of its outcome.
    """

    run_id: str
    request_uri: str
    approved: bool = False
    ended: bool = False


def find_restore(warehouse: Warehouse, run_id: str) -> RestoreStart | None:
    """Return the start of a restore; None if no request of such a run was accepted."""
    fields = OperationStore.of(warehouse).find(_TOPIC, hashed_name(run_id))
    return RestoreStart(**fields) if fields else None


def unended_runs(warehouse: Warehouse) -> list[str]:
    """Return the ids of all runs whose restore has not ended."""
    return [fields["run_id"] for fields in OperationStore.of(warehouse).documents(_TOPIC) if not fields["ended"]]


def note_restore(warehouse: Warehouse, run_id: str, request_uri: str) -> None:
    """Record which request a run carries out, so that it can be cancelled by its id; one that begins anew goes on."""
    _write(warehouse, RestoreStart(run_id, request_uri))
    forget_cancellation(warehouse, run_id)


def note_approval(warehouse: Warehouse, run_id: str, by: str) -> None:
    """Record that a person has approved a restore."""
    log.info("%s: approved by %s", run_id, by or "nobody")
    if (start := find_restore(warehouse, run_id)) is not None:
        _write(warehouse, replace(start, approved=True))


def is_approved(warehouse: Warehouse, run_id: str) -> bool:
    """Return whether a person has approved a restore since its request was checked."""
    start = find_restore(warehouse, run_id)
    return start is not None and start.approved


def note_end(warehouse: Warehouse, run_id: str) -> None:
    """Record that a restore has ended, so that it cannot be cancelled any more."""
    if (start := find_restore(warehouse, run_id)) is not None:
        _write(warehouse, replace(start, ended=True))


def _write(warehouse: Warehouse, start: RestoreStart) -> None:
    OperationStore.of(warehouse).put(_TOPIC, asdict(start), hashed_name(start.run_id))
