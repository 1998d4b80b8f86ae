"""Expires old snapshots, except those that an operation under way may still need."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from perennial.errors import TerminalSettingError
from perennial.operations import pending_records
from perennial.tables import TABLES
from perennial.warehouse import Warehouse
from perennial.warehouse.heads import refuse_losses
from perennial.warehouse.history import expire_snapshots

log = logging.getLogger(__name__)

RETAIN_DAYS = 7
# A load pins the ledger before it writes its record; this is longer than any load takes to prepare.
PENDING_MARGIN = timedelta(days=1)
# Of loads' snapshots that are older than this, one an hour is kept.
THIN_AFTER = timedelta(days=1)


def expire_old_snapshots(
    warehouse: Warehouse, now_wall_clock: datetime, retain_days: int = RETAIN_DAYS
) -> dict[str, int]:
    """Expire the snapshots of every table that were replaced before the window, and thin out those of loads.

    Moves and loads read from the snapshots since they began who removed a file and which commit was made (M2), so no
    snapshot since a day before the oldest pending record is expired. An operation that begins during the expiry only
    needs later ones.

    Returns:
        Number of expired snapshots by table, if any.

    Raises:
        TerminalSettingError: retain_days is below 1, or a table cannot be written.
        TerminalDataError: A table was set back; no snapshot was expired.
        TransientConflictError: Other writers kept committing first.
    """
    refuse_short_retention(retain_days)
    cutoff = _since(warehouse, now_wall_clock - timedelta(days=retain_days))
    thin_before = _since(warehouse, now_wall_clock - THIN_AFTER)
    refuse_losses(warehouse)
    warehouse.refuse_unwritable(declared.name for declared in TABLES)
    expired = {}
    for declared in TABLES:
        name = declared.name
        if count := expire_snapshots(warehouse, name, cutoff, now_wall_clock, thin_before):
            expired[name] = count
    log.info("%d snapshots replaced before %s expired: %s", sum(expired.values()), cutoff.isoformat(), expired)
    return expired


def refuse_short_retention(retain_days: int) -> None:
    """Refuse a window in which files of an operation under way could become old enough to be purged.

    Raises:
        TerminalSettingError: It is below 1 day.
    """
    if retain_days < 1:
        raise TerminalSettingError(
            f"retain_days is {retain_days}; give 1 or more: files that a load or a move has written, but not yet "
            "committed, look like any other unreachable file. Nothing was deleted."
        )


def _since(warehouse: Warehouse, moment: datetime) -> datetime:
    """Go back from a moment to where no operation under way needs earlier snapshots."""
    started = [datetime.fromisoformat(record.created_at) for record in pending_records(warehouse)]
    return min([moment, *(created - PENDING_MARGIN for created in started)])
